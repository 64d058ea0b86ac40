"""`Study`: the loop. It hands out trials, records what they measure and decides who goes on."""

import logging
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from autopeft.cost.cost import Cost
from autopeft.errors import StudyError
from autopeft.space.configuration import Configuration, Value
from autopeft.study.convergence import has_converged
from autopeft.study.fidelity import SuccessiveHalving
from autopeft.study.objective import Objective, ReferencePoint
from autopeft.study.pareto import front, hypervolume
from autopeft.study.repeats import NO_REPEATS, SEARCH_SHARE, Repeats, n_repeats
from autopeft.study.strategy import Candidate, Strategy
from autopeft.study.uncertainty import measured_configurations
from autopeft.tasks.metrics import METRICS
from autopeft.trials.ports import Clock, Decision, NoTrial
from autopeft.trials.store import TrialStore
from autopeft.trials.trial import (
    REPEAT,
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
        max_trials: Configurations to try in all; repeats come on top.
        max_seconds: Time after which no trial is started, `None` for no limit.
        rungs: Shares of a full training after which trials report.
        epochs: Passes over the training data of a full training.
        seed: The study's seed. All trials but repeats train with it: with common random numbers
            two configurations differ by what they are, not by their luck.
        until_converged: Whether no new configuration is tried once `has_converged` says so.
        repeats: What is trained again with further seeds at the end.
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
    until_converged: bool = False
    repeats: Repeats = NO_REPEATS


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
        self._error = lambda score: metric.error(score, plan.eval_rows)
        self._halving = SuccessiveHalving(
            objectives=plan.objectives, reference=plan.reference, error=self._error
        )
        self._interrupted = deque(r for r in store.records if r.result is None)
        self._exhausted = False
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
        return self._begin_next() or self._nothing_to_begin()

    def _begin_next(self) -> TrialSpec | None:
        """Begin a new configuration, or a repeat when the search or its share of time is over."""
        share = SEARCH_SHARE if self.plan.repeats.seeds > 1 else 1.0
        if self._out_of_time(share):
            return self._begin_repeat() or self._begin_configuration()
        return self._begin_configuration() or self._begin_repeat()

    def _nothing_to_begin(self) -> NoTrial:
        # What still runs may join the front, and is then to be repeated.
        running = self.plan.repeats.seeds > 1 and any(r.result is None for r in self.records)
        return NoTrial.WAIT if running else NoTrial.FINISHED

    def _begin_configuration(self) -> TrialSpec | None:
        tried = len(self.records) - n_repeats(self.records)
        if self._exhausted or tried >= self.plan.max_trials or self._has_converged():
            return None
        candidate = self._strategy.ask(self.records, tried)
        if candidate is None:
            logger.warning("every configuration of the space has been tried")
            self._exhausted = True
            return None
        spec = TrialSpec(
            number=len(self.records),
            configuration=self._points.configuration(candidate.assignment),
            rungs=self.plan.rungs,
            epochs=self.plan.epochs,
            seed=self.plan.seed,
        )
        cost = self._points.cost(spec.configuration)
        return self._begin(spec, candidate, cost)

    def _has_converged(self) -> bool:
        return self.plan.until_converged and has_converged(self.records)

    def _begin_repeat(self) -> TrialSpec | None:
        records, objectives = self.records, self.plan.objectives
        front = pareto_front(records, objectives)
        repeat = self.plan.repeats.next(records, objectives, self._error, front)
        if repeat is None:
            return None
        first = repeat.record
        spec = replace(first.spec, number=len(records), seed=repeat.seed)
        notes = {"origin": REPEAT, "of": first.number}
        return self._begin(
            spec, Candidate(assignment=dict(first.assignment), notes=notes), first.cost
        )

    def _begin(self, spec: TrialSpec, candidate: Candidate, cost: Cost) -> TrialSpec:
        metric = self.plan.quality_metric
        self._store.add(spec, candidate.assignment, cost, metric, candidate.notes)
        self._tell("started", self.records[spec.number])
        return spec

    def report(self, number: int, report: RungReport) -> Decision:
        """Record what a trial measured, then decide whether it goes on."""
        record = self._store.record_rung(number, report)
        self._tell("reported", record)
        if report.last or record.repeat_of is not None:
            return Decision.CONTINUE
        searched = [r for r in self.records if r.repeat_of is None]
        if self._halving.decide(searched, number, report.rung) is Decision.STOP:
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

    def _out_of_time(self, share: float = 1.0) -> bool:
        limit = self.plan.max_seconds
        return limit is not None and self._clock.now() - self._begun >= share * limit

    def _tell(self, event: str, record: TrialRecord) -> None:
        for observer in self._observers:
            getattr(observer, event)(record)


def pareto_front(
    records: Sequence[TrialRecord], objectives: Sequence[Objective]
) -> list[TrialRecord]:
    """Return the configurations that no other dominates, cheapest first.

    A configuration is compared by its mean quality over its complete trials, and returned as the
    first of them.
    """
    found = measured_configurations(records)
    if not found:
        return []
    values = np.array([m.compared(objectives) for m in found])
    chosen = [found[i].record for i in front(values)]
    return sorted(chosen, key=lambda r: (r.cost.adapter_params, r.number))


def front_hypervolume(
    records: Sequence[TrialRecord], objectives: Sequence[Objective], reference: ReferencePoint
) -> float:
    """Return the hypervolume of the configurations' means, as a share of the largest possible."""
    found = measured_configurations(records)
    if not found:
        return 0.0
    points = np.stack([reference.scaled(m.compared(objectives)) for m in found])
    return hypervolume(points, reference.position) / math.prod(reference.position)
