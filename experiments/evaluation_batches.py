"""How many rows, or tokens, should an evaluation batch have on this processor?

Processor seconds of evaluating MiniLM on validation rows that are sorted by length, the least of
three rounds.

    python experiments/evaluation_batches.py --task rte --data FOLDER
"""

import argparse
import time
from pathlib import Path

import torch

from autopeft.models.registry import resolve_model
from autopeft.tasks.data import load_data
from autopeft.tasks.task import find_task
from autopeft.trials.batches import sorted_batches
from autopeft.trials.engine import Engine, Workload

ROWS = (8, 16, 64)
TOKENS = (1024, 2048, 4096, 8192, 16384)


def seconds(engine: Engine, rows: int, tokens: int | None) -> float:
    """Return the processor seconds of one pass over the validation rows."""
    split = engine.workload.validation
    started = time.process_time()
    with torch.inference_mode():
        for batch in sorted_batches(split, rows, tokens):
            inputs = split.batch(batch, engine.device)
            del inputs["labels"]
            engine.base(**inputs)
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="rte")
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_data(find_task(options.task), options.data, train_rows=64, eval_rows=277)
    engine = Engine(
        Workload.prepare(resolve_model("minilm"), data, 128, precision="float32"),
        torch.device("cpu"),
    )
    engine.base.eval()
    sizes = {f"{n} rows": (n, None) for n in ROWS}
    sizes |= {f"{n} tokens": (len(data.validation), n) for n in TOKENS}
    rounds = [{name: seconds(engine, *size) for name, size in sizes.items()} for _ in range(3)]
    for name in sizes:
        print(f"{name:>14}  {min(found[name] for found in rounds):6.2f} s")


if __name__ == "__main__":
    main()
