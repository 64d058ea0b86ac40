import itertools
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from autopeft.cost.budget import ParamBudget
from autopeft.cost.candidates import CandidateSpace
from autopeft.cost.cost import CostModel
from autopeft.cost.memory_limit import MemoryLimit, _raised, halvings
from autopeft.cost.options import StepOptions
from autopeft.errors import BudgetError
from autopeft.methods.compose import complete, conflict, obstacle, read_configuration
from autopeft.methods.registry import get_method, method_names
from autopeft.models.spec import inspect_model
from autopeft.space.configuration import Component, Configuration, TrainingParams
from autopeft.space.targets import expand
from tests.spaces import space_of
from tests.tiny import build

BUILD = partial(build, "bert", "meta")
SPEC = inspect_model(BUILD())
COSTS = CostModel(SPEC, BUILD, 16)
BATCH = 16


def limit_of(size: int) -> MemoryLimit:
    return MemoryLimit(text=f"{size} bytes", limit=size, costs=COSTS)


def candidates(name: str, limit: MemoryLimit | None) -> CandidateSpace:
    budget = ParamBudget(text="8k", limit=8_000)
    space = space_of(name, SPEC.n_layers)
    return CandidateSpace(space, SPEC, budget, {"batch_size": BATCH}, 16, limit)


def predicted(configuration: Configuration, rows: int) -> int:
    training = replace(configuration.training, micro_batch_size=rows)
    return COSTS.memory(replace(configuration, training=training)).total


def in_between(share: float) -> MemoryLimit:
    """Return a limit between what the head alone takes and what all LoRA takes at full batch."""
    head = read_configuration({"components": []}, SPEC)
    lora = read_configuration({"method": "lora", "targets": "linear"}, SPEC)
    low, high = predicted(head, 1), predicted(lora, BATCH)
    return limit_of(int(low + share * (high - low)))


#: From where one example hardly fits to where most batches fit whole.
SPACES = {
    (name, share): candidates(name, in_between(share))
    for name, share in (
        *(("default", share) for share in (0.04, 0.2, 0.8)),
        *(("autopeft-paper", 0.04), ("adapters", 0.2)),
    )
}


@pytest.mark.parametrize("key", SPACES, ids=str)
@hypothesis_settings(max_examples=4)
@given(data=st.data())
def test_whatever_leaves_fits_with_the_largest_micro_batch(
    key: tuple[str, float], data: st.DataObject
) -> None:
    space = SPACES[key]
    memory = space.memory
    assert memory is not None
    n = space.space.dimension
    unit = data.draw(st.lists(st.floats(0, 1), min_size=n, max_size=n))
    points = [space.at(unit), space.shrunk(space.space.decode(unit)), space.smallest()]
    for point in points:
        if point is None:
            continue
        made = space.trained(point)
        assert made is not None
        rows = made.training.rows_at_once
        assert predicted(made, rows) <= memory.limit
        larger = [r for r in halvings(BATCH) if r > rows]
        assert all(predicted(made, r) > memory.limit for r in larger)
        assert (made.training.micro_batch_size is None) == (rows == BATCH)
        assert made.digest == space.configuration(point).digest


def test_texts_to_write_go_through_the_model_in_parts() -> None:
    """There the loss, which grows with the vocabulary, is most of what a limit has to hold."""
    bare = partial(build, "llama", "meta", "language_modeling")
    spec = inspect_model(bare())
    costs = CostModel(spec, bare, 16)
    lora = read_configuration({"method": "lora"}, spec)
    training = replace(lora.training, batch_size=1)
    size = 2 * costs.memory(replace(lora, components=(), training=training)).total
    limit = MemoryLimit(text="a bit", limit=size, costs=costs)
    budget = ParamBudget(text="8k", limit=8_000)
    default = space_of("default", spec.n_layers)
    space = CandidateSpace(default, spec, budget, {"batch_size": BATCH}, 16, limit)
    units = np.random.default_rng(0).random((3, default.dimension)).tolist()
    made = [space.trained(point) for unit in units if (point := space.at(unit)) is not None]
    assert made
    for configuration in made:
        assert configuration is not None
        assert costs.memory(configuration).total <= size
        assert configuration.training.rows_at_once < BATCH
        twice = replace(
            configuration.training, micro_batch_size=2 * configuration.training.rows_at_once
        )
        assert costs.memory(replace(configuration, training=twice)).total > size


