import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autopeft.cost.budget import ParamBudget
from autopeft.cost.candidates import CandidateSpace
from autopeft.errors import BudgetError, SpaceError
from autopeft.models.spec import inspect_model
from autopeft.space.hyperparameter import Assignment
from autopeft.space.schema import shipped_spaces
from tests.spaces import space_of
from tests.tiny import build

SPEC = inspect_model(build("bert", "meta"))
SHIPPED = {name: path.read_text() for name, path in shipped_spaces().items()}
#: From what only the smallest configurations meet to what nearly all do.
LIMITS = (64, 200, 1_000, 5_000, 30_000)


def candidates(name: str, limit: int) -> CandidateSpace:
    budget = ParamBudget(text=str(limit), limit=limit)
    return CandidateSpace(space_of(name, SPEC.n_layers), SPEC, budget)


SPACES = {
    (name, limit): candidates(name, limit)
    for name in SHIPPED
    for limit in LIMITS
    if name != "lora" or limit > 64  # LoRA of rank 1 on one matrix has 64
}


def changes(space: CandidateSpace, point: Assignment) -> bool:
    """Tell whether a point trains an adapter; in a composite all components may be off."""
    count = space.adapter_params(point)
    empty = not space.configuration(point).components
    return count == 0 if empty else (count or 0) > 0


@pytest.mark.parametrize("key", SPACES, ids=str)
@given(data=st.data())
def test_no_point_that_leaves_exceeds_the_budget(key: tuple[str, int], data: st.DataObject) -> None:
    space = SPACES[key]
    n = space.space.dimension
    unit = data.draw(st.lists(st.floats(0, 1), min_size=n, max_size=n))
    points = [space.at(unit), space.shrunk(space.space.decode(unit))]
    for point in points:
        if point is None:
            continue
        assert space.space.contains(point)
        assert changes(space, point)
        assert (space.adapter_params(point) or 0) <= space.budget.limit
        for neighbour in space.neighbours(point, np.random.default_rng(0)):
            assert space.space.contains(neighbour)
            assert changes(space, neighbour)
            assert (space.adapter_params(neighbour) or 0) <= space.budget.limit


@pytest.mark.parametrize("key", SPACES, ids=str)
def test_smallest_and_largest_are_extreme(key: tuple[str, int]) -> None:
    space = SPACES[key]
    small, large = space.adapter_params(space.smallest()), space.adapter_params(space.largest())
    rng = np.random.default_rng(0)
    drawn = [space.at(rng.random(space.space.dimension)) for _ in range(200)]
    counts = [space.adapter_params(p) or 0 for p in drawn if p is not None]
    assert counts
    assert small == min([small or 0, *counts])
    if space.space.components:  # greedy
        assert 2 * (large or 0) >= max(counts)
    else:
        assert large == max([large or 0, *counts])


def test_sizes_spread_over_what_fits() -> None:
    """Under a tight budget, ranks do not pile up at the largest one that fits."""
    space = candidates("lora", 2_000)
    rng = np.random.default_rng(0)
    drawn = (space.at(rng.random(space.space.dimension)) for _ in range(200))
    ranks = [int(p["rank"]) for p in drawn if p is not None]
    assert min(ranks) == 1
    assert max(ranks) > 8
    assert sum(r == max(ranks) for r in ranks) < 0.5 * len(ranks)


def test_a_point_that_fits_is_not_shrunk() -> None:
    space = candidates("default", 5_000)
    point = space.smallest()
    assert space.shrunk(point) == point


def test_nothing_fits() -> None:
    with pytest.raises(BudgetError, match=r"fits 10 parameters \(10\).*ia3, has 64 "):
        candidates("default", 10)


def test_a_model_that_takes_no_method() -> None:
    text = """
schema_version: 1
name: sparse
hyperparameters:
  method: {type: choice, choices: [shira]}
  density: {type: float, low: 0.01, high: 0.1}
  targets: {type: choice, choices: [attn]}
"""
    spec = inspect_model(build("gpt2", "meta"))
    budget = ParamBudget(text="1%", limit=1000)
    with pytest.raises(SpaceError, match="takes no method of the space 'sparse'"):
        CandidateSpace(space_of(text, 2), spec, budget)


def test_refused_methods_are_left_out_with_the_reason() -> None:
    spec = inspect_model(build("gpt2", "meta"))
    budget = ParamBudget(text="10k", limit=10_000)
    space = CandidateSpace(space_of("default", 2), spec, budget)
    assert set(space.refused) == {"bitfit", "shira"}
    assert "Conv1D" in space.refused["shira"]
    assert {"bitfit", "shira"}.isdisjoint(space.space.methods)


def test_unknown_methods_are_named() -> None:
    text = SHIPPED["lora"].replace("choices: [lora]", "choices: [lorra]")
    with pytest.raises(SpaceError, match=r"line 7, .*did you mean .*lora"):
        space_of(text)
