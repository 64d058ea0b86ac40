"""What a parameter depends on is learned from trials."""

from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from autopeft.study.strategies.activity import Condition, conditions_of, parents_first
from autopeft.study.strategies.columns import Columns

RATE = FloatDistribution(0, 1)
SPACE: dict[str, BaseDistribution] = {
    "deep": RATE,  # before what it follows: the order must not matter
    "method": CategoricalDistribution(["lora", "ia3", "none"]),
    "rank": RATE,
    "start": CategoricalDistribution(["zero", "svd"]),
    "noise": CategoricalDistribution([0, 1]),
}
SEEN: list[dict[str, Any]] = [
    {"method": "lora", "noise": 0, "rank": 0.1, "start": "svd", "deep": 0.5},
    {"method": "lora", "noise": 1, "rank": 0.2, "start": "zero"},
    {"method": "ia3", "noise": 1},
    {"method": "none", "noise": 0},
]


def test_conditions_are_those_that_no_trial_breaks() -> None:
    found = conditions_of(SPACE, SEEN)
    assert found == {
        "deep": Condition("start", ("svd",)),
        "rank": Condition("method", ("lora",)),
        "start": Condition("method", ("lora",)),
    }
    order = parents_first(SPACE, found)
    assert order.index("method") < order.index("start") < order.index("deep")


def test_with_a_value_that_no_trial_had_a_parameter_is_there() -> None:
    found = conditions_of(SPACE, SEEN[:3])
    assert found["rank"] == Condition("method", ("lora", "none"))


def test_choices_that_come_and_go_together_follow_their_parent() -> None:
    space = {"method": SPACE["method"], "first": SPACE["start"], "second": SPACE["noise"]}
    seen: list[dict[str, Any]] = [
        {"method": "lora", "first": "svd", "second": 0},
        {"method": "lora", "first": "zero", "second": 1},
        {"method": "ia3"},
        {"method": "none"},
    ]
    parent = Condition("method", ("lora",))
    assert conditions_of(space, seen) == {"first": parent, "second": parent}
    assert set(Columns(space, seen).active(seen[0])) == {"method", "first", "second"}


def test_points_have_the_parameters_that_belong_together() -> None:
    columns = Columns(SPACE, SEEN)
    drawn = columns.draw(0)
    found = set()
    for _ in range(64):
        point = next(drawn)
        found.add(point["method"])
        assert ("rank" in point) == ("start" in point) == (point["method"] == "lora")
        assert ("deep" in point) == (point.get("start") == "svd")
    assert found == {"lora", "ia3", "none"}


def test_what_follows_no_choice_has_a_column_of_its_own() -> None:
    seen: list[dict[str, Any]] = [{"x": 0.5}, {"x": 0.5, "y": 0.5}]
    columns = Columns({"x": RATE, "y": RATE}, seen)
    first, second = (columns.row(point).tolist() for point in seen)
    assert first == [0.5, 0.5, 0.0]
    assert second == [0.5, 0.5, 1.0]
