"""Rows of methods: what a model takes, and between which counts."""

from dataclasses import replace

import pytest

from autopeft.api.catalogue import method_rows
from autopeft.methods.compose import count_parameters, read_configuration
from autopeft.models.spec import inspect_model
from tests.tiny import CONFIGS, build, data_of

KEYS = {
    *("name", "family", "takes", "reason", "ranges", "default_learning_rate"),
    *("smallest_params", "largest_params", "mergeable", "converts_to_lora"),
}


@pytest.mark.parametrize("family", CONFIGS)
def test_the_defaults_lie_between_the_extremes(family: str) -> None:
    spec = inspect_model(build(family, "meta"))
    rows = method_rows(spec)
    for row in rows:
        assert set(row) >= KEYS
        assert row["takes"] is not bool(row["reason"])
        if row["takes"]:
            data = data_of(row["name"], layers="all")
            configuration = read_configuration(data, spec)
            own = replace(configuration, components=configuration.components[-1:])
            count = count_parameters(own, spec)
            assert 0 < row["smallest_params"] <= count <= row["largest_params"], row["name"]
        else:
            assert row["smallest_params"] is row["largest_params"] is None
    assert any(row["smallest_params"] != row["largest_params"] for row in rows if row["takes"])


def test_without_a_model_there_is_nothing_about_one() -> None:
    for row in method_rows(None):
        assert KEYS - set(row) == {"takes", "reason", "smallest_params", "largest_params"}
