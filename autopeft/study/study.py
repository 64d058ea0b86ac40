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
from autopeft.study.rungs import Fidelity, full_trainings
from autopeft.study.shortlist import Shortlist
from autopeft.study.standing import Comparison
from autopeft.study.strategy import Strategy
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
        """A trial ended, or pauses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPlan:
    """What a study is to do.

    Attributes:
        objectives: What is improved; quality first.
        reference: Where hypervolume is measured from.
        quality_metric: Name of the metric that is maximised.
        eval_rows: Number of rows that it is measured on.
        max_trials: Trials to start in all.
        max_seconds: Time after which no trial is started, `None` for no limit; where trials pause,
            what it takes to finish the short list is set aside.
        rungs: Shares of a full training after which trials report.
        epochs: Passes over the training data of a full training.
        seed: The study's seed. All trials train with it: with common random numbers two
            configurations differ by what they are, not by their luck.
        fidelity: Who goes on from a rung; one of `FIDELITIES`.
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
    fidelity: Fidelity = "asha"


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
        comparison = Comparison(objectives=plan.objectives, reference=plan.reference)
        pauses = plan.fidelity == "shortlist"
        self._shortlist = Shortlist(comparison=comparison) if pauses else None
        self._halving = SuccessiveHalving(
            comparison=comparison, brackets=plan.fidelity == "hyperband"
        )
        self._interrupted = deque(r for r in store.records if r.result is None)
        self._begun = clock.now()
        self._started_here = 0
        self._tried_all = False

    @property
    def records(self) -> list[TrialRecord]:
        """All trials, by number."""
        return self._store.records

    def next_trial(self) -> TrialSpec | NoTrial:
        """Return the next trial, recorded as running, or why there is none."""
        if self._interrupted and (self._shortlist or not self._out_of_time()):
            record = self._interrupted.popleft()
            self._tell("started", record)
            return record.spec
        return self._new_trial() or self._paused_trial()

    def _paused_trial(self) -> TrialSpec | NoTrial:
        """Let the next trial of the short list go on, once all that are to be started pause."""
        if self._shortlist is None:
            return NoTrial.FINISHED
        choice = self._shortlist.choose(self.records)
        for number in choice.drop:
            seconds = self.records[number].seconds
            self.finish(number, TrialResult(status=TrialStatus.STOPPED, seconds=seconds))
        if choice.go_on:
            record = self._store.go_on(choice.go_on[0])
            self._tell("started", record)
            return record.spec
        running = any(r.result is None for r in self.records)
        return NoTrial.WAIT if running else NoTrial.FINISHED

    def _new_trial(self) -> TrialSpec | None:
        """Start the next trial, if there is to be one."""
        number = len(self.records)
        if self._tried_all or number >= self.plan.max_trials or self._out_of_time():
            return None
        candidate = self._strategy.ask(self.records, number)
        if candidate is None:
            logger.warning("every configuration of the space has been tried")
            self._tried_all = True
            return None
        spec = TrialSpec(
            number=number,
            configuration=self._points.configuration(candidate.assignment),
            rungs=self.plan.rungs,
            epochs=self.plan.epochs,
            seed=self.plan.seed,
        )
        cost = self._points.cost(spec.configuration)
        metric = self.plan.quality_metric
        pause = 0 if self._shortlist else None
        self._store.add(spec, candidate.assignment, cost, metric, candidate.notes, pause)
        self._started_here += 1
        self._tell("started", self.records[number])
        return spec

    def report(self, number: int, report: RungReport) -> Decision:
        """Record what a trial measured, then decide whether it goes on."""
        again = len(self.records[number].reports) > report.rung
        record = self._store.record_rung(number, report)
        if not again:  # a trial that was interrupted says again what it said last
            self._tell("reported", record)
        if record.status is TrialStatus.PAUSED:
            self._tell("finished", record)
            return Decision.PAUSE
        if report.last or self._shortlist is not None:
            return Decision.CONTINUE
        return self._halving.decide(self.records, number, report.rung)

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
        return limit is not None and self._clock.now() - self._begun + self._reserve() >= limit

    def _reserve(self) -> float:
        """Return the seconds that finishing the short list of one more trial will take.

        As long a full training as those parts of one that were trained so far.
        """
        if self._shortlist is None or not self._started_here:
            return 0.0
        share = self.plan.rungs[0]
        elapsed = self._clock.now() - self._begun
        n_trials = len(self.records) + 1
        whole = full_trainings(self.plan.fidelity, n_trials)[0]
        return elapsed / (share * self._started_here) * (whole - share * (n_trials - 1))

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
