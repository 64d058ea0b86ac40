import itertools

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
        ("every:9", 6, (5,)),
        ("top:2", 6, (4, 5)),
        ("top:1/3", 6, (4, 5)),
        ("1-3", 6, (1, 2, 3)),
        ("range:1-3", 6, (1, 2, 3)),
        ("range:4-4", 6, (4,)),
        ("mask:010011", 6, (1, 4, 5)),
        ("mask:1", 1, (0,)),
        ([3, 1, 1], 6, (1, 3)),
        ("last:20", 6, (0, 1, 2, 3, 4, 5)),
    ],
)
def test_resolve(selection: str | list[int], n_layers: int, expected: tuple[int, ...]) -> None:
    assert resolve(selection, n_layers) == expected


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("", "Cannot read the layers ''"),
        ("x", "Cannot read the layers 'x'"),
        ("last", "Cannot read the layers 'last'"),
        ("every:1/2", "Cannot read the layers 'every:1/2'"),
        ("top:1/0", "Cannot read the layers 'top:1/0'"),
        ("range:2", "Cannot read the layers 'range:2'"),
        ("mask:0121", "Cannot read the layers 'mask:0121'"),
        ("last:0", "The layers 'last:0' select nothing"),
        ("every:0", "The layers 'every:0' select nothing"),
        ("range:3-2", "The layers 'range:3-2' select nothing"),
        ("mask:000000", "The layers 'mask:000000' select nothing"),
        ([], r"The layers '\[\]' select nothing"),
        ("0-9", "Layer 6 does not exist: the model has layers 0 to 5"),
        ("range:8-9", "Layer 8 does not exist"),
        ([-1], "Layer -1 does not exist"),
        ([2, 6], "Layer 6 does not exist"),
        ("mask:0101", "'mask:0101' has 4 digits: it needs one for each of the model's 6 layers"),
        (["last"], "The layer 'last' is not a whole number"),
        ([1.5], "The layer 1.5 is not a whole number"),
        ([True], "The layer True is not a whole number"),
    ],
)
def test_what_is_no_selection_is_refused_in_a_sentence(
    selection: str | list[int], message: str
) -> None:
    with pytest.raises(SpaceError, match=message):
        resolve(selection, 6)


@given(st.lists(st.booleans(), min_size=1, max_size=40).filter(any))
def test_a_mask_is_the_layers_that_it_switches_on(switches: list[bool]) -> None:
    mask = "mask:" + "".join("1" if on else "0" for on in switches)
    expected = tuple(number for number, on in enumerate(switches) if on)
    assert resolve(mask, len(switches)) == expected
    assert resolve(list(expected), len(switches)) == expected


@given(st.integers(1, 60), st.integers(1, 40))
def test_every_kth_layer_is_k_apart_and_ends_with_the_last(k: int, n_layers: int) -> None:
    chosen = resolve(f"every:{k}", n_layers)
    assert chosen[-1] == n_layers - 1
    assert {b - a for a, b in itertools.pairwise(chosen)} <= {k}
    assert chosen[0] < k


@given(st.sampled_from(["first", "last", "top", "spread"]), st.integers(1, 40), st.integers(1, 40))
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
