"""The arithmetic of sparsity budgets, and the mask on parameters made for it."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from autopeft.methods.density import MaskSettings, apportion, share_to_prune
from autopeft.methods.mask import Mask

shares = st.floats(0, 1)


@given(a=shares, b=shares, first=shares, second=shares)
def test_the_schedule_falls_and_hits_its_ends(
    a: float, b: float, first: float, second: float
) -> None:
    start, end = sorted((a, b))
    early, late = sorted((first, second))
    assert 1 >= share_to_prune(early, start, end) >= share_to_prune(late, start, end) >= 0
    assert share_to_prune(end, start, end) == 0
    assert share_to_prune(1.0, start, end) == 0
    if start < end:
        assert share_to_prune(start, start, end) == 1


@pytest.mark.parametrize(("progress", "share"), [(0.3, 1.0), (0.4, 0.125), (0.5, 0.0)])
def test_the_schedule_is_cubic(progress: float, share: float) -> None:
    assert share_to_prune(progress, 0.3, 0.5) == pytest.approx(share)


@given(st.data())
def test_tensors_share_the_budget(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 400), min_size=1, max_size=12))
    total = data.draw(st.integers(0, sum(sizes)))
    left = apportion(total, sizes)
    assert sum(left) == total
    assert all(0 <= n <= size for n, size in zip(left, sizes, strict=True))
    if total >= len(sizes):
        assert min(left) >= 1
        spare, entries = total - len(sizes), max(1, sum(sizes) - len(sizes))
        exact = [1 + Fraction(spare * (size - 1), entries) for size in sizes]
        assert all(abs(n - share) < 1 for n, share in zip(left, exact, strict=True))


def test_equal_tensors_share_alike_and_the_earlier_comes_first() -> None:
    assert apportion(7, [10, 10, 10]) == [3, 2, 2]
    assert apportion(2, [5, 9, 9]) == [0, 1, 1]
    assert apportion(0, [5, 9]) == [0, 0]


@pytest.mark.parametrize(
    ("density", "n", "left"), [(0.5, 5, 2), (0.5, 7, 4), (0.01, 10, 1), (0.3, 100, 30)]
)
def test_the_budget_is_rounded_to_the_nearest_halves_to_even(
    density: float, n: int, left: int
) -> None:
    assert settings(density).n_left(n) == left


def settings(density: float, criterion: str = "magnitude", at: float = 0.0) -> MaskSettings:
    """Return a mask that prunes all at once."""
    return MaskSettings(density=density, criterion=criterion, start=at, end=at)


def test_of_equal_entries_the_first_are_left() -> None:
    parameter = nn.Parameter(torch.ones(3, 4))
    Mask({"w": parameter}, settings(0.5), total_steps=1).after_optimizer_step(1)
    assert parameter.flatten().tolist() == [1.0] * 6 + [0.0] * 6


def test_magnitude_and_sensitivity_rank_as_they_say() -> None:
    values, gradient = torch.tensor([4.0, -3.0, 2.0, -1.0]), torch.tensor([0.1, 0.1, 9.0, -8.0])
    left = {}
    for criterion in ("magnitude", "sensitivity"):
        parameter = nn.Parameter(values.clone())
        parameter.grad = gradient.clone()
        mask = Mask({"w": parameter}, settings(0.5, criterion), total_steps=1)
        mask.after_optimizer_step(1)
        left[criterion] = parameter.tolist()
    assert left == {"magnitude": [4, -3, 0, 0], "sensitivity": [0, 0, 2, -1]}


def test_the_sensitivity_remembers() -> None:
    """One step with a large gradient does not outweigh many with a middling one."""
    parameter = nn.Parameter(torch.ones(2))
    mask = Mask({"w": parameter}, settings(0.5, "sensitivity", at=1.0), total_steps=10)
    for step in range(1, 11):
        parameter.grad = torch.tensor([1.0, 2.0 if step == 10 else 0.0])
        mask.after_optimizer_step(step)
    assert parameter.tolist() == [1.0, 0.0]


def test_what_is_pruned_takes_no_place_from_what_has_become_zero() -> None:
    parameter = nn.Parameter(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    schedule = MaskSettings(density=0.5, criterion="magnitude", start=0.0, end=1.0)
    mask = Mask({"w": parameter}, schedule, total_steps=10)
    mask.after_optimizer_step(2)  # 2 + int(2 * 0.8^3) are left
    assert parameter.tolist() == [0.0, 2.0, 3.0, 4.0]
    parameter.data.zero_()
    mask.after_optimizer_step(10)
    assert mask.state()["pruned/w"].tolist() == [True, False, False, True]


def test_each_tensor_keeps_its_part_however_small_its_values() -> None:
    large, small = nn.Parameter(torch.rand(8, 8) + 10), nn.Parameter(1e-6 * torch.rand(8, 8))
    Mask({"A": large, "B": small}, settings(0.25), total_steps=1).after_optimizer_step(1)
    assert int(torch.count_nonzero(large)) == int(torch.count_nonzero(small)) == 16
