"""peft's methods: counts where a place or a matrix bounds them, and what becomes of a LoRA."""

from typing import Any

import pytest
import torch
from peft import convert_to_lora, get_peft_model, set_peft_model_state_dict

from autopeft.methods.compose import attach, count_parameters, read_configuration
from autopeft.methods.library import LibraryMethod
from autopeft.methods.method import AttachContext
from autopeft.methods.registry import get_method, method_names
from autopeft.models.spec import inspect_model
from tests.contracts.test_methods import attached, train
from tests.tiny import build, logits

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


@pytest.mark.parametrize(
    "method", [name for name in method_names() if isinstance(get_method(name), LibraryMethod)]
)
@pytest.mark.filterwarnings("ignore:Converting a PEFT adapter to LoRA that is already")
def test_converts_to_lora_where_the_registry_says_so(method: str) -> None:
    """Of the full rank, the LoRA computes the same; other methods are refused by peft."""
    attachment, _ = attached(method, {}, "bert")
    train(attachment, "bert", steps=3)
    if not get_method(method).info.converts_to_lora:
        with pytest.raises(TypeError, match="do not support LoRA conversion"):
            convert_to_lora(attachment.model, rank=32)
        return
    config, tensors = convert_to_lora(attachment.model, rank=32)
    lora = get_peft_model(build("bert"), config)
    set_peft_model_state_dict(lora, tensors)
    assert torch.allclose(logits(lora, "bert"), logits(attachment.model, "bert"), atol=1e-5)


def test_our_own_methods_do_not_convert() -> None:
    own = [m for m in map(get_method, method_names()) if not isinstance(m, LibraryMethod)]
    assert own
    assert not any(method.info.converts_to_lora for method in own)
