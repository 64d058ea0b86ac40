from dataclasses import replace

import numpy as np
import pytest

from autopeft.cost.candidates import CandidateSpace
from autopeft.study.strategies.drawing import untried_sobol
from autopeft.study.strategies.meaning import Meaning, SharedColumns, meaning
from tests.unit.study.test_warm_points import candidates


def meanings(space: CandidateSpace, n: int) -> list[Meaning]:
    found = []
    points = untried_sobol(space, 0, set())
    for _ in range(n):
        point = next(points)
        count = space.adapter_params(point) or 0
        shape = space.spec.n_layers, space.spec.base_params
        found.append(meaning(space.configuration(point), count, *shape))
    return found


def test_a_configuration_means_the_same_in_every_space() -> None:
    """Budget and space decide which points there are, not what they mean."""
    wide, narrow = candidates("default", 30_000), candidates("default", 3_000)
    for point in (next(untried_sobol(narrow, seed, set())) for seed in range(5)):
        one, other = (
            meaning(space.configuration(point), space.adapter_params(point) or 0, 2, 10**6)
            for space in (wide, narrow)
        )
        assert one == other


def test_rows_lie_in_the_unit_cube_and_agree_for_equal_points() -> None:
    known = meanings(candidates("default", 3_000), 30)
    columns = SharedColumns(known)
    rows = np.stack([columns.row(one) for one in known])
    assert rows.min() == 0.0
    assert rows.max() == 1.0
    assert (rows.std(axis=0) > 0).all()  # a column in which all agree says nothing
    wider = np.stack([columns.row(one) for one in meanings(candidates("default", 30_000), 30)])
    assert wider.min() >= 0.0
    assert wider.max() <= 1.0


@pytest.mark.parametrize(
    ("changes", "known"),
    [
        ({}, True),
        ({"flags": frozenset({"vera"})}, False),
        ({"flags": frozenset({"lora", "lora.variant=dora"})}, False),
        ({"kinds": frozenset({"attn.q", "mlp.gate"})}, True),
        ({"kinds": frozenset({"mlp.up", "mlp.gate"})}, False),
    ],
)
def test_a_study_knows_what_it_tried(changes: dict, known: bool) -> None:
    one = Meaning(
        flags=frozenset({"lora"}), kinds=frozenset({"attn.q", "attn.v"}), numbers={"x": 1.0}
    )
    columns = SharedColumns([one, replace(one, numbers={"x": 2.0})])
    assert columns.knows(replace(one, **changes)) == known
