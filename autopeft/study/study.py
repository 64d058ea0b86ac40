"""`Study`: the loop. It hands out trials, records what they measure and decides who goes on."""

import logging
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from autopeft.cost.cost import Cost
from autopeft.errors import StudyError
from autopeft.space.configuration import Configuration, Value
from autopeft.study.fidelity import SuccessiveHalving
from autopeft.study.objective import Objective, ReferencePoint, compared, counts_for_front
from autopeft.study.pareto import front, hypervolume
from autopeft.study.strategy import Strategy
from autopeft.tasks.metrics import METRICS
from autopeft.trials.ports import Clock, Decision, NoTrial
from autopeft.trials.store import TrialStore
from autopeft.trials.trial import (
    RungReport,
    TrialRecord,
    TrialResult,
    TrialSpec,
    TrialStatus,
)

logger = logging.getLogger(__name__)

#: A study whose first trials all fail has something wrong that no strategy can avoid.
FAILURES_TO_ABORT = 3


class StudyObserver(Protocol):
    """Is told what happens, after it has been recorded."""

    def started(self, record: TrialRecord, /) -> None:
        """A trial was handed to a worker."""

    def reported(self, record: TrialRecord, /) -> None:
        """A trial measured something at a rung."""

    def finished(self, record: TrialRecord, /) -> None:
        """A trial ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPlan:
    """What a study is to do.

    Attributes:
        objectives: What is improved; quality first.
        reference: Where hypervolume is measured from.
        quality_metric: Name of the metric that is maximised.
        eval_rows: Number of rows that it is measured on.
        max_trials: Trials to start in all.
        max_seconds: Time after which no trial is started, `None` for no limit.
        rungs: Shares of a full training after which trials report.
        epochs: Passes over the training data of a full training.
        seed: The study's seed. All trials train with it: with common random numbers two
            configurations differ by what they are, not by their luck.
    """

    objectives: tuple[Objective, ...]
    reference: ReferencePoint
    quality_metric: str
    eval_rows: int
    max_trials: int
    max_seconds: float | None
    rungs: tuple[float, ...]
    epochs: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PointCosts:
    """How a study turns a point of its space into a configuration and its cost."""

    configuration: Callable[[Mapping[str, Value]], Configuration]
    cost: Callable[[Configuration], Cost]


class Study:
    """All trials for one request; the source of trials for a runner."""

    def __init__(
        self,
        plan: StudyPlan,
        points: PointCosts,
        strategy: Strategy,
        store: TrialStore,
        clock: Clock,
        observers: Sequence[StudyObserver] = (),
    ) -> None:
        """Take up a study; trials that were running when it was interrupted come first."""
        self.plan = plan
        self._points = points
        self._strategy = strategy
        self._store = store
        self._clock = clock
        self._observers = observers
        metric = METRICS[plan.quality_metric]
        self._halving = SuccessiveHalving(
            objectives=plan.objectives,
            reference=plan.reference,
            error=lambda score: metric.error(score, plan.eval_rows),
        )
        self._interrupted = deque(r for r in store.records if r.result is None)
        self._begun = clock.now()

    @property
    def records(self) -> list[TrialRecord]:
        """All trials, by number."""
        return self._store.records

    def next_trial(self) -> TrialSpec | NoTrial:
        """Return the next trial, recorded as running, or why there is none."""
        if self._out_of_time():
            return NoTrial.FINISHED
        if self._interrupted:
            record = self._interrupted.popleft()
            self._tell("started", record)
            return record.spec
        number = len(self.records)
        if number >= self.plan.max_trials:
            return NoTrial.FINISHED
        candidate = self._strategy.ask(self.records, number)
        if candidate is None:
            logger.warning("every configuration of the space has been tried")
            return NoTrial.FINISHED
        spec = TrialSpec(
            number=number,
            configuration=self._points.configuration(candidate.assignment),
            rungs=self.plan.rungs,
            epochs=self.plan.epochs,
            seed=self.plan.seed,
        )
        cost = self._points.cost(spec.configuration)
        metric = self.plan.quality_metric
        self._store.add(spec, candidate.assignment, cost, metric, candidate.notes)
        self._tell("started", self.records[number])
        return spec

    def report(self, number: int, report: RungReport) -> Decision:
        """Record what a trial measured, then decide whether it goes on."""
        record = self._store.record_rung(number, report)
        self._tell("reported", record)
        if report.last:
            return Decision.CONTINUE
        if self._halving.decide(self.records, number, report.rung) is Decision.STOP:
            return Decision.STOP
        return Decision.CONTINUE

    def finish(self, number: int, result: TrialResult) -> None:
        """Record how a trial ended.

        Raises:
            StudyError: If the first trials of the study have all failed.
        """
        record = self.records[number]
        complete = result.status is TrialStatus.COMPLETE
        values = [o.value(record) for o in self.plan.objectives] if complete else None
        record = self._store.finish(number, result, values)
        self._tell("finished", record)
        self._check_hopeless()

    def _check_hopeless(self) -> None:
        ended = [r for r in self.records if r.result is not None]
        if len(ended) == FAILURES_TO_ABORT and all(r.status.failed for r in ended):
            result = ended[0].result
            assert result is not None
            raise StudyError(
                f"The first {FAILURES_TO_ABORT} trials all failed, so the search stopped. "
                f"Trial {ended[0].number}: {result.status.value}: {result.reason}"
            )

    def _out_of_time(self) -> bool:
        limit = self.plan.max_seconds
        return limit is not None and self._clock.now() - self._begun >= limit

    def _tell(self, event: str, record: TrialRecord) -> None:
        for observer in self._observers:
            getattr(observer, event)(record)


def pareto_front(
    records: Sequence[TrialRecord], objectives: Sequence[Objective]
) -> list[TrialRecord]:
    """Return the complete trials that no other dominates, cheapest first."""
    complete = [r for r in records if counts_for_front(r)]
    if not complete:
        return []
    values = np.array([compared(r, objectives) for r in complete])
    chosen = [complete[i] for i in front(values)]
    return sorted(chosen, key=lambda r: (r.cost.adapter_params, r.number))


def front_hypervolume(
    records: Sequence[TrialRecord], objectives: Sequence[Objective], reference: ReferencePoint
) -> float:
    """Return the hypervolume of the complete trials, as a share of the largest possible."""
    complete = [r for r in records if counts_for_front(r)]
    if not complete:
        return 0.0
    points = np.stack([reference.scaled(compared(r, objectives)) for r in complete])
    return hypervolume(points, reference.position) / math.prod(reference.position)
