"""A table of trainings (`make_table.py`), read back with the space that it is a sample of."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from autopeft.cost.budget import ParamBudget
from autopeft.cost.candidates import CandidateSpace
from autopeft.methods.registry import catalogue
from autopeft.models.head import TaskHead
from autopeft.models.loading import load_config, meta_model
from autopeft.models.registry import resolve_model
from autopeft.models.spec import inspect_model
from autopeft.space.schema import ModelShape, find_space, read_space
from autopeft.study.objective import ReferencePoint, parse_objectives
from autopeft.tasks.task import find_task
from autopeft.trials.trial import RungReport

OBJECTIVES = parse_objectives("quality,params")
BUDGET = "1%"
HEAD_LEARNING_RATE = 0.02


@dataclass(frozen=True)
class Training:
    """One row: a point that was trained to the end with one seed.

    `plain` has metrics and loss of the weights before averaging, for rungs before the end; empty
    where they were not measured.
    """

    number: int
    seed: int
    digest: str
    point: dict[str, Any]
    adapter_params: int
    reports: tuple[RungReport, ...]
    plain: tuple[dict[str, Any], ...]

    @property
    def quality(self) -> float:
        """The task's quality at the end."""
        return next(iter(self.reports[-1].metrics.values()))


@dataclass(frozen=True)
class Table:
    """All trainings of one task that came to their end."""

    task: str
    trainings: tuple[Training, ...]

    @cached_property
    def space(self) -> CandidateSpace:
        """The space that the points were drawn from; needs no data."""
        task = find_task(self.task)
        config = load_config(resolve_model("minilm"), TaskHead(kind=task.kind, n_labels=2))
        spec = inspect_model(partial(meta_model, config, task.kind)())
        path = find_space("default")
        shape = ModelShape(spec.n_layers, spec.hidden_size)
        space = read_space(path.read_text(encoding="utf-8"), shape, path.name, catalogue())
        training = {"batch_size": task.batch_size, "head_learning_rate": HEAD_LEARNING_RATE}
        budget = ParamBudget.parse(BUDGET, spec.base_params)
        return CandidateSpace(space, spec, budget, training, task.max_length)

    @cached_property
    def first_seed(self) -> list[Training]:
        """The trainings with seed 0, one a point."""
        return [t for t in self.trainings if t.seed == 0]

    @cached_property
    def reference(self) -> ReferencePoint:
        """The corner of the hypervolume: a guess with as many parameters as are allowed."""
        smallest = self.space.adapter_params(self.space.smallest()) or 1
        guess = 0.5 if find_task(self.task).kind == "classification" else 0.0
        best, worst = (1.0, float(smallest)), (guess, float(self.space.budget.limit))
        return ReferencePoint.between(OBJECTIVES, best, worst)

    @cached_property
    def scaled(self) -> np.ndarray:
        """Quality and parameters of the first seed as they are compared, (n, 2); less is better."""
        quality, params = OBJECTIVES
        rows = [
            self.reference.scaled(
                [quality.minimised(t.quality), params.minimised(float(t.adapter_params))]
            )
            for t in self.first_seed
        ]
        return np.array(rows)

    @cached_property
    def features(self) -> np.ndarray:
        """Features of the points of the first seed, shape (n, d)."""
        from autopeft.study.strategies.features import Features

        features = Features(self.space)
        return np.stack([features.row(t.point) for t in self.first_seed])

    def by_digest(self) -> dict[str, list[Training]]:
        """Return the trainings of each point, over its seeds."""
        found: dict[str, list[Training]] = defaultdict(list)
        for training in self.trainings:
            found[training.digest].append(training)
        return found


def read_table(path: Path, task: str) -> Table:
    """Read a table; points whose configuration has changed since are an error.

    Raises:
        SystemExit: If today's space makes other configurations of the points.
    """
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    rows = [row for row in lines if row["status"] == "complete"]
    table = Table(task, tuple(training_of(row) for row in rows))
    changed = [t.number for t in table.trainings if _digest(table, t) != t.digest]
    if changed:
        raise SystemExit(f"{path}: {len(changed)} points mean something else today: {changed[:5]}")
    return table


def _digest(table: Table, training: Training) -> str:
    return table.space.configuration(training.point).digest


def training_of(row: Mapping[str, Any]) -> Training:
    """Return a row of the file."""
    reports: Sequence[dict[str, Any]] = row["reports"]
    return Training(
        number=row["number"],
        seed=row["seed"],
        digest=row["digest"],
        point=row["point"],
        adapter_params=row["adapter_params"],
        reports=tuple(RungReport.from_dict(report) for report in reports),
        plain=tuple(row.get("plain", ())),
    )
