"""One method of each way of attaching on the families that the whole suite does not visit."""

from typing import Any

import pytest
import torch

from autopeft.cost.memory import step_cost
from autopeft.errors import SpaceError
from autopeft.methods.compose import attach, count_parameters, read_configuration, refusal
from autopeft.methods.composite import on_meta
from autopeft.methods.method import AttachContext
from autopeft.methods.registry import get_method, method_names
from autopeft.models.spec import inspect_model
from tests.contracts.test_methods import STEPS, state, train
from tests.families import FURTHER
from tests.tiny import ALL, build, data_of, inputs, logits

COMPONENTS: dict[str, dict[str, Any]] = {
    "lora": {"method": "lora", "targets": "linear", "rank": 2},
    "ia3": {"method": "ia3"},
    "ln_tuning": {"method": "ln_tuning", "targets": "norm.all"},
    "bitfit": {"method": "bitfit"},
    "serial_adapter": {
        "method": "serial_adapter",
        "targets": "attn.o+mlp.down",
        "bottleneck": 3,
        "activation": "gelu",  # three units of a ReLU can all be off
    },
    "parallel_adapter": {"method": "parallel_adapter", "bottleneck": 4},
    "prefix": {"method": "prefix", "length": 3},
    "gates": {
        "components": [
            {"method": "lora", "targets": "linear", "rank": 2},
            {"method": "update_gate", "targets": "linear"},
            {"method": "prefix", "length": 3, "gate": "input"},
            {"method": "serial_adapter", "bottleneck": 3, "activation": "gelu", "gate": "input"},
            {"method": "parallel_adapter", "bottleneck": 4, "gate": "input"},
        ]
    },
}
#: What a family's structure does not allow, with a word of the reason.
REFUSED = {
    (name, family): "does not go through transformers' interface"
    for name in ("prefix", "gates")
    for family in ("deberta-v2", "gemma2")  # which caps the logits
}
#: BART's decoder gets a mask of ones, which transformers drops once it has looked at it; on `meta`
#: it cannot look.
UPPER_BOUND = {"bart": 1.02}
CASES = [
    pytest.param(name, family, id=f"{name}-{family}")
    for name in COMPONENTS
    for family in FURTHER
    if (name, family) not in REFUSED
]


@pytest.mark.parametrize(("name", "family"), CASES)
def test_attached_counted_trained_and_detached(name: str, family: str) -> None:
    model = build(family)
    before, base, spec = state(model), logits(model, family), inspect_model(model)
    configuration = read_configuration(COMPONENTS[name], spec)
    context = AttachContext(spec=spec, total_steps=STEPS, seed=3)
    methods = [get_method(component.method) for component in configuration.components]
    torch.manual_seed(3)
    attachment = attach(model, configuration, context)
    predicted = count_parameters(configuration, spec) + spec.head_params
    assert sum(p.numel() for _, p in attachment.trainable()) == predicted

    bare = build(family, "meta").requires_grad_(requires_grad=False)
    meta = on_meta(bare, configuration.components, context).train()
    assert sum(p.numel() for p in meta.parameters() if p.requires_grad) == predicted
    real = step_cost(attachment.model.train(), 4, 10).memory
    bound = UPPER_BOUND.get(family, 1.0)
    assert real.total <= step_cost(meta, 4, 10).memory.total <= bound * real.total

    nearness = 1e-5 if all(m.info.starts_at_base for m in methods) else 0.5
    assert torch.allclose(logits(attachment.model, family), base, atol=nearness)
    train(attachment, family, steps=2)
    assert not torch.allclose(logits(attachment.model, family), base, atol=1e-4)
    attachment.model(**inputs(family), labels=torch.tensor([0, 1, 2, 0])).loss.backward()
    assert not [n for n, p in attachment.trainable() if p.grad is None or not p.grad.any()]

    after = state(attachment.detach())
    in_head = tuple(f"{head}." for head in spec.head_modules)
    assert list(after) == list(before)
    assert all(torch.equal(t, before[n]) for n, t in after.items() if not n.startswith(in_head))


@pytest.mark.parametrize(("name", "family"), REFUSED)
def test_refusals_say_why(name: str, family: str) -> None:
    spec = inspect_model(build(family, "meta"))
    method = "prefix" if name == "gates" else name
    reason = refusal(get_method(method), spec)
    assert reason is not None
    assert REFUSED[name, family] in reason
    with pytest.raises(SpaceError, match="does not go through"):
        read_configuration(COMPONENTS[name], spec)


@pytest.mark.parametrize("family", ALL)
def test_what_is_not_refused_can_be_counted_with_its_defaults(family: str) -> None:
    spec = inspect_model(build(family, "meta"))
    for name in method_names():
        if refusal(get_method(name), spec) is None:
            assert count_parameters(read_configuration(data_of(name), spec), spec) > 0


@pytest.mark.parametrize(
    ("component", "message"),
    [
        ({"method": "prefix", "targets": "attn.k"}, "needs keys and values"),
        ({"method": "parallel_adapter", "targets": "mlp.up"}, "first and one last linear module"),
        ({"method": "parallel_adapter", "targets": "mlp.down"}, "first and one last linear module"),
    ],
)
def test_half_of_a_place_is_refused(component: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        read_configuration(component, inspect_model(build("bert", "meta")))


@pytest.mark.parametrize(
    ("family", "width"),
    [("gpt2", 64), ("gpt_neox", 64), ("modernbert", 64), ("phi3", 32), ("gpt_bigcode", 16)],
)
def test_a_prefix_of_a_fused_projection_is_as_wide_as_its_keys_and_values(
    family: str, width: int
) -> None:
    """Width 32 in 4 heads; Phi-3 has 2 heads of keys and values, GPT-BigCode one."""
    spec = inspect_model(build(family, "meta"))
    prefix = read_configuration({"method": "prefix", "length": 5}, spec)
    assert count_parameters(prefix, spec) == 2 * 5 * width
