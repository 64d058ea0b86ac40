"""Trials that pause: the loop, run by a table instead of training."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from autopeft.runners.simulated import SimulatedRunner
from autopeft.study.rungs import full_trainings, kept_of, rung_shares
from autopeft.study.shortlist import Choice, Shortlist
from autopeft.study.study import Study
from autopeft.trials.ports import Decision, NoTrial
from autopeft.trials.trial import RungReport, TrialRecord, TrialResult, TrialSpec, TrialStatus
from tests.records import record, report
from tests.unit.study.test_fidelity import COMPARISON
from tests.unit.study.test_study import Clock, study

SHORTLIST = Shortlist(comparison=COMPARISON)
SHARES = rung_shares("shortlist", 1)
#: Of trainings that are long.
LONG = 5000
N_TRIALS = 15
#: A full training takes so long.
FULL_SECONDS = 540


def quality(number: int) -> float:
    return 0.5 + 0.01 * ((7 * number) % N_TRIALS)


def paused(number: int, n_reports: int = 1) -> TrialRecord:
    reports = tuple(report(rung, quality(number), SHARES) for rung in range(n_reports))
    result = TrialResult(status=TrialStatus.PAUSED)
    trial = record(number, [], 1000, None)
    return replace(trial, spec=replace(trial.spec, rungs=SHARES), reports=reports, result=result)


def running(number: int, n_reports: int = 0) -> TrialRecord:
    return replace(paused(number, n_reports), result=None)


class KilledError(Exception):
    """The process is gone."""


class Table:
    """A runner: it looks trials up, and keeps as checkpoints how far they came."""

    def __init__(self, most_calls: int = 10**6, shares: Sequence[float] = SHARES) -> None:
        self.shares = shares
        self.reached: dict[int, int] = {}
        self.left = most_calls

    def run(self, source: Study) -> None:
        while isinstance(spec := source.next_trial(), TrialSpec):
            self._count()
            self._train(source, spec)
        assert spec is NoTrial.FINISHED

    def _train(self, source: Study, spec: TrialSpec) -> None:
        first = self.reached.get(spec.number, 0)
        for rung in range(max(0, first - 1), len(self.shares)):  # a checkpoint's rung is said again
            self.reached[spec.number] = rung + 1
            self._count()
            said = report(rung, quality(spec.number), self.shares)
            seconds = FULL_SECONDS * said.fidelity
            decision = source.report(spec.number, replace(said, seconds=seconds))
            self._count()
            if decision is Decision.PAUSE:
                return
        result = TrialResult(status=TrialStatus.COMPLETE, seconds=FULL_SECONDS)
        source.finish(spec.number, result)
        self._count()

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise KilledError


def outcome(source: Study) -> list[tuple[TrialStatus, int, float | None]]:
    return [(r.status, len(r.reports), r.quality) for r in source.records]


def shortlist(folder: Path, n_trials: int = N_TRIALS, **more: object) -> Study:
    return study(folder, max_trials=n_trials, fidelity="shortlist", **more)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Study:
    source = shortlist(tmp_path_factory.mktemp("straight"))
    Table().run(source)
    return source


def test_only_the_short_list_is_trained_to_the_end(straight: Study) -> None:
    complete = [r for r in straight.records if r.status is TrialStatus.COMPLETE]
    stopped = [r for r in straight.records if r.status is TrialStatus.STOPPED]
    assert len(complete) == kept_of(kept_of(N_TRIALS, 0, 3), 1, 3) < N_TRIALS
    assert len(complete) + len(stopped) == N_TRIALS
    assert max(quality(r.number) for r in stopped) < max(quality(r.number) for r in complete)
    trained = sum(r.fidelity for r in straight.records)
    assert trained == pytest.approx(full_trainings("shortlist", N_TRIALS, SHARES)[0])


def test_long_trainings_pause_once_more(tmp_path: Path) -> None:
    """Of 80 trials 27 go on from 1/27 of a training; of those 10 to 1/3, and all of these."""
    source = shortlist(tmp_path, n_trials=80, n_steps=LONG)
    Table(shares=source.plan.rungs).run(source)
    reached = [len(r.reports) for r in source.records]
    assert [sum(n > rung for n in reached) for rung in range(4)] == [80, 27, 10, 10]
    trained = sum(r.fidelity for r in source.records)
    assert trained == pytest.approx(full_trainings("shortlist", 80, source.plan.rungs)[0])


@pytest.mark.parametrize("killed_after", [2, 48, 49, 90])
def test_killed_and_resumed_equals_uninterrupted(
    tmp_path: Path, straight: Study, killed_after: int
) -> None:
    """Wherever it is killed, between a checkpoint and its report too."""
    table = Table(killed_after)
    with pytest.raises(KilledError):
        table.run(shortlist(tmp_path))
    table.left = 10**6
    resumed = shortlist(tmp_path)
    table.run(resumed)
    assert outcome(resumed) == outcome(straight)


def test_nobody_is_chosen_before_all_have_reached_the_rung() -> None:
    assert SHORTLIST.choose([paused(0), running(1)]) == Choice()
    assert SHORTLIST.choose([paused(0), paused(1)]).go_on


def test_the_second_rung_waits_for_those_on_their_way_to_it() -> None:
    records = [paused(0, 2), running(1, 1)]
    assert SHORTLIST.choose(records) == Choice()
    assert SHORTLIST.choose([paused(0, 2), paused(1, 2)]).go_on


def test_a_fifth_goes_on_and_half_of_it_to_the_end() -> None:
    """Of a hundred that are equally large, twenty, then ten."""
    field = [paused(i) for i in range(100)]
    field = [
        replace(r, reports=(report(0, 0.5 + 0.001 * ((37 * i) % 100), SHARES),))
        for i, r in enumerate(field)
    ]
    best = sorted(range(100), key=lambda i: -field[i].reports[0].metrics["accuracy"])
    first = SHORTLIST.choose(field)
    assert set(first.go_on) == set(best[:20])
    assert set(first.drop) == set(best[20:])
    stopped = TrialResult(status=TrialStatus.STOPPED)
    further = [
        replace(r, reports=(*r.reports, replace(r.reports[0], rung=1)))
        if r.number in first.go_on
        else replace(r, result=stopped)
        for r in field
    ]
    second = SHORTLIST.choose(further)
    assert set(second.go_on) == set(best[:10])
    assert set(second.drop) == set(best[10:20])


def test_a_failed_trial_is_not_waited_for() -> None:
    failed = replace(running(1), result=TrialResult(status=TrialStatus.NAN))
    assert SHORTLIST.choose([paused(0), failed]) == Choice(go_on=(0,))


def test_all_that_nothing_dominates_are_finished() -> None:
    """Twenty trials at the last rung before the end, each better and larger than the one before."""
    front = [replace(paused(i, 2), cost=record(i, [], 100 * (i + 1)).cost) for i in range(20)]
    front = [
        replace(r, reports=tuple(report(k, 0.5 + 0.02 * i, SHARES) for k in range(2)))
        for i, r in enumerate(front)
    ]
    assert set(SHORTLIST.choose(front).go_on) == set(range(20))


def test_a_study_that_goes_on_with_more_trials(tmp_path: Path, straight: Study) -> None:
    table = Table()
    table.run(shortlist(tmp_path, n_trials=8))
    before = shortlist(tmp_path, n_trials=8)
    assert before.next_trial() is NoTrial.FINISHED
    more = shortlist(tmp_path)
    table.run(more)
    assert all(r.result is not None for r in more.records)
    assert outcome(more)[:8] == outcome(before)
    assert len(more.records) == N_TRIALS
    assert [r.spec for r in more.records] == [r.spec for r in straight.records]


@pytest.mark.parametrize("overhead", [0, 60], ids=["training", "and asking"])
def test_the_time_is_used_and_the_short_list_finished(tmp_path: Path, overhead: int) -> None:
    """A full training takes nine minutes here, so that thirteen fit into two hours.

    Asking for a trial may take as long as its first rung; it has no part in finishing the list.
    """

    class Timed(Table):
        def _train(self, source: Study, spec: TrialSpec) -> None:
            first = self.reached.get(spec.number, 0)
            super()._train(source, spec)
            done = [0.0, *SHARES]
            clock.time += FULL_SECONDS * (done[self.reached[spec.number]] - done[first])
            clock.time += 0 if first else overhead

    clock = Clock()
    source = shortlist(tmp_path, n_trials=100, max_seconds=7200, clock=clock)
    Timed().run(source)
    assert 0.95 * 7200 < clock.time <= 7200 + FULL_SECONDS
    assert 15 < len(source.records) < 60
    assert all(r.status.ended for r in source.records)
    assert sum(r.status is TrialStatus.COMPLETE for r in source.records) >= 10


class AnyTraining(dict[tuple[str, int], list[RungReport]]):
    """Curves of any configuration that is asked for."""

    def __contains__(self, _: object) -> bool:
        return True

    def __missing__(self, key: tuple[str, int]) -> list[RungReport]:
        score = 0.5 + int(key[0][:4], 16) / 2**18
        return [
            replace(report(rung, score, SHARES), seconds=share * FULL_SECONDS)
            for rung, share in enumerate(SHARES)
        ]


@pytest.mark.parametrize("workers", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_workers_share_the_time_for_the_short_list(tmp_path: Path, workers: int) -> None:
    runner = SimulatedRunner(AnyTraining(), workers=workers)
    limit = 25 * FULL_SECONDS / workers
    clock = cast(Clock, runner.clock)
    source = shortlist(tmp_path, n_trials=200, max_seconds=limit, clock=clock)
    runner.run(source)
    assert 0.8 * limit < runner.clock.seconds <= limit + FULL_SECONDS
    assert 40 < len(source.records) < 150
    assert all(r.status.ended for r in source.records)


def test_paused_trials_leave_workers_nothing_to_wait_for(tmp_path: Path) -> None:
    """With two workers, one waits at the end of a rung for the other."""
    source = shortlist(tmp_path, n_trials=2)
    one, two = source.next_trial(), source.next_trial()
    assert isinstance(one, TrialSpec)
    assert isinstance(two, TrialSpec)
    assert source.next_trial() is NoTrial.WAIT
    assert source.report(0, report(0, 0.6, SHARES)) is Decision.PAUSE
    assert source.next_trial() is NoTrial.WAIT
    source.finish(1, TrialResult(status=TrialStatus.LOST))
    assert source.next_trial() == one


def test_recorded_trainings_pause_too(tmp_path: Path, straight: Study) -> None:
    source = shortlist(tmp_path)
    curves = {
        (r.spec.configuration.digest, 0): [
            replace(report(rung, quality(r.number), SHARES), seconds=share * 90)
            for rung, share in enumerate(SHARES)
        ]
        for r in straight.records
    }
    runner = SimulatedRunner(curves, workers=3)
    runner.run(source)
    assert outcome(source) == outcome(straight)
    trained = full_trainings("shortlist", N_TRIALS, SHARES)[0]
    assert trained * 90 / 3 <= runner.clock.seconds <= trained * 90 / 2


def unfinished(records: Sequence[TrialRecord]) -> list[int]:
    return [r.number for r in records if r.result is None]


def test_a_trial_pauses_in_the_record_of_another_process(tmp_path: Path) -> None:
    source = shortlist(tmp_path, n_trials=2)
    source.next_trial()
    source.report(0, report(0, 0.6, SHARES))
    seen = shortlist(tmp_path, n_trials=2).records
    assert [r.status for r in seen] == [TrialStatus.PAUSED]
    assert unfinished(seen) == []
