import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from autopeft.study.signals import SIGNALS, correlation, mid_ranks, signal_ranks
from autopeft.trials.trial import RungReport
from tests.records import report

VALUES = st.lists(st.integers(-5, 5).map(float), min_size=2, max_size=30)


@given(VALUES)
def test_ranks_are_those_of_scipy(values: list[float]) -> None:
    assert mid_ranks(np.array(values)).tolist() == rankdata(values).tolist()


def test_what_is_no_number_is_worst() -> None:
    assert mid_ranks(np.array([3.0, math.nan, 4.0, math.inf])).tolist() == [3.0, 1.5, 4.0, 1.5]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=30))
def test_the_correlation_of_ranks_is_spearmans(pairs: list[tuple[int, int]]) -> None:
    one, other = (mid_ranks(np.array(side, dtype=float)) for side in zip(*pairs, strict=True))
    found = correlation(one, other, np.ones(len(pairs)))
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        assert found == 0.0
    else:
        assert found == pytest.approx(spearmanr(one, other)[0])


def test_a_weight_counts_as_so_many_trials() -> None:
    one, other = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 1.0, 4.0, 3.0])
    twice = [np.array([*v, v[0]]) for v in (one, other)]
    weighted = correlation(one, other, np.array([2.0, 1.0, 1.0, 1.0]))
    assert weighted == pytest.approx(correlation(*twice, np.ones(5)))


def test_each_signal_is_larger_for_the_better_trial() -> None:
    """In `report` the loss on the validation rows falls as the quality rises."""
    found = signal_ranks([[report(0, quality)] for quality in (0.6, 0.9, 0.7)], "accuracy")
    assert set(found) == set(SIGNALS)
    for name in ("blend", "quality", "eval_loss"):
        assert found[name].tolist() == [1.0, 3.0, 2.0]
    assert found["train_loss"].tolist() == [2.0, 2.0, 2.0]


Curves = list[tuple[tuple[float, float], ...]]


def curves_of(values: Curves) -> list[list[RungReport]]:
    """Return trials of which each rung shows a quality and a training loss."""
    return [
        [replace(report(rung, quality), train_loss=loss) for rung, (quality, loss) in enumerate(v)]
        for v in values
    ]


PLACES = st.tuples(*[st.tuples(st.integers(0, 9).map(lambda i: i / 10), st.integers(0, 9))] * 2)


@given(st.lists(PLACES, min_size=2, max_size=12))
def test_the_blend_is_of_all_rungs_and_the_others_of_the_last(values: Curves) -> None:
    curves = curves_of(values)
    found = signal_ranks(curves, "accuracy")
    last = signal_ranks([c[-1:] for c in curves], "accuracy")
    swapped = signal_ranks([c[::-1] for c in curves], "accuracy")
    assert {n: found[n].tolist() for n in SIGNALS[1:]} == {n: last[n].tolist() for n in SIGNALS[1:]}
    assert found["blend"].tolist() == swapped["blend"].tolist()
    again = signal_ranks([[c[-1], c[-1]] for c in curves], "accuracy")
    assert again["blend"].tolist() == last["blend"].tolist()


@given(st.lists(PLACES, min_size=2, max_size=12))
def test_the_blend_takes_losses_and_a_correlation(values: Curves) -> None:
    """The quality counts as much as both losses, of which one falls as it rises here."""
    curves = curves_of(values)
    named = [[replace(r, metrics={"pearson": r.metrics["accuracy"]}) for r in c] for c in curves]
    rungs = [signal_ranks([[c[k]] for c in named], "pearson") for k in range(2)]
    total = sum(2 * r["quality"] + r["train_loss"] + r["eval_loss"] for r in rungs)
    assert signal_ranks(named, "pearson")["blend"].tolist() == mid_ranks(np.array(total)).tolist()


@given(st.lists(PLACES, min_size=2, max_size=12))
def test_the_blend_takes_losses_but_no_accuracy(values: Curves) -> None:
    curves = curves_of(values)
    lucky = [[replace(r, metrics={"accuracy": -float(i)}) for r in c] for i, c in enumerate(curves)]
    found = [signal_ranks(c, "accuracy")["blend"].tolist() for c in (curves, lucky)]
    assert found[0] == found[1]


def test_where_nothing_is_validated_the_blend_is_the_training_loss() -> None:
    blind = [
        [replace(r, eval_loss=math.nan) for r in c]
        for c in curves_of([((0.5, 1.0),), ((0.9, 3.0),), ((0.1, 2.0),)])
    ]
    found = signal_ranks(blind, "accuracy")
    assert found["blend"].tolist() == found["train_loss"].tolist() == [3.0, 1.0, 2.0]


def test_an_earlier_rung_tells_what_the_last_does_not() -> None:
    """Two trials that the last rung shows alike."""
    alike = signal_ranks(
        curves_of([((0.5, 1.0), (0.6, 0.9)), ((0.7, 1.0), (0.6, 0.9))]), "accuracy"
    )
    assert alike["quality"].tolist() == [1.5, 1.5]
    assert alike["blend"].tolist() == [1.0, 2.0]
