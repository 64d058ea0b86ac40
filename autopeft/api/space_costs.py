"""What the points of a search space cost on a model: nothing is trained, no weights are read."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from autopeft.api.estimate import BATCH_SIZE, BareModel, bare_model, check_count, task_head
from autopeft.api.space_facts import read_for
from autopeft.cost.budget import ParamBudget
from autopeft.cost.candidates import CandidateSpace
from autopeft.cost.cost import CostModel
from autopeft.cost.memory_limit import n_bytes
from autopeft.cost.options import StepOptions
from autopeft.cost.subject import Subject, of_configuration
from autopeft.space.configuration import Configuration
from autopeft.study.strategies.drawing import untried_sobol

#: Points whose parameters are counted; the first of them also get memory and operations.
SAMPLE = 512
QUANTITIES = ("adapter_params", "peak_memory_bytes", "flops_per_step")
ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class PointCost:
    """What a point costs.

    Attributes:
        method: Names of its methods.
        adapter_params: As a budget counts them.
        peak_memory_bytes: Predicted training memory; `None` where it was not asked for.
        flops_per_step: Operations of a training step; likewise.
    """

    method: str
    adapter_params: int
    peak_memory_bytes: int | None = None
    flops_per_step: int | None = None


def space_costs(  # noqa: PLR0913 - each is an option
    model: str,
    space: str,
    *,
    budget: str | None = None,
    n_labels: int | None = None,
    language_modeling: bool = False,
    seq_length: int | None = None,
    batch_size: int | None = None,
    device_memory: str | None = None,
    n_steps: int = 24,
    seed: int = 0,
    options: StepOptions | None = None,
) -> dict[str, Any]:
    """Return how the costs of a search space are spread, method by method.

    The points are those of the Sobol sequence that a search draws from.

    Args:
        model: Name of the model, or its `config.json`; no weights are read.
        space: Name of a space, or its file.
        budget: Most adapter parameters; `None` takes as many as the base model has.
        n_labels: Number of classes of the head, where nothing is said 2; 1 means regression.
        language_modeling: Whether the model writes text with the head that it has, instead; the
            text of an encoder-decoder is as long as what it reads.
        seq_length: Longest input in tokens; `None` takes 128, or what the model takes if that is
            less; a model of images has its own size.
        batch_size: Examples a step where the space does not choose it; `None` takes 16.
        device_memory: Such as `24GiB`; the result then says how many points fit.
        n_steps: Points whose memory and operations are computed, of those that are drawn.
        seed: Seed of the sequence.
        options: How a step is made; float32, AdamW and nothing else where left out.

    Raises:
        AutopeftError: If the model, the space or the budget cannot be used.
    """
    memory_limit = None if device_memory is None else n_bytes(device_memory)
    bare, candidates = bound_space(
        model,
        space,
        budget or "100%",
        n_labels=n_labels,
        language_modeling=language_modeling,
        seq_length=seq_length,
        batch_size=batch_size,
    )
    options = options or StepOptions()
    costs = CostModel(bare.spec, bare.build, bare.seq_length, options)
    subject = partial(of_configuration, costs=costs)
    points = list(_points(candidates, subject, n_steps, seed))
    result: dict[str, Any] = {
        "model": model,
        "space": candidates.space.name,
        "budget": {"text": budget, "limit": candidates.budget.limit},
        "refused": candidates.refused,
        "batch_size": batch_size or BATCH_SIZE,
        **bare.facts(options),
        "n_points": len(points),
        "n_steps": sum(point.flops_per_step is not None for point in points),
        "costs": spread(points),
        "points": [asdict(point) for point in points],
    }
    if memory_limit is not None:
        known = [p.peak_memory_bytes for p in points if p.peak_memory_bytes is not None]
        result["device_memory_bytes"] = memory_limit
        result["n_fit"] = sum(memory <= memory_limit for memory in known)
    return result


def bound_space(  # noqa: PLR0913 - each is an option
    model: str,
    space: str,
    budget: str,
    *,
    n_labels: int | None = None,
    language_modeling: bool = False,
    seq_length: int | None = None,
    batch_size: int | None = None,
) -> tuple[BareModel, CandidateSpace]:
    """Return a model without weights, and what it takes of a space within a budget.

    The arguments are those of `space_costs`.

    Raises:
        AutopeftError: If the model, the space or the budget cannot be used.
    """
    check_count("batch_size", batch_size)
    bare = bare_model(model, task_head(n_labels, language_modeling=language_modeling), seq_length)
    limit = ParamBudget.parse(budget, bare.spec.base_params)
    training = {"batch_size": batch_size or BATCH_SIZE}
    read = read_for(space, bare.spec)
    return bare, CandidateSpace(read, bare.spec, limit, training, bare.seq_length)


def spread(points: Sequence[PointCost]) -> list[dict[str, Any]]:
    """Return the quartiles of each quantity, for each method and for all together."""
    rows = []
    for quantity in QUANTITIES:
        by_method: dict[str, list[int]] = {}
        for point in points:
            value = getattr(point, quantity)
            if value is not None:
                by_method.setdefault(point.method, []).append(value)
        groups: Mapping[str, list[int]] = dict(sorted(by_method.items()))
        everything = list(itertools.chain.from_iterable(groups.values()))
        rows += [_row(quantity, method, values) for method, values in groups.items()]
        rows.append(_row(quantity, ALL, everything))
    return rows


def _row(quantity: str, method: str, values: Sequence[int]) -> dict[str, Any]:
    quartiles = np.quantile(values, [0, 0.25, 0.5, 0.75, 1]) if values else 5 * [np.nan]
    names = ("least", "quarter", "median", "three_quarters", "most")
    cells = {
        name: round(float(value)) if values else None
        for name, value in zip(names, quartiles, strict=True)
    }
    return {"quantity": quantity, "method": method, "points": len(values), **cells}


def _points(
    candidates: CandidateSpace,
    subject_of: Callable[[Configuration], Subject],
    n_steps: int,
    seed: int,
) -> Iterator[PointCost]:
    drawn = itertools.islice(untried_sobol(candidates, seed, set()), SAMPLE)
    for number, point in enumerate(drawn):
        configuration = candidates.configuration(point)
        count = candidates.adapter_params(point)
        assert count is not None
        if number >= n_steps:
            yield PointCost(method=configuration.method, adapter_params=count)
            continue
        rows = configuration.training.batch_size
        step = subject_of(configuration).step(rows, rows)
        yield PointCost(
            method=configuration.method,
            adapter_params=count,
            peak_memory_bytes=step.memory.total,
            flops_per_step=step.flops,
        )
