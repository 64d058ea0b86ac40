"""What PEFT's developers published of methods on MetaMathQA, within 1 % of the parameters."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from table import BUDGET, OBJECTIVES

from autopeft.cost.budget import ParamBudget
from autopeft.space.configuration import Component, Configuration, TrainingParams
from autopeft.study.objective import ReferencePoint
from autopeft.study.pareto import hypervolume
from autopeft.trials.trial import RungReport, TrialRecord

#: Parameters of Llama-3.2-3B.
BASE_PARAMS = 3_212_749_824
STEPS = (250, 500, 1000, 1750, 5000)
METRIC, EXPERIMENT = "accuracy", "experiment"


@dataclass(frozen=True)
class Experiment:
    """One row: what was trained, and what it reported."""

    name: str
    configuration: Configuration
    adapter_params: int
    reports: tuple[RungReport, ...]


class Experiments:
    """All experiments within the budget, numbered from 0."""

    def __init__(self, path: Path) -> None:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [_experiment(row) for row in csv.DictReader(file)]
        limit = ParamBudget.parse(BUDGET, BASE_PARAMS).limit
        self.rows = [row for row in rows if row.adapter_params <= limit]
        smallest = float(min(row.adapter_params for row in self.rows))
        # A guess solves none of the problems.
        best, worst = (1.0, smallest), (0.0, float(limit))
        self.reference = ReferencePoint.between(OBJECTIVES, best, worst)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def quality(self) -> NDArray[np.float64]:
        """Accuracies of the test, shape (n,)."""
        return np.array([row.reports[-1].metrics[METRIC] for row in self.rows])

    @cached_property
    def scaled(self) -> NDArray[np.float64]:
        """Qualities and parameters as they are compared, shape (n, 2); smaller is better."""
        params = np.log10([row.adapter_params for row in self.rows])
        return np.array([self.reference.scaled(p) for p in zip(-self.quality, params, strict=True)])

    @cached_property
    def features(self) -> NDArray[np.float64]:
        """Method, learning rate and size, each in 0-1, shape (n, d)."""
        methods = [row.configuration.method for row in self.rows]
        one_hot = np.array([[m == name for name in sorted(set(methods))] for m in methods], float)
        rates = np.log10([row.configuration.training.learning_rate for row in self.rows])
        numbers = np.column_stack([rates, self.scaled[:, 1]])
        return np.column_stack([one_hot, (numbers - numbers.min(0)) / np.ptp(numbers, axis=0)])

    def numbers(self, records: Sequence[TrialRecord]) -> list[int]:
        """Return the numbers of the experiments that trials are of."""
        names = [row.name for row in self.rows]
        return [names.index(str(record.assignment[EXPERIMENT])) for record in records]

    def share(self, numbers: Sequence[int]) -> float:
        """Return the hypervolume of some as a share of that of all."""
        position = self.reference.position
        some = hypervolume(self.scaled[list(numbers)], position) if len(numbers) else 0.0
        return some / hypervolume(self.scaled, position)

    def shares(self, order: Sequence[int]) -> list[float]:
        """Return the share after each experiment of an order."""
        return [self.share(order[: n + 1]) for n in range(len(order))]


def _experiment(row: Mapping[str, str]) -> Experiment:
    component = Component(
        method=row["method"],
        targets=("backbone",),
        layers=(),
        params=((EXPERIMENT, row[EXPERIMENT]),),
    )
    training = TrainingParams(learning_rate=float(row["learning_rate"]))
    configuration = Configuration(components=(component,), training=training)
    reports = tuple(_report(row, rung) for rung in range(len(STEPS)))
    return Experiment(row[EXPERIMENT], configuration, int(row["params"]), reports)


def _report(row: Mapping[str, str], rung: int) -> RungReport:
    step, last = STEPS[rung], rung == len(STEPS) - 1
    return RungReport(
        rung=rung,
        step=step,
        fidelity=step / STEPS[-1],
        metrics={METRIC: float(row["test" if last else f"valid_{step}"])},
        eval_loss=float("nan"),  # was not published
        train_loss=float(row[f"loss_{step}"]),
        seconds=float(step),
        last=last,
    )
