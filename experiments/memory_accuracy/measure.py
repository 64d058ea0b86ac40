"""How near is the predicted memory of a training step to what a step takes?

Some forty configurations at two batch shapes; whole steps with AdamW and clipped gradients. On a
GPU the truth is `torch.cuda.max_memory_allocated`, less what cuBLAS takes for itself. Without one
it is the CPU form: what lives when a step starts, and on top of it the most that the CPU's
allocator gave out during the step, as torch's profiler records it.

    python experiments/memory_accuracy/measure.py
    python experiments/memory_accuracy/measure.py --model random --dtype bf16-mixed
    python experiments/memory_accuracy/measure.py --language-modeling --model SmolLM2-135M.gguf
"""

import argparse
import csv
import gc
import json
import statistics
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from configurations import CONFIGURATIONS, WRITING
from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile
from transformers import LlamaConfig, PreTrainedConfig, PreTrainedModel

from autopeft.cost.cost import CostModel
from autopeft.cost.options import StepOptions
from autopeft.methods.compose import attach, read_configuration
from autopeft.methods.method import AttachContext, Attachment
from autopeft.models.completions import IGNORED
from autopeft.models.head import TaskHead
from autopeft.models.loading import load_config, load_model, meta_model, random_model
from autopeft.models.registry import resolve_model
from autopeft.models.spec import inspect_model
from autopeft.space.configuration import Configuration

FOLDER = Path(__file__).parent
#: (rows, tokens) by device.
SHAPES = {"cuda": ((16, 128), (4, 512)), "cpu": ((8, 64), (2, 128))}
MIB = 2**20
Run = Callable[[], None]


def random_config() -> PreTrainedConfig:
    """Return the config of a decoder of 0.19B parameters, for which nothing is downloaded."""
    return LlamaConfig(
        hidden_size=1024,
        num_hidden_layers=12,
        intermediate_size=2816,
        num_attention_heads=16,
        vocab_size=32000,
        num_labels=2,
        pad_token_id=0,
        problem_type="single_label_classification",
    )


def load(
    name: str, head: TaskHead, device: torch.device
) -> tuple[PreTrainedConfig, PreTrainedModel]:
    if name == "random":
        config = random_config()
        return config, random_model(config, head.kind).to(device)
    reference = resolve_model(name)
    model, _ = load_model(reference, head, device, pad_token_id=0)
    return load_config(reference, head), model


def batches(
    config: Any, head: TaskHead, shape: tuple[int, int], device: torch.device
) -> Iterator[dict[str, Any]]:
    generator = torch.Generator().manual_seed(0)
    while True:
        ids = torch.randint(1, config.vocab_size, shape, generator=generator)
        mask = torch.ones_like(ids)
        mask[:, -1] = 0
        ids[:, -1] = 0
        labels = torch.randint(0, 2, shape[:1], generator=generator)
        if head.writes_text:
            labels = ids.clone()
            labels[:, 0] = labels[:, -1] = IGNORED
        batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
        yield {name: tensor.to(device) for name, tensor in batch.items()}


def step_of(
    attachment: Attachment, data: Iterator[dict[str, Any]], cast: AbstractContextManager[Any]
) -> Run:
    """Return what makes one training step."""
    parameters = [p for _, p in attachment.trainable()]
    optimizer = torch.optim.AdamW(parameters, foreach=True)
    model = attachment.model.train()

    def step() -> None:
        batch = next(data)
        with cast:
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def peak_on_gpu(step: Run) -> int:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    return int(torch.cuda.max_memory_allocated())


def workspace() -> int:
    """Return what cuBLAS takes from the allocator once it has multiplied."""
    before = torch.cuda.memory_allocated()
    torch.ones(8, 8, device="cuda") @ torch.ones(8, 8, device="cuda")
    torch.cuda.synchronize()
    return int(torch.cuda.memory_allocated()) - before


def alive() -> int:
    """Return the bytes of all tensors that Python knows of, every storage once."""
    gc.collect()
    tensors = (found for found in gc.get_objects() if isinstance(found, torch.Tensor))
    storages = (t.untyped_storage() for t in tensors if t.layout is torch.strided)
    return sum({s._cdata: s.nbytes() for s in storages}.values())  # noqa: SLF001 - its identity


def peak_on_cpu(step: Run, elsewhere: int) -> int:
    """Return what is alive before a step and the most that is allocated in it.

    Args:
        step: Makes a step.
        elsewhere: Bytes of tensors that have nothing to do with it.
    """
    fixed = alive() - elsewhere
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events: list[tuple[int, int, int]] = []

    def collect(nodes: Any) -> None:
        for node in nodes:
            if node.tag == _EventType.Allocation:
                fields = node.extra_fields
                events.append((node.start_time_ns, fields.ptr, fields.alloc_size))
            collect(node.children)

    collect(profiler.profiler.kineto_results.experimental_event_tree())
    live: dict[int, int] = {}
    now = peak = 0
    for _, address, size in sorted(events, key=lambda event: event[0]):
        if size > 0:
            live[address] = size
            now += size
            peak = max(peak, now)
        else:
            now -= live.pop(address, 0)
    return fixed + peak


