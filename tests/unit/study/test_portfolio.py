"""Well-known configurations: what they are, and where they lie in a space within its limits."""

from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autopeft.cost.budget import ParamBudget
from autopeft.cost.candidates import CandidateSpace
from autopeft.cost.cost import CostModel
from autopeft.cost.memory_limit import MemoryLimit
from autopeft.errors import BudgetError, SpaceError
from autopeft.models.spec import ModelSpec, inspect_model
from autopeft.space.schema import shipped_spaces
from autopeft.study.strategies import portfolio
from autopeft.study.strategies.fitted import Limits, fewest_parameters, fit, rank_portfolio
from autopeft.study.strategies.placing import place
from autopeft.study.strategies.portfolio import (
    _portfolio,
    kind_of,
    known_configurations,
    strongest_first,
)
from autopeft.study.strategies.start import (
    _strongest,
    lora_ladder,
    portfolio_points,
    start_points,
)
from tests.spaces import space_of
from tests.tiny import build

SPECS: dict[str, ModelSpec] = {
    "bert": inspect_model(build("bert", "meta")),
    "gpt2": inspect_model(build("gpt2", "meta", "language_modeling")),
    "llama": inspect_model(build("llama", "meta", "language_modeling")),
    "t5": inspect_model(build("t5", "meta", "language_modeling")),
}
SPEC = SPECS["bert"]
KNOWN = known_configurations()


def candidates(text: str, limit: int) -> CandidateSpace:
    budget = ParamBudget(text=str(limit), limit=limit)
    return CandidateSpace(space_of(text, SPEC.n_layers, SPEC.hidden_size), SPEC, budget)


def limits(limit: int) -> Limits:
    budget = ParamBudget(text=str(limit), limit=limit)
    return Limits(budget=budget, memory=None, training={}, input_length=16, short=True)


def test_every_entry_names_its_source_and_has_a_place_in_an_order() -> None:
    orders = [order for by_task in _portfolio().orders.values() for order in by_task.values()]
    for order in orders:
        assert len(set(order)) == len(order)
        assert set(order) <= set(KNOWN)
    assert {name for order in orders for name in order} == set(KNOWN)
    assert all("arXiv" in entry.source and entry.about for entry in KNOWN.values())


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        ("bert", ("encoder", "labels")),
        ("gpt2", ("decoder", "text")),
        ("llama", ("decoder", "text")),
        ("t5", ("encoder-decoder", "text")),
    ],
)
def test_the_order_is_that_of_the_architecture(family: str, kind: tuple[str, str]) -> None:
    assert kind_of(SPECS[family]) == kind
    classifier = inspect_model(build(family, "meta"))
    assert kind_of(classifier) == (kind[0], "labels")


@pytest.mark.parametrize("family", SPECS)
def test_without_a_limit_an_entry_is_what_its_source_says(family: str) -> None:
    spec = SPECS[family]
    ranking = rank_portfolio(spec, limits(2**40))
    assert {"lora-linear", "lora-qv", "pfeiffer", "ia3"} <= {f.name for f in ranking.fitted}
    for fitted in ranking.fitted:
        assert fitted.changes == ()
        assert fitted.whole
        for part in fitted.entry.components:
            made = next(c for c in fitted.configuration.components if c.method == part.method)
            values = {**part.wanted(spec), **part.settings}
            assert {name: made.param(name) for name in values} == values
    assert [f.name for f in ranking.fitted] == [
        name for name in strongest_first(spec) if name not in ranking.obstacles
    ]


@pytest.mark.parametrize("limit", [100, 1_500, 30_000])
@pytest.mark.parametrize("name", sorted(set(shipped_spaces()) - {"everything"}))
def test_the_start_lies_in_the_space_and_in_the_budget(name: str, limit: int) -> None:
    try:
        space = candidates(name, limit)
    except BudgetError:
        pytest.skip("nothing of the space fits")
    for points in start_points(space, 0).values():
        for point in points:
            assert space.space.contains(point)
            assert space.fits(point)
        digests = [space.configuration(point).digest for point in points]
        assert len(set(digests)) == len(digests)


