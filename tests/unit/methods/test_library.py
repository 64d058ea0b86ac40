"""Counts of peft's methods where a place or a matrix bounds them."""

from typing import Any

import pytest

from autopeft.methods.compose import attach, count_parameters, read_configuration
from autopeft.methods.method import AttachContext
from autopeft.models.spec import inspect_model
from tests.tiny import build

DATA: list[dict[str, Any]] = [
    {"method": "lily", "targets": "linear", "stride": 1},
    {"method": "lily", "targets": "linear", "stride": 2, "experts": 3},
    {"method": "lily", "targets": "mlp", "stride": 8, "layers": "last:1"},
    {"method": "lily", "targets": "mlp.down", "layers": "first:1"},
    {"method": "osf", "targets": "linear", "rank": 256},
    {"method": "adamss", "targets": "linear", "directions": 512, "subspaces": 32},
    {"method": "frod", "targets": "linear", "density": 1e-4},
    {"method": "frod", "targets": "linear", "density": 0.1},
]


@pytest.mark.parametrize("family", ["bert", "roberta", "llama", "t5"])
@pytest.mark.parametrize("data", DATA, ids=lambda data: "-".join(map(str, data.values())))
def test_counts_agree_at_the_ends_of_the_ranges(data: dict[str, Any], family: str) -> None:
    model = build(family)
    spec = inspect_model(model)
    configuration = read_configuration(data, spec)
    context = AttachContext(spec=spec, total_steps=4, seed=0)
    attachment = attach(model, configuration, context)
    trains = sum(p.numel() for _, p in attachment.trainable()) - spec.head_params
    assert trains == count_parameters(configuration, spec)


def test_layers_share_matrices_in_lily() -> None:
    """Twice the layers cost their A's and routers, not the B's again."""
    spec = inspect_model(build("bert", "meta"))

    def count(layers: str) -> int:
        data = {"method": "lily", "rank": 4, "layers": layers, "targets": "attn.q"}
        return count_parameters(read_configuration(data, spec), spec)

    assert count("all") - count("last:1") == 4 * 32 + 4 * 2
