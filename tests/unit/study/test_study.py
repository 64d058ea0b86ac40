"""The loop, run by a source-driven table instead of training."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autopeft.cost.cost import Cost
from autopeft.errors import StudyError
from autopeft.runners.simulated import SimulatedRunner
from autopeft.study.fidelity import SuccessiveHalving
from autopeft.study.front import front_hypervolume, pareto_front
from autopeft.study.objective import ReferencePoint, parse_objectives
from autopeft.study.repeats import NO_REPEATS, SEARCH_SHARE, Repeats, n_repeats
from autopeft.study.rungs import Fidelity, rung_shares
from autopeft.study.strategies.optuna_samplers import OptunaStrategy
from autopeft.study.strategy import Candidate, Strategy
from autopeft.study.study import PointCosts, Study, StudyPlan
from autopeft.trials.database import sqlite_url
from autopeft.trials.ports import Decision, NoTrial
from autopeft.trials.store import TrialStore
from autopeft.trials.trial import RungReport, TrialRecord, TrialResult, TrialSpec, TrialStatus
from tests.contracts.test_strategies import SPEC, candidates
from tests.records import RUNGS, record, report

OBJECTIVES = parse_objectives("quality,params")
REFERENCE = ReferencePoint.between(OBJECTIVES, (1.0, 10.0), (0.0, 10_000.0))


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time


class Seen:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []

    def started(self, trial: TrialRecord) -> None:
        self.events.append(("started", trial.number))

    def reported(self, trial: TrialRecord) -> None:
        self.events.append(("reported", trial.number))

    def finished(self, trial: TrialRecord) -> None:
        self.events.append(("finished", trial.number))


def study(
    folder: Path,
    max_trials: int = 5,
    max_seconds: float | None = None,
    clock: Clock | None = None,
    seen: Seen | None = None,
    *,
    fidelity: Fidelity = "asha",
    n_steps: int = 1,
    repeats: Repeats = NO_REPEATS,
    strategy: Strategy | None = None,
    **plan_settings: Any,
) -> Study:
    space = candidates()
    plan = StudyPlan(
        objectives=OBJECTIVES,
        reference=REFERENCE,
        quality_metric="accuracy",
        eval_rows=10_000,
        max_trials=max_trials,
        max_seconds=max_seconds,
        rungs=rung_shares(fidelity, n_steps),
        epochs=1.0,
        seed=0,
        fidelity=fidelity,
        repeats=repeats,
        **plan_settings,
    )
    store = TrialStore(
        sqlite_url(folder / "study.db"),
        "s",
        space.space,
        {o.name: o.direction for o in OBJECTIVES},
    )
    costs = PointCosts(
        configuration=space.configuration,
        cost=lambda c: Cost(
            adapter_params=100 + len(c.components[0].layers),
            head_params=1,
            base_params=SPEC.base_params,
            peak_memory_bytes=1,
        ),
    )
    chosen = strategy or OptunaStrategy("random", space, OBJECTIVES, 0)
    return Study(plan, costs, chosen, store, clock or Clock(), [seen] if seen else [])


class Promises:
    """Random points, each with the gain that the test says."""

    def __init__(self, *gains: float) -> None:
        self._gains = gains
        self._points = OptunaStrategy("random", candidates(), OBJECTIVES, 0)

    def ask(self, records: Sequence[TrialRecord], number: int) -> Candidate | None:
        candidate = self._points.ask(records, number)
        return candidate and replace(candidate, notes={"gain": self._gains[number]})


def test_a_search_that_has_converged_ends_before_its_trials(tmp_path: Path) -> None:
    promises = Promises(0.1, 0.0, 0.0, 0.0, 0.1)
    for name, until_converged, n in (("a", True, 4), ("b", False, 5)):
        (tmp_path / name).mkdir()
        run = study(tmp_path / name, strategy=promises, until_converged=until_converged)
        assert len(list(work(run))) == n


def quality(number: int) -> float:
    return 0.5 + 0.01 * ((7 * number) % 5)


def work(source: Study, most: int = 100) -> Iterator[TrialSpec]:
    """Run trials as a runner does."""
    for _ in range(most):
        spec = source.next_trial()
        if not isinstance(spec, TrialSpec):
            assert spec is NoTrial.FINISHED
            return
        for rung in range(len(RUNGS)):
            if source.report(spec.number, report(rung, quality(spec.number))) is Decision.STOP:
                source.finish(spec.number, TrialResult(status=TrialStatus.STOPPED))
                break
        else:
            source.finish(spec.number, TrialResult(status=TrialStatus.COMPLETE))
        yield spec


def test_all_trials_are_run_and_recorded(tmp_path: Path) -> None:
    seen = Seen()
    source = study(tmp_path, seen=seen)
    assert [spec.number for spec in work(source)] == [0, 1, 2, 3, 4]
    assert all(r.result is not None for r in source.records)
    assert seen.events[:4] == [("started", 0), ("reported", 0), ("reported", 0), ("finished", 0)]
    assert source.next_trial() is NoTrial.FINISHED


def test_a_trial_is_on_disk_before_it_is_handed_out(tmp_path: Path) -> None:
    spec = study(tmp_path).next_trial()
    assert isinstance(spec, TrialSpec)
    again = study(tmp_path)
    assert [r.spec for r in again.records] == [spec]
    assert again.records[0].status is TrialStatus.RUNNING


def test_an_interrupted_study_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    straight = study(tmp_path / "a")
    list(work(straight))

    interrupted = study(tmp_path / "b")
    list(work(interrupted, most=2))
    lost = interrupted.next_trial()
    assert isinstance(lost, TrialSpec)
    interrupted.report(lost.number, report(0, quality(lost.number)))

    resumed = study(tmp_path / "b")
    assert [spec.number for spec in work(resumed)] == [2, 3, 4]
    assert [r.spec for r in resumed.records] == [r.spec for r in straight.records]
    assert [r.status for r in resumed.records] == [r.status for r in straight.records]
    assert [r.quality for r in resumed.records] == [r.quality for r in straight.records]


def searched(source: Study) -> list[TrialRecord]:
    return [r for r in source.records if r.repeat_of is None]


def test_the_front_is_trained_again_when_the_search_is_over(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    plain = study(tmp_path / "plain")
    list(work(plain))

    source = study(tmp_path, repeats=Repeats(seeds=3))
    list(work(source))
    assert [r.spec for r in source.records[:5]] == [r.spec for r in plain.records]
    repeats = source.records[5:]
    assert {r.repeat_of for r in repeats} >= {
        r.number for r in pareto_front(plain.records, OBJECTIVES)
    }
    for trial in repeats:
        first = source.records[trial.repeat_of or 0]
        assert trial.spec.configuration == first.spec.configuration
        assert trial.assignment == first.assignment
        assert trial.spec.seed in {1, 2}
        # It is never stopped early, however weak it is.
        assert trial.status is TrialStatus.COMPLETE
    assert source.next_trial() is NoTrial.FINISHED


def test_repeats_do_not_count_as_configurations(tmp_path: Path) -> None:
    """A finished study is given more trials: it asks for what it would have asked for."""
    (tmp_path / "plain").mkdir()
    plain = study(tmp_path / "plain", max_trials=8)
    list(work(plain))

    list(work(study(tmp_path, max_trials=5, repeats=Repeats(seeds=2))))
    longer = study(tmp_path, max_trials=8, repeats=Repeats(seeds=2))
    list(work(longer))
    assert n_repeats(longer.records) > 0
    assert [r.assignment for r in searched(longer)] == [r.assignment for r in plain.records]


def test_early_stopping_does_not_compare_with_repeats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many repeats of one good trial would leave no room among the best third."""
    list(work(study(tmp_path, max_trials=2, repeats=Repeats(seeds=4))))
    longer = study(tmp_path, max_trials=4)
    seen: list[list[int]] = []
    decide = SuccessiveHalving.decide

    def watched(self: SuccessiveHalving, records: list, number: int, rung: int) -> Decision:
        seen.append([r.number for r in records])
        return decide(self, records, number, rung)

    monkeypatch.setattr(SuccessiveHalving, "decide", watched)
    list(work(longer))
    assert n_repeats(longer.records) >= 3
    assert seen == [[r.number for r in searched(longer)][:n] for n in (3, 4)]