@settings(max_examples=20)
@given(st.integers(64, 40_000), st.integers(64, 40_000))
def test_a_larger_budget_is_never_used_for_less(some: int, others: int) -> None:
    small, large = sorted((some, others))
    for name in ("lora-qv", "pfeiffer"):
        try:
            less = fit(name, KNOWN[name], SPEC, limits(small))
        except BudgetError:
            continue
        more = fit(name, KNOWN[name], SPEC, limits(large))
        n_layers = [len(f.configuration.components[0].layers) for f in (less, more)]
        assert n_layers == sorted(n_layers)
        if n_layers[0] == n_layers[1]:
            assert size(less.configuration) <= size(more.configuration)


def size(configuration: object) -> int:
    [part] = configuration.components  # type: ignore[attr-defined]
    return int(part.param("rank" if part.method == "lora" else "bottleneck"))


def test_an_entry_is_not_mistaken_for_another_one() -> None:
    """A space of DoRA alone holds no plain LoRA; one of the feed-forward block no attention."""
    text = """
schema_version: 1
name: narrow
hyperparameters:
  method: {type: choice, choices: [lora]}
  variant: {type: choice, choices: [dora]}
  rank: {type: int, low: 1, high: 64}
  targets: {type: choice, choices: [mlp, linear]}
"""
    space = candidates(text, 30_000)
    placed = {name: place(entry, space) for name, entry in strongest_first(SPEC).items()}
    assert [name for name, found in placed.items() if found] == ["dora"]
    assert placed["dora"] is not None
    assert placed["dora"].point["targets"] == "linear"


def test_components_that_an_entry_lacks_are_off() -> None:
    space = candidates("autopeft-paper", 30_000)
    made = {}
    for name, entry in strongest_first(SPEC).items():
        placed = place(entry, space)
        if placed is not None:
            made[name] = {c.method for c in space.configuration(placed.point).components}
    assert made == {
        "mam-small": {"prefix", "parallel_adapter"},
        "pfeiffer": {"serial_adapter"},
        "houlsby": {"serial_adapter"},
        "parallel": {"parallel_adapter"},
        "prefix": {"prefix"},
    }


def test_the_portfolio_is_placed_in_parts_of_the_budget_by_turns() -> None:
    space = candidates("default", 30_000)
    points = portfolio_points(space)
    assert [point["method"] for point in points[:3]] == ["shira", "lora", "lora"]
    counts = [space.adapter_params(point) or 0 for point in points]
    assert 2_000 < counts[1] <= 3_000  # a tenth
    assert 200 < counts[2] <= 300  # a hundredth
    assert max(counts) > 29_000


def test_each_method_comes_once_before_any_comes_twice() -> None:
    space = candidates("default", 30_000)
    methods = [point["method"] for point in _strongest(space, 30_000, ladder=True)]
    # LoRA, in four variants, has its ladder before.
    assert methods == ["shira", "bitfit", "ln_tuning", "ia3", "adalora", *4 * ["lora"]]
    without = [point["method"] for point in _strongest(space, 30_000, ladder=False)]
    assert without == ["lora", "shira", "bitfit", "ln_tuning", "ia3", "adalora", *3 * ["lora"]]


@pytest.mark.parametrize(
    "ranks", ["{type: choice, choices: [4, 8, 16]}", "{type: ordered, values: [4, 8, 16]}"]
)
def test_the_ladder_takes_ranks_that_the_space_has(ranks: str) -> None:
    text = f"""
schema_version: 1
name: coarse
hyperparameters:
  method: {{type: choice, choices: [lora]}}
  rank: {ranks}
  targets: {{type: choice, choices: [attn.qv]}}
"""
    space = candidates(text, 2_400)  # rank 8 has 2 * 2 * 8 * 64 = 2,048
    assert [point["rank"] for point in lora_ladder(space)] == [8, 4]


@pytest.mark.parametrize("limit", [3_000, 40_000])
def test_the_ladder_has_all_layers_where_each_has_a_switch(limit: int) -> None:
    space = candidates("lora", limit)
    ladder = lora_ladder(space)
    assert ladder
    assert all(set(str(point["layers"])) == {"1"} for point in ladder)


