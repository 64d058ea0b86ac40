"""A search ends when its model expects nothing more, and not before its model was asked."""

from dataclasses import replace

import pytest

from autopeft.study.convergence import IN_A_ROW, THRESHOLD, has_converged
from tests.records import record

LOW, HIGH = THRESHOLD / 2, THRESHOLD * 2


@pytest.mark.parametrize(
    ("gains", "converged"),
    [
        ([], False),
        ([None] * 9, False),
        ([LOW] * (IN_A_ROW - 1), False),
        ([None, *[LOW] * IN_A_ROW], True),
        ([HIGH, *[LOW] * IN_A_ROW], True),
        ([LOW, HIGH, *[LOW] * (IN_A_ROW - 1)], False),
        ([*[LOW] * IN_A_ROW, HIGH], False),
        ([LOW, None, *[LOW] * (IN_A_ROW - 1)], True),
    ],
)
def test_so_many_low_gains_in_a_row(gains: list[float | None], converged: bool) -> None:
    """Points of the start, and repeats, have no gain and do not count."""
    records = [
        replace(record(i, [0.5, 0.6], 100), notes={} if gain is None else {"gain": gain})
        for i, gain in enumerate(gains)
    ]
    assert has_converged(records) == converged
