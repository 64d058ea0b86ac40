import math

import numpy as np
import pytest
import torch
from botorch.utils.multi_objective.hypervolume import Hypervolume
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from autopeft.study.pareto import contributions, dominates, front, hypervolume, knee, ranks

GRID = st.integers(0, 8).map(lambda i: i / 8)


def points(m: int, most: int = 12) -> st.SearchStrategy[np.ndarray]:
    return st.integers(1, most).flatmap(lambda n: arrays(float, (n, m), elements=GRID))


ANY = st.sampled_from([2, 3]).flatmap(points)


@given(ANY)
def test_the_front_covers_all_and_no_member_dominates_another(values: np.ndarray) -> None:
    chosen = front(values)
    assert chosen
    for i in chosen:
        assert not any(dominates(values[j], values[i]) for j in range(len(values)))
    for i in range(len(values)):
        covered = any((values[j] <= values[i]).all() for j in chosen)
        assert covered
    assert len({tuple(values[i]) for i in chosen}) == len(chosen)


@given(ANY)
def test_ranks_peel_fronts(values: np.ndarray) -> None:
    found = ranks(values)
    assert set(front(values)) <= set(np.flatnonzero(found == 0))
    for i in np.flatnonzero(found > 0):
        above = np.flatnonzero(found == found[i] - 1)
        assert any(dominates(values[j], values[i]) for j in above)


@given(ANY)
def test_hypervolume_equals_botorchs(values: np.ndarray) -> None:
    reference = np.full(values.shape[1], 1.1)
    theirs = Hypervolume(torch.from_numpy(-reference)).compute(torch.from_numpy(-values))
    assert hypervolume(values, reference) == pytest.approx(theirs)


@given(points(2))
def test_hypervolume_equals_counted_cells(values: np.ndarray) -> None:
    """On a grid of eighths the volume is a number of cells."""
    cells = sum(
        any(p[0] <= x / 8 and p[1] <= y / 8 for p in values) for x in range(8) for y in range(8)
    )
    assert hypervolume(values, [1.0, 1.0]) == pytest.approx(cells / 64)


@given(ANY, st.randoms(use_true_random=False))
def test_hypervolume_ignores_order_and_dominated_points(values: np.ndarray, random: object) -> None:
    reference = [1.1] * values.shape[1]
    order = list(range(len(values)))
    random.shuffle(order)  # type: ignore[attr-defined]
    whole = hypervolume(values, reference)
    assert hypervolume(values[order], reference) == pytest.approx(whole)
    assert hypervolume(values[front(values)], reference) == pytest.approx(whole)
    assert hypervolume(values[:-1], reference) <= whole + 1e-12


def test_hypervolume_in_closed_form() -> None:
    assert hypervolume(np.array([[0.25, 0.5]]), [1.0, 1.0]) == 0.375
    assert hypervolume(np.array([[0.0, 0.5, 0.5]]), [1.0, 1.0, 1.0]) == 0.25
    assert hypervolume(np.array([[1.0, 0.0]]), [1.0, 1.0]) == 0.0
    assert hypervolume(np.empty((0, 2)), [1.0, 1.0]) == 0.0
    # (n points on x + y = 1 leave steps of 1 / n): 1/2 - 1 / (2 n)
    n = 10
    line = np.array([[i / n, 1 - (i + 1) / n] for i in range(n)])
    assert hypervolume(line, [1.0, 1.0]) == pytest.approx(0.5 + 1 / (2 * n))


@given(points(2))
def test_contributions_are_what_is_lost(values: np.ndarray) -> None:
    lost = contributions(values, [1.1, 1.1])
    assert (lost >= -1e-12).all()
    assert all(
        lost[i] == pytest.approx(0.0)
        for i in range(len(values))
        if i not in front(values) and not any((values[i] == values[j]).all() for j in front(values))
    )


def test_knee_is_the_best_compromise() -> None:
    values = np.array([[0.0, 1.0], [0.1, 0.3], [0.9, 0.1], [1.0, 0.0]])
    assert knee(values) == 1
    assert knee(values * [10, 0.01]) == 1  # scales do not matter
    assert knee(np.array([[3.0, 4.0]])) == 0
    assert math.isfinite(knee(np.array([[1.0, 1.0], [1.0, 1.0]])))
