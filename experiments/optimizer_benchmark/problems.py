"""Problems with a known truth: BoTorch's own, and a conditional space with a planted front."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
import torch
from botorch.test_functions import multi_objective
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

Params = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something to minimise, objective by objective.

    Attributes:
        name: Short name.
        evaluate: Asks a trial for its parameters and returns all objectives.
        reference: Where hypervolume is measured from.
        volume: The largest possible hypervolume.
        space: Distributions of all parameters, whether a point has them or not.
        known: Objectives that follow from the parameters without a trial, by number.
    """

    name: str
    evaluate: Callable[[optuna.Trial], tuple[float, ...]]
    reference: tuple[float, ...]
    volume: float
    space: Mapping[str, BaseDistribution]
    known: Mapping[int, Callable[[Params], float]] = field(default_factory=dict)


def of_botorch(name: str, function: Any) -> Problem:
    """Return one of BoTorch's test problems."""
    low, high = function.bounds

    def evaluate(trial: optuna.Trial) -> tuple[float, ...]:
        place = [
            trial.suggest_float(f"x{i}", float(low[i]), float(high[i])) for i in range(function.dim)
        ]
        return tuple(function(torch.tensor(place, dtype=torch.double)).tolist())

    return Problem(
        name=name,
        evaluate=evaluate,
        reference=tuple(float(r) for r in function.ref_point),
        volume=float(function.max_hv),
        space={
            f"x{i}": FloatDistribution(float(low[i]), float(high[i])) for i in range(function.dim)
        },
    )


# The planted problem: error against the logarithm of the size. Each method has a size that it
# does best with, a learning rate that it needs, and a floor that it does not get below.
LAYERS = 12
WIDTH = 384
FLOORS = {"lora": 0.10, "adapter": 0.13, "ia3": 0.22, "bitfit": 0.25}
RATES = {"lora": 0.3, "adapter": -0.4, "ia3": 0.7, "bitfit": 0.0}
TARGETS = {"qv": 2, "attention": 4, "feed_forward": 5, "all": 9}


def n_params(params: Params) -> float:
    """Return the trained parameters of a point."""
    layers = params["layers"]
    if params["method"] == "lora":
        return float(2 * WIDTH * params["rank"] * TARGETS[params["targets"]] * layers)
    if params["method"] == "adapter":
        return float(2 * WIDTH * params["bottleneck"] * layers)
    return float({"ia3": 6, "bitfit": 11}[params["method"]] * WIDTH * layers)


def error(params: Params) -> float:
    """Return the error of a point, between the floor of its method and about 1."""
    method = params["method"]
    found = FLOORS[method] + 0.5 * math.exp(-params["layers"] / 4)
    if method == "lora":
        found += 0.12 / (1 + params["rank"]) + {"qv": 0.03, "attention": 0.0}.get(
            params["targets"], 0.015
        )
    if method == "adapter":
        found += 0.35 / math.sqrt(params["bottleneck"])
    return found + 0.15 * (math.log10(params["rate"]) - RATES[method]) ** 2


def suggest_planted(trial: optuna.Trial) -> dict[str, Any]:
    """Ask a trial for a point of the planted problem."""
    params: dict[str, Any] = {
        "method": trial.suggest_categorical("method", list(FLOORS)),
        "layers": trial.suggest_int("layers", 1, LAYERS),
        "rate": trial.suggest_float("rate", 0.1, 10, log=True),
    }
    if params["method"] == "lora":
        params["rank"] = trial.suggest_int("rank", 1, 64, log=True)
        params["targets"] = trial.suggest_categorical("targets", list(TARGETS))
    if params["method"] == "adapter":
        params["bottleneck"] = trial.suggest_int("bottleneck", 1, 128, log=True)
    return params


def planted() -> Problem:
    """Return the planted problem: error and logarithm of the size, which is known."""

    def evaluate(trial: optuna.Trial) -> tuple[float, ...]:
        params = suggest_planted(trial)
        return error(params), math.log10(n_params(params))

    reference = (1.0, 6.0)
    return Problem(
        name="planted",
        evaluate=evaluate,
        reference=reference,
        volume=_volume_of_all(reference),
        space={
            "method": CategoricalDistribution(list(FLOORS)),
            "layers": IntDistribution(1, LAYERS),
            "rate": FloatDistribution(0.1, 10, log=True),
            "rank": IntDistribution(1, 64, log=True),
            "targets": CategoricalDistribution(list(TARGETS)),
            "bottleneck": IntDistribution(1, 128, log=True),
        },
        known={1: lambda params: math.log10(n_params(params))},
    )


def _volume_of_all(reference: tuple[float, float]) -> float:
    """Return the hypervolume of all points at their best learning rates."""
    points = []
    for layers in range(1, LAYERS + 1):
        for method in FLOORS:
            base = {"method": method, "layers": layers, "rate": 10 ** RATES[method]}
            ranks = range(1, 65) if method == "lora" else [0]
            targets = TARGETS if method == "lora" else [""]
            widths = range(1, 129) if method == "adapter" else [0]
            points += [
                {**base, "rank": rank, "targets": target, "bottleneck": width}
                for rank in ranks
                for target in targets
                for width in widths
            ]
    values = np.array([[math.log10(n_params(p)), error(p)] for p in points])
    return staircase(values[:, ::-1], reference)


def staircase(values: np.ndarray, reference: tuple[float, ...]) -> float:
    """Return the hypervolume of points of two objectives, shape (n, 2)."""
    inside = values[(values < np.asarray(reference)).all(axis=1)]
    total, height = 0.0, reference[1]
    for first, second in inside[np.lexsort((inside[:, 1], inside[:, 0]))]:
        if second < height:
            total += (reference[0] - first) * (height - second)
            height = second
    return total


def mixed() -> Problem:
    """Return two objectives of numbers, whole numbers and choices that pull against each other."""
    best = {"a": 0.0, "b": 0.15, "c": 0.05, "d": 0.3}

    def values(kind: str, n: int, x: float, y: float) -> tuple[float, float]:
        near = best[kind] + (x - 0.7) ** 2 + 0.3 * (y - n / 20) ** 2 + 0.2 * math.cos(6 * x) ** 2
        cheap = 0.05 * n + 0.3 * x + {"a": 0.4, "b": 0.0, "c": 0.25, "d": 0.1}[kind]
        return near, cheap

    def evaluate(trial: optuna.Trial) -> tuple[float, ...]:
        return values(
            trial.suggest_categorical("kind", list(best)),
            trial.suggest_int("n", 0, 20),
            trial.suggest_float("x", 0, 1),
            trial.suggest_float("y", 0, 1),
        )

    grid = [
        values(kind, n, x, n / 20)
        for kind in best
        for n in range(21)
        for x in np.linspace(0, 1, 501)
    ]
    reference = (1.0, 1.5)
    return Problem(
        name="mixed",
        evaluate=evaluate,
        reference=reference,
        volume=staircase(np.array(grid), reference),
        space={
            "kind": CategoricalDistribution(list(best)),
            "n": IntDistribution(0, 20),
            "x": FloatDistribution(0, 1),
            "y": FloatDistribution(0, 1),
        },
    )


def all_problems() -> dict[str, Problem]:
    """Return the problems by name."""
    problems = [
        of_botorch("branin_currin", multi_objective.BraninCurrin(negate=False)),
        of_botorch("dtlz2", multi_objective.DTLZ2(dim=6, num_objectives=2, negate=False)),
        mixed(),
        planted(),
    ]
    return {problem.name: problem for problem in problems}
