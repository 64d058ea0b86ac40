"""The real study over trainings that were recorded: points to try, and a place for its records."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from contestants import FITS, N_INITIAL, Rows, plain, strategy_of_rows
from table import OBJECTIVES, Table

from autopeft.cost.cost import Cost
from autopeft.runners.simulated import Curves, SimulatedRunner
from autopeft.study.objective import ReferencePoint
from autopeft.study.rungs import rung_shares
from autopeft.study.strategies.optuna_samplers import OptunaStrategy
from autopeft.study.strategy import Candidate, Strategy
from autopeft.study.study import PointCosts, Study, StudyPlan
from autopeft.trials.trial import RungReport, TrialRecord, TrialResult, TrialSpec, TrialStatus

#: No time or repeat depends on it: how many rows qualities are said to be measured on.
EVAL_ROWS = 600

#: Returns the next point, given all trials and its number.
Ask = Callable[[Sequence[TrialRecord], int], Candidate | None]


class Shuffled:
    """Asks for the points of a table in a random order."""

    def __init__(self, table: Table, seed: int) -> None:
        order = np.random.default_rng(seed).permutation(len(table.first_seed))
        self._points = [table.first_seed[i].point for i in order]

    def ask(self, _: Sequence[TrialRecord], number: int) -> Candidate | None:
        return Candidate(assignment=self._points[number]) if number < len(self._points) else None


class Searched:
    """Asks for ten points in a random order, then for what a strategy asks for among the rows."""

    def __init__(self, table: Table, seed: int, *, strategy: Callable[[Rows, int], Ask]) -> None:
        rows = Rows(table)
        order = np.random.default_rng(seed).permutation(len(rows))
        self._start = {table.first_seed[i].digest: table.first_seed[i].point for i in order}
        self._ask = strategy(rows, seed)

    def ask(self, records: Sequence[TrialRecord], number: int) -> Candidate | None:
        qualities = {r.quality for r in records if r.quality is not None}
        if number >= N_INITIAL and len(qualities) > 1:
            return self._ask(records, number)
        # Early accuracies may all be those of a guess, of which nothing can be learned.
        tried = {record.spec.configuration.digest for record in records}
        left = (point for digest, point in self._start.items() if digest not in tried)
        return Candidate(assignment=next(left))


def ours(rows: Rows, seed: int) -> Ask:
    """Return the strategy of a search, with the table for its space."""
    return strategy_of_rows(rows, seed, "matern").ask


def sampler(rows: Rows, seed: int, *, name: str) -> Ask:
    """Return one of Optuna's samplers, which gets the nearest row to what it suggests."""
    strategy = OptunaStrategy(name, rows.table.space, OBJECTIVES, seed)

    def ask(records: Sequence[TrialRecord], number: int) -> Candidate | None:
        candidate = strategy.ask(records, number)
        assert candidate is not None
        tried = [rows.number[r.spec.configuration.digest] for r in records]
        nearest = rows.nearest(candidate.assignment, tried)
        return Candidate(assignment=rows.table.first_seed[nearest].point)

    return ask


def nehvi(rows: Rows, seed: int, *, name: str) -> Ask:
    """Return NEHVI on one-hot points, which learns from the ends of trainings alone."""
    choose = plain(rows, seed, FITS[name])

    def ask(records: Sequence[TrialRecord], _: int) -> Candidate | None:
        numbers = [rows.number[r.spec.configuration.digest] for r in records]
        ended = [r.status is TrialStatus.COMPLETE for r in records]
        seen = [n for n, end in zip(numbers, ended, strict=True) if end]
        stopped = [n for n, end in zip(numbers, ended, strict=True) if not end]
        return Candidate(assignment=rows.table.first_seed[choose(seen, stopped)].point)

    return ask


class Memory:
    """Keeps the records of a study as the store does, but not on a disk."""

    def __init__(self) -> None:
        self.records: list[TrialRecord] = []
        self._pauses: list[int | None] = []

    def add(
        self,
        spec: TrialSpec,
        assignment: Mapping[str, Any],
        cost: Cost,
        metric: str,
        notes: Mapping[str, Any],
        pause: int | None = None,
    ) -> None:
        record = TrialRecord(
            spec=spec,
            assignment=assignment,
            cost=cost,
            reports=(),
            result=None,
            quality_metric=metric,
            notes=notes,
        )
        self.records = [*self.records, record]
        self._pauses.append(pause)

    def record_rung(self, number: int, report: RungReport) -> TrialRecord:
        pause = self._pauses[number]
        pauses = pause is not None and report.rung >= pause and not report.last
        result = TrialResult(status=TrialStatus.PAUSED) if pauses else None
        # A real trial that goes on says again what it said last.
        reports = (*self.records[number].reports[: report.rung], report)
        return self._replace(number, reports=reports, result=result)

    def go_on(self, number: int) -> TrialRecord:
        self._pauses[number] = len(self.records[number].reports)
        return self._replace(number, result=None)

    def finish(self, number: int, result: TrialResult, _: object) -> TrialRecord:
        return self._replace(number, result=result)

    def _replace(self, number: int, **changes: Any) -> TrialRecord:
        record = replace(self.records[number], **changes)
        self.records = [*self.records[:number], record, *self.records[number + 1 :]]
        return record


def replay(
    curves: Curves,
    points: PointCosts,
    reference: ReferencePoint,
    strategy: Strategy,
    *,
    fidelity: str,
    trials: int,
) -> list[TrialRecord]:
    """Run a study whose trials are looked up; return them.

    Args:
        curves: What each training reported.
        points: What a point is, and what it costs.
        reference: Where hypervolume is measured from.
        strategy: Who asks for points.
        fidelity: Who goes on from a rung.
        trials: How many points are tried.
    """
    reports = next(iter(curves.values()))
    plan = StudyPlan(
        objectives=OBJECTIVES,
        reference=reference,
        quality_metric=next(iter(reports[-1].metrics)),
        eval_rows=EVAL_ROWS,
        max_trials=trials,
        max_seconds=None,
        rungs=rung_shares(fidelity, reports[-1].step),
        epochs=1.0,
        seed=0,
        fidelity=fidelity,
    )
    runner, memory = SimulatedRunner(curves), Memory()
    runner.run(Study(plan, points, strategy, memory, runner.clock))
    return memory.records


def adapter_cost(adapter_params: int) -> Cost:
    """Return a cost of which only the parameters are looked at."""
    return Cost(adapter_params=adapter_params, head_params=0, base_params=1, peak_memory_bytes=0)
