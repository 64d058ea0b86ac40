"""How much of what the processor can multiply a training step reaches."""

import statistics
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from material import Material

from autopeft.cost.cost import CostModel
from autopeft.cost.subject import of_configuration
from autopeft.models.loading import load_config, meta_model
from autopeft.trials.batches import epoch_batches
from autopeft.trials.engine import pick_device

REPEATS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """Floating-point operations a second of single-precision matrix products.

    Attributes:
        peak: Of large square matrices.
        same_shapes: Of the model's own linear modules on a typical batch.
    """

    peak: float
    same_shapes: float


def batch_shapes(material: Material) -> Counter[tuple[int, int]]:
    """Return (rows, longest row) of the batches of a training, and how often each comes."""
    workload = material.workload()
    split, batch_size = workload.train, material.problem.batch_size
    lengths = split.lengths
    shapes: Counter[tuple[int, int]] = Counter()
    left, epoch = material.steps, 0
    while left:
        batches = epoch_batches(split, batch_size, material.settings.seed, epoch)[:left]
        shapes.update((len(rows), int(lengths[rows].max())) for rows in batches)
        left, epoch = left - len(batches), epoch + 1
    return shapes


def flops_of_training(material: Material, index: int, shapes: Counter[tuple[int, int]]) -> float:
    """Return the operations of a configuration's training on batches of these shapes.

    Those of a step are a polynomial of degree two in the length, because attention is: three
    lengths tell the others. A batch that is not full has its share of a full one.
    """
    problem = material.problem
    config = load_config(problem.reference, problem.data.head)
    configuration, base = material.configurations[index], partial(meta_model, config)
    lengths = sorted({length for _, length in shapes})
    known = sorted({lengths[0], lengths[len(lengths) // 2], lengths[-1]})
    rows = problem.batch_size
    counts = [
        of_configuration(configuration, CostModel(problem.spec, base, length))
        .step(rows, rows)
        .flops
        for length in known
    ]
    curve = np.polynomial.Polynomial.fit(known, counts, len(known) - 1)
    return float(sum(n * curve(length) * size / rows for (size, length), n in shapes.items()))


def measure_arithmetic(material: Material, shapes: Counter[tuple[int, int]]) -> Arithmetic:
    """Measure in this process, with its threads; `shapes` are those of the batches."""
    typical = round(statistics.median(rows * length for rows, length in shapes.elements()))
    linear = [m for m in material.problem.spec.modules if m.type in {"linear", "conv1d"}]
    products = Counter((typical, m.in_features, m.out_features) for m in linear)
    flops = sum(n * _flops(product) for product, n in products.items())
    seconds = sum(n * _seconds(product) for product, n in products.items())
    square = (1024, 1024, 1024)
    return Arithmetic(peak=_flops(square) / _seconds(square), same_shapes=flops / seconds)


def _flops(shape: tuple[int, int, int]) -> float:
    rows, inner, columns = shape
    return 2.0 * rows * inner * columns


def _seconds(shape: tuple[int, int, int]) -> float:
    """Return the least seconds of a product of (rows, inner) and (inner, columns)."""
    rows, inner, columns = shape
    device = pick_device()
    left = torch.randn(rows, inner, device=device)
    right = torch.randn(columns, inner, device=device)
    times = []
    for _ in range(REPEATS):
        _wait(device)
        started = time.perf_counter()
        torch.nn.functional.linear(left, right)
        _wait(device)
        times.append(time.perf_counter() - started)
    return min(times)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
