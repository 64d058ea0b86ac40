"""Operations of a step against torch's own counter and against arithmetic."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from autopeft.cost.flops import ATTENTION
from autopeft.cost.forward import forward
from autopeft.cost.memory import step_cost
from autopeft.methods.compose import attach, read_configuration
from autopeft.methods.composite import on_meta
from autopeft.methods.method import AttachContext
from autopeft.models.spec import inspect_model
from tests.tiny import build


def flops(family: str, data: dict[str, Any], rows: int = 4, tokens: int = 10) -> int:
    model = build(family, "meta").requires_grad_(requires_grad=False)
    spec = inspect_model(model)
    context = AttachContext(spec=spec, total_steps=8, seed=0)
    components = read_configuration(data, spec).components
    return step_cost(on_meta(model, components, context).train(), rows, tokens).flops


@pytest.mark.parametrize("family", ["bert", "llama", "t5"])
def test_torchs_counter_counts_the_same(family: str) -> None:
    model = build(family)
    spec = inspect_model(model)
    context = AttachContext(spec=spec, total_steps=8, seed=0)
    real = attach(model, read_configuration({"method": "lora"}, spec), context).model.train()
    # torch knows attention by the kernels of GPUs alone.
    with FlopCounterMode(display=False, custom_mapping=dict(ATTENTION)) as counter:
        forward(real, 4, 10).loss.backward()
    assert flops(family, {"method": "lora"}) == counter.get_total_flops()


def test_fused_attention_counts_as_the_products_that_it_is() -> None:
    """Forward two products; backward four, and the scores once more, which were not kept."""
    heads = [torch.randn(2, 4, 6, 8, requires_grad=True) for _ in range(3)]
    product = 2 * (2 * 4) * 6 * 6 * 8
    with FlopCounterMode(display=False, custom_mapping=dict(ATTENTION)) as counter:
        out = torch.nn.functional.scaled_dot_product_attention(*heads)
        assert counter.get_total_flops() == 2 * product
        out.sum().backward()
    assert counter.get_total_flops() == (2 + 5) * product


def test_a_linear_model_by_hand() -> None:
    """The head alone: 2 n k m forward and, for its weights, as much backward."""
    frozen = build("bert", "meta").requires_grad_(requires_grad=False).train()
    frozen.classifier.bias.requires_grad = True  # something must train
    head = frozen.classifier.weight
    with_head = flops("bert", {"components": []}, 2, 6)
    assert with_head - step_cost(frozen, 2, 6).flops == 2 * 2 * head.numel()


def test_layers_below_the_lowest_that_trains_cost_no_backward() -> None:
    last, first, every = (
        flops("bert", {"method": "lora", "layers": layers})
        for layers in ("last:1", "first:1", "all")
    )
    assert last < first < every


def test_batches_cost_in_proportion() -> None:
    assert flops("llama", {"method": "full"}, 6) == 3 * flops("llama", {"method": "full"}, 2)
