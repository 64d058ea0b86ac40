import json
import random
from typing import Any

import pytest

from autopeft.errors import SpaceError
from autopeft.space.configuration import Component, Configuration, TrainingParams


def lora(**params: Any) -> Component:
    return Component(
        method="lora", targets=("attn.v", "attn.q"), layers=(3, 1), params=tuple(params.items())
    )


def configuration(*components: Component) -> Configuration:
    return Configuration(components=components, training=TrainingParams(learning_rate=1e-3))


def test_equal_content_is_equal_whatever_the_order() -> None:
    one = configuration(lora(rank=4, variant="plain"))
    other = configuration(lora(variant="plain", rank=4))
    assert one == other
    assert hash(one) == hash(other)
    assert one.digest == other.digest
    assert one.components[0].layers == (1, 3)
    assert one.components[0].targets == ("attn.q", "attn.v")


def test_components_have_no_order() -> None:
    ia3 = Component(method="ia3", targets=("attn.k",), layers=(0,))
    assert configuration(lora(rank=1), ia3) == configuration(ia3, lora(rank=1))
    assert configuration(lora(rank=1), ia3).method == "ia3+lora"


def test_digest_depends_on_every_value() -> None:
    base = configuration(lora(rank=4))
    changed = [
        configuration(lora(rank=5)),
        Configuration(components=base.components, training=TrainingParams(learning_rate=2e-3)),
        Configuration(
            components=base.components,
            training=TrainingParams(learning_rate=1e-3, head_learning_rate=1e-2),
        ),
    ]
    assert len({base.digest, *(c.digest for c in changed)}) == 4


def test_a_micro_batch_is_written_and_is_no_other_configuration() -> None:
    """Studies of before there were micro-batches find their configurations again."""
    data = {"components": [], "training": {"learning_rate": 1e-3, "batch_size": 16}}
    whole = Configuration.from_dict(data)
    assert "micro_batch_size" not in whole.to_dict()["training"]
    assert whole.digest == "d0d7639a28706b3f"
    assert whole.training.rows_at_once == 16
    for size, at_once in ((4, 4), (64, 16)):
        parts = Configuration.from_dict(
            {**data, "training": {**data["training"], "micro_batch_size": size}}
        )
        assert parts.training.rows_at_once == at_once
        assert parts.digest == whole.digest
        assert parts != whole
        assert Configuration.from_dict(json.loads(json.dumps(parts.to_dict()))) == parts


def test_json_round_trip_ignores_key_order() -> None:
    original = configuration(lora(rank=4, dropout=0.1, variant="dora"))
    data = json.loads(json.dumps(original.to_dict()))
    shuffled = dict(random.Random(0).sample(sorted(data.items()), len(data)))
    assert Configuration.from_dict(shuffled) == original
    assert Configuration.from_dict(data).digest == original.digest


def test_shorthands_need_a_model() -> None:
    data = {
        "components": [{"method": "lora", "targets": "attn.qv", "layers": "last:1/2", "rank": 2}],
        "training": {"learning_rate": 1e-3},
    }
    assert Configuration.from_dict(data, n_layers=4).components[0].layers == (2, 3)
    with pytest.raises(SpaceError, match="only be resolved for a model"):
        Configuration.from_dict(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "must be a mapping"),
        ({"components": {}}, "must be a list"),
        ({"componets": []}, "Unknown key 'componets'"),
        ({"components": [{"targets": "attn"}]}, "with a 'method'"),
        ({"components": [{"method": "lora", "layers": [0]}]}, "needs 'targets'"),
        ({"components": [], "training": {}}, "with a 'learning_rate'"),
        ({"components": [], "training": {"learning_rate": "x"}}, "not a number"),
        (
            {"components": [], "training": {"learning_rate": 1, "lr": 1}},
            "Unknown key 'training.lr'",
        ),
        ({"components": [], "training": {"learning_rate": -1}}, "positive"),
        ({"components": [], "training": {"learning_rate": 1, "batch_size": 0}}, "at least 1"),
        (
            {"components": [], "training": {"learning_rate": 1, "micro_batch_size": 0}},
            "micro_batch_size must be at least 1",
        ),
    ],
)
def test_mistakes_are_named(data: Any, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        Configuration.from_dict(data)
