"""How long does it take to attach a method to a model, and to give the model back?

Every method at its defaults on the resident base, as a worker does between two trials; the median
of a few times. The ratio names what it saves: against loading the base model anew.

    python experiments/attach_time.py --model minilm
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from autopeft.methods.compose import attach, count_parameters, read_configuration, refusal
from autopeft.methods.method import AttachContext
from autopeft.methods.presets import preset, preset_names
from autopeft.methods.registry import get_method, method_names
from autopeft.models.head import TaskHead
from autopeft.models.loading import load_model
from autopeft.models.registry import resolve_model
from autopeft.models.spec import inspect_model

REPEATS = 5


def milliseconds(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return round(1000 * statistics.median(times), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--to", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    reference = resolve_model(arguments.model)

    def load() -> Any:
        return load_model(reference, TaskHead(), torch.device("cpu"), pad_token_id=0)[0]

    base = load().requires_grad_(requires_grad=False)
    spec = inspect_model(base)
    context = AttachContext(spec=spec, total_steps=100, seed=0)
    rows = []
    configurations: dict[str, Any] = {
        name: {"method": name} for name in method_names() if not refusal(get_method(name), spec)
    }
    configurations |= {f"preset:{name}": preset(name, spec) for name in preset_names()}
    for name, data in configurations.items():
        configuration = read_configuration(data, spec)
        took = milliseconds(lambda c=configuration: attach(base, c, context).detach())  # type: ignore[misc]
        params = count_parameters(configuration, spec)
        rows.append({"name": name, "adapter_params": params, "milliseconds": took})
        print(f"{name:20} {params:>12,} {took:8.1f} ms")
    loading = milliseconds(load)
    print(f"{'loading the base':20} {'':12} {loading:8.1f} ms")
    result = {"model": arguments.model, "loading_milliseconds": loading, "rows": rows}
    arguments.to.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