def test_a_composite_space_with_lora_has_a_ladder() -> None:
    text = """
schema_version: 1
name: together
components: [lora, prefix]
hyperparameters:
  rank: {sets: lora.rank, type: int, low: 1, high: 16}
  length: {sets: prefix.length, type: ordered, values: [0, 4, 8]}
  lora.targets: {type: choice, choices: [attn.qv]}
"""
    space = candidates(text, 2_048)
    ladder = [space.configuration(point) for point in lora_ladder(space)]
    assert [c.method for c in ladder] == ["lora", "lora"]
    assert [c.components[0].param("rank") for c in ladder] == [8, 2]


def test_the_smallest_configuration_of_the_portfolio_fits_and_nothing_below() -> None:
    fewest = fewest_parameters(SPEC, 16)
    assert rank_portfolio(SPEC, limits(fewest)).fitted
    below = rank_portfolio(SPEC, limits(fewest - 1))
    assert not below.fitted
    assert set(below.obstacles) == set(strongest_first(SPEC))


def test_what_the_budget_does_not_hold_says_what_it_needs() -> None:
    with pytest.raises(BudgetError, match="it has 128 adapter parameters at least"):
        fit("lora-qv", KNOWN["lora-qv"], SPEC, limits(100))
    with pytest.raises(SpaceError, match="takes no method"):
        fit("bitfit", KNOWN["bitfit"], SPECS["gpt2"], limits(10_000))


def test_memory_takes_parts_of_a_batch_then_layers() -> None:
    costs = CostModel(SPEC, partial(build, "bert", "meta"), 16)
    free = replace(limits(30_000), training={"batch_size": 4})
    entry = KNOWN["lora-qv"]
    whole = fit("lora-qv", entry, SPEC, free).configuration
    single = replace(whole, training=replace(whole.training, micro_batch_size=1))
    most, least = (costs.memory(configuration).total for configuration in (whole, single))
    for limit, n_layers in ((most, 2), (most - 1, 2), (least, 2), (least - 1, 1)):
        memory = MemoryLimit(text="the memory", limit=limit, costs=costs)
        made = fit("lora-qv", entry, SPEC, replace(free, memory=memory)).configuration
        assert costs.memory(made).total <= limit
        assert len(made.components[0].layers) == n_layers
        assert (made.training.micro_batch_size is None) == (limit == most)
    tiny = MemoryLimit(text="the memory", limit=1_000, costs=costs)
    with pytest.raises(BudgetError, match="fits both the budget and the memory"):
        fit("lora-qv", entry, SPEC, replace(free, memory=tiny))


@pytest.mark.parametrize(
    ("family", "width", "expected"),
    [("llama", 3072, 1.0), ("llama", 4096, 0.3), ("llama", 8192, 0.3), ("bert", 4096, 1.0)],
)
def test_wide_decoders_get_lower_rates_of_lora(family: str, width: int, expected: float) -> None:
    spec = replace(SPECS[family], hidden_size=width)
    entries = known_configurations()
    assert entries["lora-linear"].width_factor(spec) == pytest.approx(expected, rel=0.01)
    for short in (False, True):
        multiple = entries["lora-linear"].multiple if short else 1.0
        found = entries["lora-linear"].multiple_on(spec, short=short)
        assert found == pytest.approx(multiple * expected, rel=0.01)
    assert entries["shira"].width_factor(spec) == 1.0, "nothing is known of others"


def test_a_search_on_a_wide_decoder_starts_at_lower_rates_of_lora(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = SPECS["llama"]
    space = CandidateSpace(
        space_of("default", spec.n_layers), spec, ParamBudget(text="3000", limit=3_000)
    )
    rates = []
    for least in (spec.hidden_size + 1, spec.hidden_size):
        monkeypatch.setattr(portfolio, "_WIDE", least)
        starts = start_points(space, 0)
        points = [p for origin in ("ladder", "portfolio") for p in starts[origin]]
        rates.append([(p["method"], float(p["learning_rate_multiple"])) for p in points])
    assert {m for m, _ in rates[0]} > {"lora"}
    for (method, usual), (same, wide) in zip(*rates, strict=True):
        factor = 0.3 if method == "lora" else 1.0
        assert same == method
        assert wide == pytest.approx(usual * factor, rel=1e-5)