def test_interrupted_repeats_go_on(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    straight = study(tmp_path / "a", repeats=Repeats(seeds=2))
    list(work(straight))

    interrupted = study(tmp_path / "b", repeats=Repeats(seeds=2))
    list(work(interrupted, most=6))
    lost = interrupted.next_trial()
    assert isinstance(lost, TrialSpec)
    assert interrupted.records[lost.number].repeat_of is not None

    resumed = study(tmp_path / "b", repeats=Repeats(seeds=2))
    list(work(resumed))
    assert [r.spec for r in resumed.records] == [r.spec for r in straight.records]
    assert [r.notes for r in resumed.records] == [r.notes for r in straight.records]


def test_a_finished_study_can_be_repeated_later(tmp_path: Path) -> None:
    list(work(study(tmp_path)))
    later = study(tmp_path, repeats=Repeats(seeds=2))
    assert all(later.records[s.number].repeat_of is not None for s in work(later))
    assert n_repeats(later.records) > 0


def test_a_worker_waits_for_what_may_join_the_front(tmp_path: Path) -> None:
    source = study(tmp_path, max_trials=1, repeats=Repeats(seeds=2))
    first = source.next_trial()
    assert isinstance(first, TrialSpec)
    assert source.next_trial() is NoTrial.WAIT
    for rung in range(len(RUNGS)):
        source.report(first.number, report(rung, 0.6))
    source.finish(first.number, TrialResult(status=TrialStatus.COMPLETE))
    again = source.next_trial()
    assert isinstance(again, TrialSpec)
    assert source.records[again.number].repeat_of == first.number


class Curves(dict[tuple[str, int], list[RungReport]]):
    """A training for every configuration and seed, as good as its digest says."""

    def __missing__(self, key: tuple[str, int]) -> list[RungReport]:
        best = int(key[0][:4], 16) / 2**17 + 0.01 * key[1]
        self[key] = [report(rung, best * share) for rung, share in enumerate((0.8, 1.0))]
        return self[key]

    def __contains__(self, _: object) -> bool:
        return True


@pytest.mark.parametrize("workers", [1, 3])
def test_repeats_with_several_workers(workers: int, tmp_path: Path) -> None:
    source = study(tmp_path, max_trials=7, repeats=Repeats(seeds=3))
    SimulatedRunner(Curves(), workers).run(source)
    assert len(searched(source)) == 7
    assert all(r.result is not None for r in source.records)
    begun = Counter(r.spec.configuration.digest for r in source.records)
    front = pareto_front(source.records, OBJECTIVES)
    assert {begun[r.spec.configuration.digest] for r in front} == {3}
    assert source.next_trial() is NoTrial.FINISHED


def test_a_part_of_the_time_is_kept_for_repeats(tmp_path: Path) -> None:
    clock = Clock()
    source = study(
        tmp_path, max_trials=100, max_seconds=100, clock=clock, repeats=Repeats(seeds=2, most=2)
    )
    kinds = []
    for spec in work(source):
        clock.time += 8
        kinds.append(source.records[spec.number].repeat_of is None)
    n_before = math.ceil(100 * SEARCH_SHARE / 8)
    # When there is nothing more to repeat, the search goes on to the end of its time.
    assert kinds == [True] * n_before + [False] * 2 + [True]


def test_time_runs_out(tmp_path: Path) -> None:
    clock = Clock()
    source = study(tmp_path, max_trials=100, max_seconds=60, clock=clock)
    for _ in work(source):
        clock.time += 25
    assert len(source.records) == 3


def test_a_hopeless_study_stops_with_the_first_reason(tmp_path: Path) -> None:
    source = study(tmp_path)
    failed = TrialResult(status=TrialStatus.OOM_GPU, reason="CUDA out of memory")
    for _ in range(2):
        spec = source.next_trial()
        assert isinstance(spec, TrialSpec)
        source.finish(spec.number, failed)
    spec = source.next_trial()
    assert isinstance(spec, TrialSpec)
    with pytest.raises(StudyError, match=r"first 3 trials all failed.*oom_gpu: CUDA out of memory"):
        source.finish(spec.number, failed)
    assert len(source.records) == 3


def test_single_failures_are_borne(tmp_path: Path) -> None:
    source = study(tmp_path)
    next(work(source))
    for _ in range(3):
        spec = source.next_trial()
        assert isinstance(spec, TrialSpec)
        source.finish(spec.number, TrialResult(status=TrialStatus.NAN, reason="loss is nan"))
    assert isinstance(source.next_trial(), TrialSpec)


def test_front_and_hypervolume() -> None:
    trials = [
        record(0, [0.5, 0.6], 100),
        record(1, [0.5, 0.9], 1_000),
        record(2, [0.5, 0.7], 2_000),  # dominated by 1
        record(3, [0.99], 10, TrialStatus.STOPPED),
        record(4, [], 10, TrialStatus.NAN),
        record(5, [0.9], 10, None),
    ]
    assert [r.number for r in pareto_front(trials, OBJECTIVES)] == [0, 1]
    assert pareto_front(trials[3:], OBJECTIVES) == []
    # Scaled: (0.4, 1/3) and (0.1, 2/3), the reference at (1, 2), whose box has a volume of 2.
    expected = (0.6 * (2 / 3 - 1 / 3) + 0.9 * (2 - 2 / 3)) / 2
    assert front_hypervolume(trials, OBJECTIVES, REFERENCE) == pytest.approx(expected)
    assert front_hypervolume(trials[3:], OBJECTIVES, REFERENCE) == 0.0
