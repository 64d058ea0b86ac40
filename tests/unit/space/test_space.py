from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autopeft.errors import SpaceError, UnknownNameError
from autopeft.methods.registry import catalogue, default_learning_rates
from autopeft.space.configuration import Configuration
from autopeft.space.hyperparameter import Choice, FloatRange, IntRange, LayerMask
from autopeft.space.schema import find_space, read_space, shipped_spaces
from autopeft.space.space import SearchSpace

SHIPPED = {name: path.read_text() for name, path in shipped_spaces().items()}
SPACES = {name: read_space(text, 6, name, catalogue()) for name, text in SHIPPED.items()}

HYPERPARAMETERS = st.sampled_from(
    [
        FloatRange(name="a", field="a", low=0.25, high=8.0, log=True),
        FloatRange(name="a", field="a", low=-1.0, high=1.0),
        IntRange(name="a", field="a", low=1, high=64, log=True),
        IntRange(name="a", field="a", low=0, high=3),
        Choice(name="a", field="a", choices=("x", "y", 3)),
        LayerMask(name="a", field="a", n_layers=5),
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
@given(data=st.data())
def test_points_survive_encoding(name: str, data: st.DataObject) -> None:
    space = SPACES[name]
    point = space.decode(data.draw(units(space.dimension)))
    assert space.contains(point)
    assert space.decode(space.encode(point)) == pytest.approx(point)


@pytest.mark.parametrize("name", SPACES)
@given(data=st.data())
def test_configurations_survive_json(name: str, data: st.DataObject) -> None:
    space = SPACES[name]
    point = space.decode(data.draw(units(space.dimension)))
    made = space.configuration(point, default_learning_rates(), {"batch_size": 8})
    assert Configuration.from_dict(made.to_dict()) == made
    assert made.training.batch_size == 8
    assert made.method in space.methods


@pytest.mark.parametrize("name", SPACES)
def test_every_method_of_a_space_is_reached(name: str) -> None:
    space = SPACES[name]
    rng = np.random.default_rng(0)
    points = [space.decode(rng.random(space.dimension)) for _ in range(300)]
    assert {point["method"] for point in points} == set(space.methods)


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
    with pytest.raises(SpaceError, match="holds none of vera"):
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
    assert 10 ** read_space(text, 3, "small").log10_size() == pytest.approx((4 + 1) * 2 * 7)


def test_shorthands_that_coincide_are_one_choice() -> None:
    text = """
schema_version: 1
name: shallow
hyperparameters:
  method: {type: choice, choices: [lora]}
  targets: {type: choice, choices: [attn]}
  layers: {type: choice, choices: [all, "last:1/2", "last:1"]}
"""
    layers = read_space(text, 2, "shallow").hyperparameters[-1]
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
            r"mine.yaml, line 6, key 'hyperparameters.rank.high': Field required",
        ),
        (
            "    high: 8",
            "    high: 8\n    hgih: 9",
            r"line 10, key 'hyperparameters.rank.hgih': Extra",
        ),
        ("low: 1", "low: 9", r"line 6, .*'low' must be smaller than 'high'"),
        ("low: 1", "low: x", r"line 8, key 'hyperparameters.rank.low': Input should be"),
        ("type: int", "type: integer", r"line 6, .*rank"),
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
        ("  targets: {type: choice, choices: [attn]}\n", "", r"has no active 'targets'"),
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
        read_space(GOOD.replace(old, new), 6, "mine.yaml")


def test_the_good_file_is_good() -> None:
    space = read_space(GOOD, 6, "mine.yaml")
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
