"""What is kept of a point is what would be computed again."""

from collections.abc import Sequence
from itertools import islice

import numpy as np
import pytest

from autopeft.cost.candidates import CandidateSpace
from autopeft.methods.compose import complete, count_parameters
from autopeft.methods.registry import catalogue
from autopeft.study.strategies.candidate_domain import CandidateDomain
from autopeft.study.strategies.features import Features
from tests.contracts.test_strategies import candidates


@pytest.mark.parametrize("name", ["default", "autopeft-paper"])
def test_kept_is_what_would_be_computed_again(name: str) -> None:
    space = candidates(name)
    domain, features = CandidateDomain(space), Features(candidates(name))
    points = list(islice(domain.draw(0), 40))
    for point in [*points, *reversed(points)]:  # computed, then kept
        plain = complete(space.space.configuration(point, catalogue(), {}), space.spec)
        assert space.configuration(point) == plain
        assert space.adapter_params(point) == count_parameters(plain, space.spec)
        assert domain.key(point) == plain.digest
        assert np.array_equal(domain.row(point), features.row(point))
    assert len({domain.key(point) for point in points}) > 30


def test_points_in_another_order_are_the_same() -> None:
    space = candidates()
    domain = CandidateDomain(space)
    point = next(domain.draw(0))
    turned = dict(reversed(point.items()))
    assert domain.key(point) == domain.key(turned)
    assert np.array_equal(domain.row(point), domain.row(turned))


def largest(space: CandidateSpace, unit: Sequence[float], column: int) -> float:
    """Return what halving finds, if every place is looked at."""

    def keeps(place: float) -> bool:
        changed = [place if i == column else u for i, u in enumerate(unit)]
        return space.keeps_budget(space.space.decode(changed))

    if keeps(1.0):
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (middle, high) if keeps(middle) else (low, middle)
    return low


@pytest.mark.parametrize("name", ["default", "autopeft-paper"])
def test_sizes_are_those_of_a_search_that_looks_at_every_place(name: str) -> None:
    space = candidates(name)
    units = np.random.default_rng(0).random((30, space.space.dimension))
    found = []
    for unit in units.tolist():
        for column in space._sizes(space.space.decode(unit)):
            low = [0.0 if i == column else u for i, u in enumerate(unit)]
            assert space._largest_in_budget(low, column) == largest(space, low, column)
            found.append(largest(space, low, column))
    assert any(0.0 < place < 1.0 for place in found)
