"""`Study`: the loop. It hands out trials, records what they measure and decides who goes on."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from autopeft.cost.cost import Cost
from autopeft.errors import StudyError
from autopeft.space.configuration import Configuration, Value
from autopeft.study.convergence import has_converged
from autopeft.study.fidelity import SuccessiveHalving
from autopeft.study.front import pareto_front
from autopeft.study.objective import Objective, ReferencePoint
from autopeft.study.repeats import NO_REPEATS, SEARCH_SHARE, Repeats
from autopeft.study.rungs import Fidelity
from autopeft.study.shortlist import Shortlist, work_for_list
from autopeft.study.standing import Comparison
from autopeft.study.strategy import Candidate, Strategy
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

#: A study whose first trials all fail has something wrong that no strategy can avoid.
FAILURES_TO_ABORT = 3


#: Why a study ended: all trials were made, its time is over, its model expects next to nothing of
#: any further point, or every configuration of the space was tried.
Ending = Literal["trials", "time", "converged", "space"]


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
        max_trials: Configurations to try in all; repeats come on top.
        max_seconds: Time after which no trial is started, `None` for no limit; where trials pause,
            what it takes to finish the short list is set aside.
        rungs: Shares of a full training after which trials report.
        epochs: Passes over the training data of a full training.
        seed: The study's seed. All trials but repeats train with it: with common random numbers
            two configurations differ by what they are, not by their luck.
        fidelity: Who goes on from a rung; one of `FIDELITIES`.
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
    fidelity: Fidelity = "asha"
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
        comparison = Comparison(objectives=plan.objectives, reference=plan.reference)
        pauses = plan.fidelity == "shortlist"
        self._shortlist = Shortlist(comparison=comparison) if pauses else None
        self._halving = SuccessiveHalving(
            comparison=comparison, brackets=plan.fidelity == "hyperband"
        )
        self._interrupted = deque(r for r in store.records if r.result is None)
        self._exhausted = False
        self._begun = clock.now()
        self._most_running = 1
        self._finishing = False

    @property
    def records(self) -> list[TrialRecord]:
        """All trials, by number."""
        return self._store.records

    @property
    def ending(self) -> Ending:
        """Why no configuration is tried any more, once the study has ended."""
        if self._exhausted:
            return "space"
        if len(self._searched()) >= self.plan.max_trials:
            return "trials"
        return "converged" if self._has_converged() else "time"

    def next_trial(self) -> TrialSpec | NoTrial:
        """Return the next trial, recorded as running, or why there is none."""
        if self._interrupted and (self._shortlist or not self._out_of_time()):
            record = self._interrupted.popleft()
            self._tell("started", record)
            return record.spec
        if self._out_of_time() and self._shortlist is None:
            return NoTrial.FINISHED
        return self._begin_next() or self._nothing_to_begin()

    def _begin_next(self) -> TrialSpec | None:
        """Begin a new configuration, or let a paused one go on, or repeat one.

        When the search's share of the time is over, repeats come first.
        """
        if self._shortlist is not None:
            return self._begin_configuration() or self._let_go_on() or self._begin_repeat()
        if self._out_of_time(self._search_share):
            return self._begin_repeat() or self._begin_configuration()
        return self._begin_configuration() or self._begin_repeat()

    @property
    def _search_share(self) -> float:
        return SEARCH_SHARE if self.plan.repeats.seeds > 1 else 1.0

    def _nothing_to_begin(self) -> NoTrial:
        # What still runs may join the front, and is then to be repeated, or the short list.
        awaited = self._shortlist is not None or self.plan.repeats.seeds > 1
        running = awaited and any(r.result is None for r in self.records)
        return NoTrial.WAIT if running else NoTrial.FINISHED

    def _let_go_on(self) -> TrialSpec | None:
        """Let the next trial of the short list go on, once all that are to be started pause."""
        assert self._shortlist is not None
        choice = self._shortlist.choose(self._searched())
        for number in choice.drop:
            seconds = self.records[number].seconds
            self.finish(number, TrialResult(status=TrialStatus.STOPPED, seconds=seconds))
        if not choice.go_on:
            return None
        self._finishing = True
        record = self._store.go_on(choice.go_on[0])
        self._tell("started", record)
        return record.spec

    def _searched(self) -> list[TrialRecord]:
        return [r for r in self.records if r.repeat_of is None]

    def _begin_configuration(self) -> TrialSpec | None:
        tried = len(self._searched())
        enough = tried >= self.plan.max_trials or self._has_converged()
        if self._exhausted or enough or self._has_to_finish():
            return None
        candidate = self._strategy.ask(self.records, tried)
        if candidate is None:
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
        searching = self._shortlist and any(r.result is None for r in self._searched())
        if searching or self._out_of_time():
            return None
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
        first = candidate.notes.get("origin") != REPEAT
        pause = 0 if self._shortlist and first else None
        self._store.add(spec, candidate.assignment, cost, metric, candidate.notes, pause)
        running = sum(r.result is None for r in self.records)
        self._most_running = max(self._most_running, running)
        self._tell("started", self.records[spec.number])
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
        undecided = report.last or record.repeat_of is not None or self.plan.fidelity == "none"
        if undecided or self._shortlist is not None:
            return Decision.CONTINUE
        return self._halving.decide(self._searched(), number, report.rung)

    def finish(self, number: int, result: TrialResult) -> None:
        """Record how a trial ended.

        Raises:
            StudyError: If the first trials of the study have all failed.
        """
        record = self.records[number]
        complete = result.status is TrialStatus.COMPLETE
        values = [o.value(record) for o in self.plan.objectives] if complete else None
        record = self._store.finish(number, result, values)
        self._finishing = self._finishing and not all(r.status.ended for r in self._searched())
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

    def _has_to_finish(self) -> bool:
        """Tell whether what is left of the search's time goes to the short list.

        Once a list is being finished, nothing is started until it is.
        """
        limit = self.plan.max_seconds
        if self._shortlist is None or limit is None:
            return False
        due = work_for_list(self._searched(), self.plan.rungs) / self._most_running
        elapsed = self._clock.now() - self._begun
        return self._finishing or elapsed + due >= self._search_share * limit

    def _tell(self, event: str, record: TrialRecord) -> None:
        for observer in self._observers:
            getattr(observer, event)(record)
