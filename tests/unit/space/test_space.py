import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from autopeft.errors import SpaceError, UnknownNameError
from autopeft.methods.registry import catalogue
from autopeft.space.configuration import Configuration
from autopeft.space.hyperparameter import Choice, FloatRange, IntRange, LayerMask, Ordered
from autopeft.space.schema import find_space, shipped_spaces
from autopeft.space.space import SearchSpace
from tests.spaces import space_of

SHIPPED = {name: path.read_text() for name, path in shipped_spaces().items()}
SPACES = {name: space_of(text) for name, text in SHIPPED.items()}

HYPERPARAMETERS = st.sampled_from(
    [
        FloatRange(name="a", field="a", low=0.25, high=8.0, log=True),
        FloatRange(name="a", field="a", low=-1.0, high=1.0),
        IntRange(name="a", field="a", low=1, high=64, log=True),
        IntRange(name="a", field="a", low=0, high=3),
        Choice(name="a", field="a", choices=("x", "y", 3)),
        LayerMask(name="a", field="a", n_layers=5),
        LayerMask(name="a", field="a", n_layers=3, empty=True),
        Ordered(name="a", field="a", values=(0, 1, 3, 2.5e3)),
    ]
)


def units(n: int) -> st.SearchStrategy[list[float]]:
    return st.lists(st.floats(0, 1), min_size=n, max_size=n)


def test_spaces_are_shipped() -> None:
    assert {"default", "lora"} <= set(SPACES)


@given(HYPERPARAMETERS, st.data())
def test_values_survive_the_unit_cube(h: FloatRange, data: st.DataObject) -> None:
    value = h.from_unit(data.draw(units(h.width)))
    assert h.contains(value)
    assert all(0 <= u <= 1 for u in h.to_unit(value))
    again = h.from_unit(h.to_unit(value))
    assert again == (pytest.approx(value, rel=1e-5) if isinstance(value, float) else value)


@given(HYPERPARAMETERS)
def test_the_ends_of_the_cube_are_the_ends_of_the_domain(h: FloatRange) -> None:
    low, high = h.from_unit([0.0] * h.width), h.from_unit([1.0] * h.width)
    if isinstance(h, FloatRange | IntRange):
        assert (low, high) == (h.low, h.high)
    assert h.contains(low)
    assert h.contains(high)


@pytest.mark.parametrize("name", SPACES)
@settings(max_examples=200)
@given(data=st.data())
def test_points_survive_encoding(name: str, data: st.DataObject) -> None:
    space = SPACES[name]
    point = space.decode(data.draw(units(space.dimension)))
    assert space.contains(point)
    assert space.decode(space.encode(point)) == pytest.approx(point)


@pytest.mark.parametrize("name", SPACES)
@settings(max_examples=200)
@given(data=st.data())
def test_configurations_survive_json_and_yaml(name: str, data: st.DataObject) -> None:
    space = SPACES[name]
    point = space.decode(data.draw(units(space.dimension)))
    made = space.configuration(point, catalogue(), {"batch_size": 8})
    plain = made.to_dict()
    assert Configuration.from_dict(json.loads(json.dumps(plain))) == made
    assert Configuration.from_dict(yaml.safe_load(yaml.safe_dump(plain))) == made
    assert made.training.batch_size == 8
    if not space.components:
        assert made.method in space.methods
    assert {component.method for component in made.components} <= set(space.methods)


@pytest.mark.parametrize("name", SPACES)
def test_every_method_of_a_space_is_reached(name: str) -> None:
    space = SPACES[name]
    rng = np.random.default_rng(0)
    points = [space.decode(rng.random(space.dimension)) for _ in range(300)]
    made = [space.configuration(point, catalogue(), {}) for point in points]
    assert {c.method for m in made for c in m.components} == set(space.methods)


def test_a_changed_parent_gets_new_children() -> None:
    space = SPACES["default"]
    lora = space.decode([0.0] * space.dimension)
    assert lora["method"] == "lora"
    ia3 = space.completed({**lora, "method": "ia3"}, [0.0] * space.dimension)
    assert space.contains(ia3)
    assert "rank" not in ia3
    assert ia3["scaled_targets"] == "ia3"


