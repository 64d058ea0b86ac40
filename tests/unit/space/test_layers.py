import pytest
from hypothesis import given
from hypothesis import strategies as st

from autopeft.errors import SpaceError
from autopeft.space.layers import describe, resolve


@pytest.mark.parametrize(
    ("selection", "n_layers", "expected"),
    [
        ("all", 4, (0, 1, 2, 3)),
        ("last:1", 6, (5,)),
        ("last:1/2", 6, (3, 4, 5)),
        ("last:1/4", 6, (4, 5)),  # rounded up
        ("first:1/3", 6, (0, 1)),
        ("every:2", 6, (1, 3, 5)),
        ("every:2", 5, (0, 2, 4)),
        ("spread:3", 12, (3, 7, 11)),
        ("1-3", 6, (1, 2, 3)),
        ([3, 1, 1], 6, (1, 3)),
        ("last:20", 6, (0, 1, 2, 3, 4, 5)),
    ],
)
def test_resolve(selection: str | list[int], n_layers: int, expected: tuple[int, ...]) -> None:
    assert resolve(selection, n_layers) == expected


@pytest.mark.parametrize(
    "selection", ["", "last", "last:0", "every:1/2", "0-9", [], [-1], [6], "x"]
)
def test_what_selects_nothing_is_refused(selection: str | list[int]) -> None:
    with pytest.raises(SpaceError, match=r"[Ll]ayer"):
        resolve(selection, 6)


@given(st.sampled_from(["first", "last", "spread"]), st.integers(1, 40), st.integers(1, 40))
def test_counts_give_that_many_layers(what: str, count: int, n_layers: int) -> None:
    chosen = resolve(f"{what}:{count}", n_layers)
    assert len(chosen) == min(count, n_layers)
    assert list(chosen) == sorted(set(chosen))
    assert set(chosen) <= set(range(n_layers))
    if what != "first":
        assert chosen[-1] == n_layers - 1


def test_describe_names_common_cases() -> None:
    assert describe(range(6), 6) == "all"
    assert describe((4, 5), 6) == "last 2"
    assert describe((0, 3), 6) == "0,3"
