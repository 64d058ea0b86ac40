from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from autopeft.study.evidence import ASSUMED, LEAST_CORRELATION, RungEvidence, rung_evidence
from autopeft.study.signals import SIGNALS
from autopeft.trials.trial import TrialRecord, TrialResult, TrialStatus
from tests.records import record
from tests.unit.study.test_fidelity import COMPARISON


def evidence(records: Sequence[TrialRecord]) -> RungEvidence:
    return rung_evidence(records, 0, COMPARISON)


def trial(number: int, train_loss: float, quality: float, end: float, params: int) -> TrialRecord:
    """Return a complete trial whose rung shows a loss and a quality that may disagree."""
    whole = record(number, [quality, end], params)
    first = replace(whole.reports[0], train_loss=train_loss)
    return replace(whole, reports=(first, whole.reports[1]))


def test_before_anything_is_measured_a_signal_is_assumed() -> None:
    found = evidence([record(0, [0.5], 100, None)])
    assert (found.n_trials, found.measured) == (0, {})
    assert found.expected == ASSUMED
    assert found.signal == "blend"
    assert found.trusted


def test_the_signal_that_ranks_like_the_end_is_chosen() -> None:
    random = np.random.default_rng(0)
    end = random.random(30)
    noise = random.random(30)
    by_loss = [trial(i, -end[i], noise[i], end[i], 100) for i in range(30)]
    by_quality = [trial(i, -noise[i], end[i], end[i], 100) for i in range(30)]
    assert evidence(by_loss).signal == "train_loss"
    assert evidence(by_loss).measured["train_loss"] > 0.99
    assert evidence(by_quality).signal in {"quality", "eval_loss"}


def test_stopping_goes_off_where_nothing_ranks_like_the_end_and_on_again() -> None:
    random = np.random.default_rng(1)
    end, noise = random.random(80), random.random((80, 2))
    blind = [trial(i, noise[i, 0], noise[i, 1], end[i], 100 + i) for i in range(30)]
    off = evidence(blind)
    assert not off.trusted
    assert max(off.expected.values()) < LEAST_CORRELATION
    telling = [trial(i, -end[i], noise[i, 1], end[i], 100 + i) for i in range(30, 80)]
    assert evidence([*blind, *telling]).trusted


def test_a_few_trials_that_tell_nothing_do_not_turn_it_off() -> None:
    ends = (0.6, 0.8, 0.7, 0.9, 0.5)
    few = [trial(i, 0.5, 0.6, ends[i], 100) for i in range(5)]
    assert set(evidence(few).measured.values()) == {0.0}
    assert evidence(few).trusted


@given(st.permutations(range(12)))
def test_the_order_of_the_records_does_not_matter(order: list[int]) -> None:
    random = np.random.default_rng(2)
    values = random.random((12, 3))
    trials = [trial(i, *values[i], 100 * (1 + i % 4)) for i in range(12)]
    straight, shuffled = evidence(trials), evidence([trials[i] for i in order])
    assert straight.signal == shuffled.signal
    for name in SIGNALS:
        assert abs(straight.expected[name] - shuffled.expected[name]) < 1e-9


def test_what_was_stopped_counts_like_what_it_resembles() -> None:
    """Three twins of each weak trial: whether two of them were stopped makes no difference."""
    random = np.random.default_rng(3)
    good = [trial(i, *random.random(3), 100) for i in range(10)]
    shift = np.array([1, -1, -1])
    weak = [trial(i, *(random.random(3) + shift), 5000) for i in range(6)]
    twins = [replace(r) for r in weak for _ in range(2)]
    stopped = [
        replace(r, reports=r.reports[:1], result=TrialResult(status=TrialStatus.STOPPED))
        for r in twins
    ]
    truth, found = evidence([*good, *weak, *twins]), evidence([*good, *weak, *stopped])
    assert found.n_trials == 16
    for name in SIGNALS:
        assert abs(found.measured[name] - truth.measured[name]) < 1e-9
    assert evidence([*good, *weak]).measured["blend"] != truth.measured["blend"]


def test_trials_that_were_all_chosen_measure_nothing() -> None:
    """Of those that the rung puts last none has ended: nobody knows what became of them."""
    good = [trial(i, 0.1, 0.8 + 0.01 * i, 0.8 + 0.01 * i, 100) for i in range(6)]
    stopped = [record(i, [0.5], 5000, TrialStatus.STOPPED) for i in range(6, 18)]
    assert evidence([*good, *stopped]).measured == {}