def test_contains_refuses_inactive_and_missing_values() -> None:
    space = SPACES["default"]
    point = space.decode([0.0] * space.dimension)
    assert not space.contains({**point, "sparse_density": 0.01})
    assert not space.contains({k: v for k, v in point.items() if k != "rank"})
    assert not space.contains({**point, "rank": 1000})


def test_restriction_keeps_what_its_methods_use() -> None:
    space = SPACES["default"].restricted_to(["ia3", "bitfit"])
    assert space.methods == ("ia3", "bitfit")
    assert {"rank", "sparse_density"}.isdisjoint(h.name for h in space.hyperparameters)
    with pytest.raises(SpaceError, match="does not hold vera, but ia3, bitfit: choose"):
        space.restricted_to(["vera"])


def test_size_counts_the_points_of_a_small_space() -> None:
    text = """
schema_version: 1
name: small
hyperparameters:
  method: {type: choice, choices: [lora, ia3]}
  rank: {type: int, low: 1, high: 4, when: {method: [lora]}}
  targets: {type: choice, choices: [attn, mlp]}
  layers: {type: layer_mask}
"""
    assert 10 ** space_of(text, 3).log10_size() == pytest.approx((4 + 1) * 2 * 7)


def test_shorthands_that_coincide_are_one_choice() -> None:
    text = """
schema_version: 1
name: shallow
hyperparameters:
  method: {type: choice, choices: [lora]}
  targets: {type: choice, choices: [attn]}
  layers: {type: choice, choices: [all, "last:1/2", "last:1"]}
"""
    layers = space_of(text, 2).hyperparameters[-1]
    assert isinstance(layers, Choice)
    assert layers.choices == ("all", "last:1/2")


GOOD = """schema_version: 1
name: mine
hyperparameters:
  method: {type: choice, choices: [lora]}
  targets: {type: choice, choices: [attn]}
  rank:
    type: int
    low: 1
    high: 8
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "high: 8",
            "hihg: 8",
            r"mine.yaml, line 6, key 'hyperparameters.rank.high': this key is missing",
        ),
        (
            "    high: 8",
            "    high: 8\n    hgih: 9",
            r"line 10, key 'hyperparameters.rank.hgih': there is no such key",
        ),
        ("low: 1", "low: 9", r"line 6, .*'low' must be smaller than 'high'"),
        ("    high: 8", "    high: 8\n    high: 9", r"line 10: .* the key 'high' is there twice"),
        ("name: mine", "name: mine\nname: yours", r"line 3: .* the key 'name' is there twice"),
        (
            "type: int\n    low: 1",
            "type: float\n    low: -.inf",
            r"rank.low': Input should be a fini",
        ),
        ("type: int\n    low: 1", "low: 1", r"rank': the key 'type' is missing"),
        ("low: 1", "low: x", r"line 8, key 'hyperparameters.rank.low': Input should be"),
        ("type: int", "type: integer", r"line 6, .*rank': there is no type 'integer': .*'int'"),
        ("choices: [attn]", "choices: [attention]", r"line 5, .*Unknown target 'attention'"),
        ("[lora]", "[]", r"line 4, key 'hyperparameters.method.choices'"),
        ("[lora]", "[lora, lora]", r"holds a value twice"),
        ("schema_version: 1", "schema_version: 2", r"line 1, key 'schema_version'"),
        ("name: mine", "name: [mine", r"line \d, key|line \d: not valid YAML"),
        ("    high: 8", "    high: 8\n    when: {metod: [lora]}", r"names 'metod', which does not"),
        (
            "    high: 8",
            "    high: 8\n    when: {method: [ia3]}",
            r"'ia3', which 'method' never is",
        ),
        (
            "  rank:",
            "  r2: {type: int, low: 1, high: 2, sets: rank}\n  rank:",
            r"'rank' is set twice",
        ),
    ],
)
def test_mistakes_name_file_line_and_key(old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(SpaceError, match=message):
        space_of(GOOD.replace(old, new))


def test_targets_that_a_space_leaves_out_are_the_methods_own() -> None:
    space = space_of(GOOD.replace("  targets: {type: choice, choices: [attn]}\n", ""))
    made = space.configuration({"method": "lora", "rank": 4}, catalogue(), {})
    assert made.components[0].targets == catalogue()["lora"].targets


def test_the_good_file_is_good() -> None:
    space = space_of(GOOD)
    assert isinstance(space, SearchSpace)
    assert space.decode([0.0, 0.0, 1.0]) == {"method": "lora", "targets": "attn", "rank": 8}


def test_spaces_are_found_by_name_or_path(tmp_path: Path) -> None:
    assert find_space("default").stem == "default"
    (tmp_path / "own.yaml").write_text(GOOD)
    assert find_space(str(tmp_path / "own.yaml")) == tmp_path / "own.yaml"
    with pytest.raises(UnknownNameError, match="did you mean default"):
        find_space("defalt")
    with pytest.raises(SpaceError, match="no search-space file"):
        find_space("missing.yaml")


PAPER = """schema_version: 1
name: two
components: [serial_adapter, prefix]
hyperparameters:
  serial: {sets: serial_adapter.bottleneck, type: halvings, of: hidden_size, steps: 3}
  prefix: {sets: prefix.length, type: ordered, values: [0, 5, 10]}
  layers: {type: layer_mask, empty: true}
