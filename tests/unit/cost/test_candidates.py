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
LIMITS = (64, 1_000, 30_000)


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
    drawn = [space.at(rng.random(space.space.dimension)) for _ in range(100)]
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
    drawn = (space.at(rng.random(space.space.dimension)) for _ in range(100))
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


DENSITIES = """
schema_version: 1
name: dense
hyperparameters:
  method: {type: choice, choices: [lora, ia3]}
  targets: {type: choice, choices: [attn.kv]}
  density: {type: float, low: 0.1, high: 1.0, when: {method: [lora]}}
"""


def dense(more: str = "", limit: int = 2_000) -> CandidateSpace:
    text = DENSITIES + "".join(f"  {line}\n" for line in more.splitlines())
    space = space_of(text, SPEC.n_layers)
    return CandidateSpace(space, SPEC, ParamBudget(text=str(limit), limit=limit))


def test_a_density_is_a_size_that_is_scaled_into_the_budget() -> None:
    point = {"method": "lora", "targets": "attn.kv", "density": 1.0}
    assert dense(limit=2_048).fits(point)
    shrunk = dense(limit=1_000).shrunk(point)
    assert shrunk is not None
    assert dense().adapter_params(shrunk) == 1_000
    assert dense().adapter_params({**point, "density": 0.1}) == 205  # of 2 * 2 * 8 * 64


def test_a_mask_below_a_density_is_kept_and_set() -> None:
    mask = "mask: {type: choice, choices: [sensitivity], when: {method: [lora], density: [0.5]}}"
    space = dense(mask.replace("[0.5]", "[0.5, 0.25]"))
    point = {"method": "lora", "targets": "attn.kv", "density": 0.25, "mask": "sensitivity"}
    assert space.space.contains(point)
    assert space.configuration(point).components[0].param("mask") == "sensitivity"
    without = {name: value for name, value in point.items() if name != "mask"}
    other = space.configuration({**without, "density": 0.3}).components[0]
    assert other.param("mask") == "magnitude"
    assert "mask" not in dict(space.configuration({**without, "density": 1.0}).components[0].params)
    below_density_alone = dense(mask.replace("method: [lora], ", ""))
    for either in (space, below_density_alone):
        names = [h.name for h in either.space.restricted_to(["ia3"]).hyperparameters]
        assert names == ["method", "targets"]


def test_the_smallest_point_has_the_smallest_density_below_a_mask() -> None:
    text = DENSITIES.replace(
        "  density:",
        "  mask: {type: choice, choices: [magnitude], when: {method: [lora]}}\n  density:",
    )
    text = text.replace("high: 1.0, when: {method: [lora]}", "high: 1.0, when: {mask: [magnitude]}")
    text = text.replace("[lora, ia3]", "[lora]")
    candidates = CandidateSpace(
        space_of(text, SPEC.n_layers), SPEC, ParamBudget(text="300", limit=300)
    )
    assert candidates.adapter_params(candidates.smallest()) == 205


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "mask_start: {type: float, low: 0.0, high: 0.9, when: {method: [lora]}}",
            "'mask_start' of lora can be 0.9 and 'mask_end' 0.7: pruning must start before",
        ),
        (
            "mask_end: {type: choice, choices: [0.5, 0.05], when: {method: [lora]}}",
            "'mask_start' of lora can be 0.1 and 'mask_end' 0.05",
        ),
        (
            "rank: {type: int, low: 1, high: 999, when: {method: [lora]}}",
            "line 8, .*'rank' of lora cannot be 999; it must be 1 to 256",
        ),
        (
            "mask: {type: choice, choices: [magnitude, random], when: {method: [lora]}}",
            "'mask' of lora cannot be 'random'; it must be magnitude, sensitivity",
        ),
    ],
)
def test_values_that_no_method_takes_are_found_before_a_trial(more: str, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        dense(more)


def test_components_that_do_not_go_together_are_never_proposed() -> None:
    text = """
schema_version: 1
name: two
components: [lora, loha]
hyperparameters:
  lora_targets: {sets: lora.targets, type: choice, choices: [attn.qv]}
  loha_targets: {sets: loha.targets, type: choice, choices: [attn.qv, mlp]}
"""
    budget = ParamBudget(text="100k", limit=100_000)
    both = CandidateSpace(space_of(text, SPEC.n_layers), SPEC, budget)
    together = {"lora_targets": "attn.qv", "loha_targets": "attn.qv"}
    assert not both.fits(together)
    assert both.fits({**together, "loha_targets": "mlp"})
    with pytest.raises(SpaceError, match=r"No point .* goes on this model.* both change"):
        CandidateSpace(space_of(text.replace(", mlp", ""), SPEC.n_layers), SPEC, budget)


def test_trained_tokens_need_room_beside_the_input() -> None:
    budget = ParamBudget(text="100k", limit=100_000)
    longest = SPEC.max_length
    assert longest is not None
    tight = CandidateSpace(space_of("adapters"), SPEC, budget, input_length=longest - 4)
    lengths = set()
    for u in np.random.default_rng(0).random((400, tight.space.dimension)):
        point = tight.at([float(x) for x in u])
        if point is not None and point["method"] == "prompt_tuning":
            lengths.add(point["prompt_tuning_length"])
    assert lengths == {1, 2, 3, 4}
    full = CandidateSpace(space_of("adapters"), SPEC, budget, input_length=longest)
    assert set(full.refused) == {"prompt_tuning", "p_tuning"}
    assert "leaves no room" in full.refused["p_tuning"]