def test_limits_split_batches_and_shut_points_out() -> None:
    """Otherwise the property above would say nothing."""
    free, tight = candidates("default", None), SPACES["default", 0.04]
    units = np.random.default_rng(0).random((12, free.space.dimension)).tolist()
    points = [tight.at(unit) for unit in units]
    assert points.count(None) > [free.at(unit) for unit in units].count(None)
    rows = set()
    for space in (tight, SPACES["default", 0.8]):
        made = [space.trained(point) for unit in units if (point := space.at(unit)) is not None]
        rows |= {m.training.rows_at_once for m in made if m is not None}
    assert {1, 8, BATCH} <= rows


@pytest.mark.parametrize("method", [m for m in method_names() if get_method(m).info.goes_alone])
def test_larger_sizes_at_more_places_hold_no_less(method: str) -> None:
    """So that what is predicted of a few large configurations bounds all others."""
    rng = np.random.default_rng(0)
    own = attachable(method, rng)
    assert predicted(own, 1) <= predicted(_raised(own, SPEC, 4, everywhere=True), 1)


def attachable(method: str, rng: np.random.Generator) -> Configuration:
    """Return a component at random that goes on the model, and so does what is larger."""
    for _ in range(20):
        components = (drawn(method, rng),)
        training = TrainingParams(learning_rate=1)
        own = complete(Configuration(components=components, training=training), SPEC)
        larger = _raised(own, SPEC, 4, everywhere=True)
        if not any(
            obstacle(c.components[0], SPEC) or conflict(c.components, SPEC) for c in (own, larger)
        ):
            return own
    raise AssertionError(f"no {method} goes on the model")


def drawn(method: str, rng: np.random.Generator) -> Component:
    """Return a component at random; trained tokens are few, as the tiny model takes 64."""
    info = get_method(method).info
    most = 0.5 if method in {"prompt_tuning", "p_tuning"} else 1.0
    params = {
        p.domain.name: p.domain.from_unit([float(most * u) for u in rng.random(p.domain.width)])
        for p in info.parameters
    }
    layers = [i for i in range(SPEC.n_layers) if rng.random() < 0.5] or [1]
    targets = expand(str(rng.choice(np.array(info.target_choices))))
    return Component(
        method=method, targets=targets, layers=tuple(layers), params=tuple(params.items())
    )


def test_nothing_fits() -> None:
    with pytest.raises(BudgetError) as caught:
        candidates("default", limit_of(50_000))
    assert "fits 50000 bytes of memory" in str(caught.value)
    assert "with one example at a time, takes" in str(caught.value)


def test_one_configuration_is_predicted_and_not_bounded() -> None:
    """A space of one point takes it as far as it fits, to the byte."""
    text = """
schema_version: 1
name: one
components: [lora]
hyperparameters:
  lora.rank: {type: choice, choices: [5]}
  lora.targets: {type: choice, choices: [attn.q]}
"""
    space = candidates(text, None)
    configuration = space.configuration(space.smallest())
    need = predicted(configuration, 1)
    made = candidates(text, limit_of(need)).trained(space.smallest())
    assert made is not None
    assert made.training.micro_batch_size == 1
    with pytest.raises(BudgetError, match="lora with one example at a time"):
        candidates(text, limit_of(need - 1))


@given(st.integers(1, 10**6))
def test_halvings_go_down_to_one(rows: int) -> None:
    found = list(halvings(rows))
    assert found[0] == rows
    assert found[-1] == 1
    assert all(b == -(-a // 2) for a, b in itertools.pairwise(found))


def test_of_several_devices_each_holds_its_share_of_a_batch() -> None:
    """16 rows over 4 devices take the memory of 4, in halves that of 2; flops a row stay."""
    shared = CostModel(SPEC, BUILD, 16, StepOptions(devices=4))
    lora = read_configuration({"method": "lora", "training": {"batch_size": BATCH}}, SPEC)

    def with_training(**changes: int) -> Configuration:
        return replace(lora, training=replace(lora.training, **changes))

    def peak(costs: CostModel, **changes: int) -> int:
        return costs.memory(with_training(**changes)).total

    assert peak(shared) == peak(COSTS, batch_size=4)
    assert peak(shared, batch_size=14) == peak(COSTS, batch_size=4)
    assert peak(shared, micro_batch_size=2) == peak(COSTS, micro_batch_size=2)
    assert peak(shared, micro_batch_size=8) == peak(shared) < peak(COSTS)
    assert peak(shared, max_tokens=8 * 16) == peak(COSTS, batch_size=2)
    assert shared.cost(lora).flops_per_example == COSTS.cost(lora).flops_per_example
    half = MemoryLimit(text="half", limit=peak(shared, micro_batch_size=2), costs=shared)
    met = half.met(lora)
    assert met is not None
    assert met.training.micro_batch_size == 2