"""


def test_the_papers_space_has_as_many_points_as_in_the_paper() -> None:
    """Three log2 reductions from 0 to 10, 10 being off, and 12 switches."""
    space = space_of("autopeft-paper", 12, 768)
    assert space.n_points() == 11**3 * 2**12 == 5_451_776
    serial = space.hyperparameters[0]
    assert isinstance(serial, Ordered)
    assert serial.values == (0, 1, 3, 6, 12, 24, 48, 96, 192, 384, 768)


def test_a_component_of_size_zero_or_without_layers_is_left_out() -> None:
    space = space_of(PAPER, 2, 32)

    def made(serial: int, prefix: int, layers: str) -> Configuration:
        point = {"serial": serial, "prefix": prefix, "layers": layers}
        assert space.contains(point)
        return space.configuration(point, catalogue(), {})

    both = made(8, 5, "01")
    assert both.method == "prefix+serial_adapter"
    assert {c.layers for c in both.components} == {(1,)}
    assert {dict(c.params).get("bottleneck", 5) for c in both.components} == {5, 8}
    assert both.training.learning_rate == 1e-3  # the lower of the two defaults
    assert made(8, 0, "11").method == "serial_adapter"
    assert made(0, 5, "11").training.learning_rate == 1e-2
    assert made(0, 0, "11").method == made(8, 5, "00").method == "head"


def test_a_composite_without_a_component_loses_its_dimensions() -> None:
    space = space_of(PAPER, 2, 32).restricted_to(["prefix"])
    assert space.methods == ("prefix",)
    assert [h.name for h in space.hyperparameters] == ["prefix", "layers"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("prefix.length", "prefix.lenght", r"line 6, .*prefix has no hyperparameter 'lenght'"),
        ("prefix.length", "length", r"line 6, .*say which component"),
        ("prefix.length", "lora.rank", r"line 6, .*'lora' is none of the components"),
        ("[0, 5, 10]", "[0, 10, 5]", r"line 6, .*'values' must rise"),
        ("[0, 5, 10]", "[-1, 5]", r"line 6, .*'length' of prefix cannot be -1"),
        (
            "[serial_adapter, prefix]",
            "[serial, prefix]",
            r"line 3, .*did you mean .*serial_adapter",
        ),
        ("[serial_adapter, prefix]", "[prefix, prefix]", r"line 3, .*each method once"),
        ("components: [serial_adapter, prefix]\n", "", r"each method once, in one of"),
        ("steps: 3", "steps: 0", r"line 5, .*steps"),
    ],
)
def test_mistakes_in_composites(old: str, new: str, message: str) -> None:
    assert old in PAPER
    with pytest.raises(SpaceError, match=message):
        space_of(PAPER.replace(old, new))


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("high: 100000", r"line 6, .*'rank' of lora cannot be 100000; it must be 1 to"),
        ("high: 8\n    sets: bottleneck", r"lora has no hyperparameter 'bottleneck': it takes"),
    ],
)
def test_values_that_a_method_does_not_take(new: str, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        space_of(GOOD.replace("high: 8", new))
