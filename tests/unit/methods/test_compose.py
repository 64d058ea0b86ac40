from typing import Any

import pytest

from autopeft.errors import SpaceError, UnknownNameError
from autopeft.methods.compose import complete, read_configuration
from autopeft.methods.registry import get_method
from autopeft.models.spec import ModelSpec, inspect_model
from autopeft.space.configuration import Component, Configuration, TrainingParams
from tests.tiny import build


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return inspect_model(build("bert", "meta"))


def test_defaults_are_filled_in(spec: ModelSpec) -> None:
    made = read_configuration({"method": "lora"}, spec)
    component = made.components[0]
    assert component.param("rank") == 8
    assert component.layers == (0, 1)
    assert component.targets == ("attn.q", "attn.v")
    assert made.training.learning_rate == get_method("lora").info.default_learning_rate


def test_both_ways_of_writing_mean_the_same(spec: ModelSpec) -> None:
    short = read_configuration({"method": "ia3", "training": {"learning_rate": 0.1}}, spec)
    long = {"components": [{"method": "ia3"}], "training": {"learning_rate": 0.1}}
    assert read_configuration(long, spec) == short
    assert read_configuration(short.to_dict(), spec) == short


def test_kinds_that_a_model_lacks_make_no_difference(spec: ModelSpec) -> None:
    def made(targets: tuple[str, ...]) -> Configuration:
        component = Component(method="ia3", targets=targets, layers=(0,))
        training = TrainingParams(learning_rate=1e-3)
        return complete(Configuration(components=(component,), training=training), spec)

    assert made(("attn.k", "attn.qkv")).digest == made(("attn.k",)).digest


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"method": "lora", "rnk": 4}, "has no hyperparameter 'rnk': it takes rank"),
        ({"method": "lora", "rank": 0}, "'rank' of lora is 0; it must be 1 to 256"),
        ({"method": "lora", "rank": "four"}, "'rank' of lora is 'four'"),
        ({"method": "adalora", "rank": 1}, "must be 2 to"),
        ({"method": "lora", "layers": [7]}, "Layer 7 does not exist"),
        ({"method": "lora", "targets": "norm"}, "finds none of norm"),
        ({"method": "lora", "targets": "attn.qkv"}, "finds none of attn.qkv"),
        ({"components": [{"method": "lora"}, {"method": "ia3"}]}, "lora and ia3|ia3 and lora"),
        ({"rank": 4}, "'method' or 'components'"),
        ("lora", "must be a mapping"),
    ],
)
def test_mistakes_are_named(spec: ModelSpec, data: Any, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        read_configuration(data, spec)


def test_unknown_methods_are_named(spec: ModelSpec) -> None:
    with pytest.raises(UnknownNameError, match="did you mean lora or"):
        read_configuration({"method": "loro"}, spec)
