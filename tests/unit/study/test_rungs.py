import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autopeft.errors import UnknownNameError
from autopeft.study.rungs import (
    FIDELITIES,
    LEAST_KEPT,
    LEAST_STEPS,
    bracket,
    full_trainings,
    kept_of,
    rung_shares,
)

STEPS = 60


def full(fidelity: str, n_trials: int) -> tuple[float, float]:
    """Return what a search over short trainings costs."""
    return full_trainings(fidelity, n_trials, rung_shares(fidelity, STEPS))


def test_shares() -> None:
    three = pytest.approx((1 / 9, 1 / 3, 1))
    assert rung_shares("none", STEPS) == (1.0,)
    assert rung_shares("asha", STEPS) == pytest.approx((1 / 3, 1.0))
    assert rung_shares("hyperband", STEPS) == rung_shares("shortlist", STEPS) == three
    with pytest.raises(UnknownNameError, match="Unknown fidelity 'fast'"):
        rung_shares("fast", STEPS)


@pytest.mark.parametrize(("fidelity", "parts"), [("asha", (9, 27)), ("shortlist", (27,))])
def test_trainings_are_looked_at_earlier_where_that_is_late_enough(
    fidelity: str, parts: tuple[int, ...]
) -> None:
    shares = rung_shares(fidelity, STEPS)
    for part in parts:
        enough = part * LEAST_STEPS
        assert rung_shares(fidelity, enough - 1) == shares
        shares = rung_shares(fidelity, enough)
        assert shares[0] == pytest.approx(1 / part)
    assert shares == pytest.approx((1 / 27, 1 / 9, 1 / 3, 1.0))
    assert rung_shares(fidelity, 10**6) == shares


@pytest.mark.parametrize("fidelity", ["hyperband", "none"])
def test_other_fidelities_have_the_same_rungs_for_all_trainings(fidelity: str) -> None:
    assert rung_shares(fidelity, 10**6) == rung_shares(fidelity, STEPS)


def test_costs_by_hand() -> None:
    assert full("none", 40) == (40.0, 40.0)
    assert full("asha", 9) == pytest.approx((9 * (1 / 3 + 2 / 9), 9.0))
    assert full_trainings("asha", 9, (1 / 9, 1 / 3, 1))[0] == pytest.approx(
        9 / 9 + 3 * 2 / 9 + 2 / 3
    )
    # 81 at 1/9, 17 of them to 1/3, 10 of those to the end; 200, 40 and 20.
    expected = 81 / 9 + 17 * 2 / 9 + 10 * 2 / 3
    assert full("shortlist", 200)[0] == pytest.approx(200 / 9 + 40 * 2 / 9 + 20 * 2 / 3)
    assert full("shortlist", 81) == pytest.approx((expected, expected))
    # 81 at 1/27, a third of them to 1/9, 10 to 1/3 and to the end.
    four = rung_shares("shortlist", 5000)
    expected = 81 / 27 + 27 * 2 / 27 + 10 * 2 / 9 + 10 * 2 / 3
    assert full_trainings("shortlist", 81, four) == pytest.approx((expected, expected))
    # Brackets of 9, 5 and 3 trials: to 1/9, 1/3 and 1 go 9, 3, 1, then 5, 5, 5/3, then 3, 3, 3.
    units = (9 + 3 * 2 + 1 * 6) + (5 + 5 * 2 + 5 / 3 * 6) + (3 * 9)
    assert full("hyperband", 17)[0] == pytest.approx(units / 9)


@given(st.sampled_from(FIDELITIES), st.integers(1, 500), st.sampled_from([STEPS, 5000]))
def test_costs_are_between_the_first_rung_and_all_to_the_end(
    fidelity: str, n_trials: int, steps: int
) -> None:
    shares = rung_shares(fidelity, steps)
    least, most = full_trainings(fidelity, n_trials, shares)
    assert n_trials * shares[0] <= least + 1e-9
    assert least <= most + 1e-9 <= n_trials + 1e-6
    assert full_trainings(fidelity, n_trials + 1, shares)[0] > least


@given(st.integers(1, 500), st.sampled_from([(0, 3, 5), (1, 3, 2), (0, 4, 3), (2, 4, 2)]))
def test_a_short_list_is_neither_empty_nor_longer_than_the_trials(
    n_trials: int, rung_of_and_part: tuple[int, int, int]
) -> None:
    rung, n_rungs, part = rung_of_and_part
    kept = kept_of(n_trials, rung, n_rungs)
    assert kept == max(min(n_trials, LEAST_KEPT), math.ceil(n_trials / part)) <= n_trials
    assert kept <= kept_of(n_trials + 1, rung, n_rungs) <= kept + 1


@given(st.integers(0, 10_000))
def test_brackets_take_turns_evenly(start: int) -> None:
    found = [bracket(number) for number in range(start, start + 170)]
    for index, expected in enumerate((90, 50, 30)):
        assert abs(found.count(index) - expected) <= 3
