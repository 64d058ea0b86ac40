"""The costs of a whole space, from a model's config alone."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml

from autopeft.api import space_costs as module
from autopeft.api.catalogue import spec_of
from autopeft.api.estimate import estimate
from autopeft.api.space_costs import ALL, QUANTITIES, PointCost, space_costs, spread
from autopeft.cost.budget import ParamBudget
from autopeft.cost.candidates import CandidateSpace
from autopeft.errors import AutopeftError
from autopeft.study.strategies.drawing import untried_sobol
from tests.spaces import space_of

STATISTICS = ("least", "quarter", "median", "three_quarters", "most")


@pytest.fixture(autouse=True)
def _fewer_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE", 32)


@pytest.mark.parametrize("budget", [None, "2%"])
def test_points_are_those_of_a_search_and_cost_what_estimate_says(
    budget: str | None, tiny_model: Path, tmp_path: Path
) -> None:
    shape = {"batch_size": 3, "seq_length": 16}
    found = space_costs(str(tiny_model), "default", budget=budget, n_steps=2, seed=5, **shape)
    spec = spec_of(str(tiny_model))
    limit = ParamBudget.parse(budget or "100%", spec.base_params)
    space = CandidateSpace(space_of("default", spec.n_layers, spec.hidden_size), spec, limit)
    drawn = list(itertools.islice(untried_sobol(space, 5, set()), 32))
    assert [p["adapter_params"] for p in found["points"]] == [
        space.adapter_params(point) for point in drawn
    ]
    assert all(p["adapter_params"] <= limit.limit for p in found["points"])
    assert (found["n_points"], found["n_steps"]) == (32, 2)
    for point, costs in zip(drawn[:2], found["points"], strict=False):
        file = tmp_path / "c.yaml"
        file.write_text(yaml.safe_dump(space.configuration(point).to_dict()))
        alone = estimate(str(tiny_model), file, **shape)
        assert {name: costs[name] for name in QUANTITIES} == {n: alone[n] for n in QUANTITIES}
    assert all(p["flops_per_step"] is None for p in found["points"][2:])


def test_quartiles_are_in_order_and_of_all_points(tiny_model: Path) -> None:
    found = space_costs(str(tiny_model), "default", n_steps=2)
    for quantity in QUANTITIES:
        rows = [row for row in found["costs"] if row["quantity"] == quantity]
        *methods, everything = rows
        assert everything["method"] == ALL
        assert sum(row["points"] for row in methods) == everything["points"]
        for row in rows:
            values = [row[name] for name in STATISTICS]
            assert values == sorted(values)
            assert everything["least"] <= row["least"]
            assert row["most"] <= everything["most"]


def test_quartiles_of_known_numbers() -> None:
    points = [PointCost(method="a", adapter_params=n) for n in (5, 1, 3, 2, 4)]
    points.append(PointCost(method="b", adapter_params=9))
    a, b, everything = spread(points)[:3]
    assert [a[name] for name in STATISTICS] == [1, 2, 3, 4, 5]
    assert [b[name] for name in STATISTICS] == [9] * 5
    assert everything["most"] == 9
    no_memory = spread(points)[3]
    assert (no_memory["points"], no_memory["median"]) == (0, None)


def test_how_many_fit_a_device(tiny_model: Path) -> None:
    def fitting(memory: str) -> Any:
        return space_costs(str(tiny_model), "default", n_steps=1, device_memory=memory)["n_fit"]

    assert (fitting("1KiB"), fitting("1TiB")) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"space": "defualt"}, "did you mean default"),
        ({"budget": "3"}, "smallest configuration"),
        ({"device_memory": "much"}, "Cannot read the memory"),
    ],
)
def test_bad_requests(arguments: dict[str, Any], message: str, tiny_model: Path) -> None:
    with pytest.raises(AutopeftError, match=message):
        space_costs(str(tiny_model), **{"space": "default", **arguments})
