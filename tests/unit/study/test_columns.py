"""Points and rows: places, steps and what is near."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from autopeft.study.strategies.columns import Columns

SPACE: dict[str, BaseDistribution] = {
    "rate": FloatDistribution(1e-5, 1e-1, log=True),
    "share": FloatDistribution(0.0, 1.0, step=0.25),
    "rank": IntDistribution(1, 64, log=True),
    "even": IntDistribution(-4, 4, step=2),
    "kind": CategoricalDistribution(["a", "b", None]),
}


def contained(point: dict[str, Any]) -> bool:
    return set(point) == set(SPACE) and all(
        domain._contains(domain.to_internal_repr(point[name])) for name, domain in SPACE.items()
    )


@given(st.integers(0, 2**31 - 1))
def test_whatever_comes_out_is_a_point(seed: int) -> None:
    columns, rng = Columns(SPACE), np.random.default_rng(seed)
    point = next(columns.draw(seed))
    near = [*columns.neighbours(point, rng), columns.nearby(point, rng, 0.3)]
    for found in (point, *near):
        assert contained(found)
        row = columns.row(found)
        assert row.shape == (7,)
        assert ((row >= 0) & (row <= 1)).all()
    for neighbour in near[:-1]:
        assert sum(neighbour[name] != point[name] for name in SPACE) == 1


@given(st.integers(0, 2**31 - 1))
def test_a_row_gives_its_numbers_back(seed: int) -> None:
    columns = Columns(SPACE)
    point = next(columns.draw(seed))
    moved = columns.moved(point, columns.row(point))
    assert moved.pop("rate") == pytest.approx(point.pop("rate"))
    assert moved == point


def test_all_values_are_drawn_as_often() -> None:
    columns = Columns(SPACE)
    drawn = columns.draw(0)
    points = [next(drawn) for _ in range(4096)]
    for name, n in {"share": 5, "even": 5, "kind": 3}.items():
        counts = np.unique([str(point[name]) for point in points], return_counts=True)[1]
        assert len(counts) == n
        assert counts.min() > 0.9 * len(points) / n


def test_numbers_alone_may_move() -> None:
    columns = Columns(SPACE)
    point = {"rate": 1e-3, "share": 0.5, "rank": 8, "even": 0, "kind": "b"}
    assert columns.row(point).tolist() == pytest.approx([0.5, 0.5, 0.57, 0.5, 0, 1, 0], abs=0.01)
    assert columns.fixed(point) == [4, 5, 6]


@pytest.mark.parametrize("high", [10**17, 10**18 - 1, 2**63 - 1])
def test_the_upper_end_of_a_long_range_is_in_it(high: int) -> None:
    """Where a float has fewer digits than the end, a point beside the range would be refused."""
    domain = IntDistribution(0, high)
    top = Columns({"n": domain}).moved({"n": 0}, np.ones(1))["n"]
    assert isinstance(top, int)
    assert domain._contains(domain.to_internal_repr(top))
    assert 0 <= high - top < 1e-9 * high