def measure(
    base: PreTrainedModel,
    configuration: Configuration,
    context: AttachContext,
    data: Iterator[dict[str, Any]],
    cast: AbstractContextManager[Any],
) -> int:
    """Return the bytes of a step on this device; the base is given back as it was."""
    cuda = base.device.type == "cuda"
    elsewhere = 0 if cuda else alive() - _own(base)
    torch.manual_seed(0)
    attachment = attach(base, configuration, context)
    step = step_of(attachment, data, cast)
    step()  # makes the optimiser's states
    found = peak_on_gpu(step) if cuda else peak_on_cpu(step, elsewhere)
    found -= kept_aside(attachment)
    del step
    attachment.detach()
    gc.collect()
    return found


def kept_aside(attachment: Attachment) -> int:
    """Return the bytes of weights that are kept to be put back, which is no part of a training."""
    tables = (value for value in vars(attachment).values() if isinstance(value, dict))
    tensors = [t for table in tables for t in table.values() if isinstance(t, torch.Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _own(model: PreTrainedModel) -> int:
    tensors = [*model.parameters(), *model.buffers()]
    storages = [tensor.untyped_storage() for tensor in tensors]
    return sum({s._cdata: s.nbytes() for s in storages}.values())  # noqa: SLF001 - its identity


def main() -> None:
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="random" if cuda else "minilm")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bf16-mixed"])
    parser.add_argument("--language-modeling", action="store_true")
    parser.add_argument("--to", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    if not cuda:
        print("No GPU here: this is the CPU form.")
        if arguments.dtype != "float32":
            parser.error("bf16-mixed is predicted for GPUs: measure it on one")
    warnings.simplefilter("ignore")
    device = torch.device("cuda" if cuda else "cpu")
    taken = workspace() if cuda else 0
    head = TaskHead("language_modeling" if arguments.language_modeling else "classification")
    config, base = load(arguments.model, head, device)
    base.requires_grad_(requires_grad=False)
    spec = inspect_model(base)
    context = AttachContext(spec=spec, total_steps=100, seed=0)
    options = StepOptions(dtype=arguments.dtype)
    mixed = arguments.dtype == "bf16-mixed"
    rows = []
    writes = head.writes_text
    for shape in SHAPES[device.type]:
        costs = CostModel(spec, partial(meta_model, config, head.kind), shape[1], options)
        for name, data in (WRITING if writes else CONFIGURATIONS).items():
            training = {"learning_rate": 1e-3, "batch_size": shape[0]}
            configuration = read_configuration({**data, "training": training}, spec)
            memory = costs.memory(configuration)
            cast = torch.autocast("cuda", dtype=torch.bfloat16) if mixed else nullcontext()
            source = batches(config, head, shape, device)
            measured = measure(base, configuration, context, source, cast) - taken
            rows.append(
                {
                    "configuration": name,
                    "rows": shape[0],
                    "tokens": shape[1],
                    "predicted_bytes": memory.total,
                    "measured_bytes": measured,
                    "error_percent": round(100 * (memory.total - measured) / measured, 4),
                }
            )
            print(*rows[-1].values(), flush=True)
    name = "random" if arguments.model == "random" else resolve_model(arguments.model).short_name
    stem = f"{device.type}-{name}{'-writing' if writes else ''}-{arguments.dtype}"
    write(rows, arguments.to / stem, name, torch.cuda.get_device_name() if cuda else "")


def write(rows: list[dict[str, Any]], stem: Path, model: str, gpu: str) -> None:
    """Write the table and its summary, and print the latter."""
    with stem.with_suffix(".csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    errors = [abs(row["error_percent"]) for row in rows]
    worst = max(rows, key=lambda row: abs(row["error_percent"]))
    summary = {
        "device": gpu or "CPU",
        "model": model,
        "torch": torch.__version__,
        "measurements": len(rows),
        "smallest_mib": round(min(r["measured_bytes"] for r in rows) / MIB, 1),
        "largest_mib": round(max(r["measured_bytes"] for r in rows) / MIB, 1),
        "median_error_percent": round(statistics.median(errors), 4),
        "worst_error_percent": max(errors),
        "worst": worst["configuration"],
    }
    stem.with_suffix(".json").write_text(json.dumps(summary, indent=1) + "\n")
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
