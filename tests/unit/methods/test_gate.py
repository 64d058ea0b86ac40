"""Gates that read the input: closed, open, one example at a time, without the padding."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from autopeft.cost.budget import ParamBudget
from autopeft.cost.candidates import CandidateSpace
from autopeft.errors import SpaceError
from autopeft.methods.compose import attach, count_parameters, read_configuration
from autopeft.methods.gate import Gate
from autopeft.methods.library import LibraryMethod
from autopeft.methods.load_adapter import load_adapter
from autopeft.methods.method import AttachContext, Attachment
from autopeft.methods.registry import get_method, method_names
from autopeft.models.spec import inspect_model
from tests.contracts.test_methods import STEPS, train
from tests.spaces import space_of
from tests.tiny import ALL, build, inputs, logits

GATED = {"gate": "input"}
SERIAL = {"method": "serial_adapter", "bottleneck": 3, "activation": "gelu"}
PARALLEL = {"method": "parallel_adapter", "bottleneck": 3, "activation": "gelu"}
PREFIX = {"method": "prefix", "length": 3}
LORA = {"method": "lora", "rank": 2}
GATE = {"method": "update_gate"}
UNIPELT = [LORA, GATE, {**PREFIX, **GATED}, {**SERIAL, **GATED}]
TOKENS = sorted(set(ALL) & {"bert", "gpt2", "llama", "t5", "opt", "modernbert"})


def attached(family: str, components: list[dict[str, Any]]) -> Attachment:
    model = build(family)
    spec = inspect_model(model)
    torch.manual_seed(3)
    context = AttachContext(spec=spec, total_steps=STEPS, seed=3)
    return attach(model, read_configuration({"components": components}, spec), context)


def gates(attachment: Attachment) -> list[Gate]:
    return [module for module in attachment.model.modules() if isinstance(module, Gate)]


def move(attachment: Attachment) -> None:
    """Give every adapter parameter and gate a value of its own."""
    torch.manual_seed(4)
    with torch.no_grad():
        for _, parameter in attachment.trainable():
            parameter.add_(0.2 * torch.randn(parameter.shape))
        for gate in gates(attachment):
            gate.read.weight.copy_(torch.randn(gate.read.weight.shape))


def shut(attachment: Attachment, bias: float) -> None:
    with torch.no_grad():
        for gate in gates(attachment):
            gate.read.weight.zero_()
            gate.read.bias.fill_(bias)


def seen(attachment: Attachment, batch: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Return what each gate gives, an example a row."""
    found: list[torch.Tensor] = []
    hooks = [
        gate.register_forward_hook(lambda _gate, _inputs, output: found.append(output))
        for gate in gates(attachment)
    ]
    with torch.no_grad():
        attachment.model.eval()(**batch)
    for hook in hooks:
        hook.remove()
    return [output.reshape(len(batch["input_ids"]), -1) for output in found]


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "t5", "vit", "opt"])
@pytest.mark.parametrize(
    "components",
    [[LORA, GATE], [{**SERIAL, **GATED}], [{**PARALLEL, **GATED}]],
    ids=["lora", "serial", "parallel"],
)
def test_a_closed_gate_gives_the_base_and_an_open_one_the_adapter(
    family: str, components: list[dict[str, Any]]
) -> None:
    base = logits(build(family), family)
    plain = [{k: v for k, v in c.items() if k != "gate"} for c in components if c != GATE]
    results = []
    for parts in (components, plain):
        attachment = attached(family, parts)
        tensors = [
            p for n, p in attachment.trainable() if "lora_" in n or ".up." in n or ".down." in n
        ]
        with torch.no_grad():
            for i, tensor in enumerate(tensors):
                torch.manual_seed(i)
                tensor.copy_(0.3 * torch.randn(tensor.shape))
        assert tensors
        shut(attachment, 100.0)
        results.append(logits(attachment.model, family))
        if parts is components:
            shut(attachment, -100.0)
            assert torch.allclose(logits(attachment.model, family), base, atol=1e-6)
    assert torch.allclose(*results, atol=1e-5)
    assert not torch.allclose(results[0], base, atol=1e-4)


def test_a_gate_scales_keys_and_values_of_a_prefix() -> None:
    gated, plain = attached("bert", [{**PREFIX, **GATED}]), attached("bert", [PREFIX])
    with torch.no_grad():
        for name, parameter in plain.trainable():
            if "prefix" in name:
                parameter.mul_(0.5)  # an untrained gate is half open
    assert torch.allclose(logits(gated.model, "bert"), logits(plain.model, "bert"), atol=1e-6)


@pytest.mark.parametrize("family", TOKENS)
def test_gates_lie_between_0_and_1_and_differ_from_example_to_example(family: str) -> None:
    attachment = attached(family, UNIPELT)
    for gate in seen(attachment, inputs(family)):
        assert torch.allclose(gate, torch.tensor(0.5), atol=1e-6)
    move(attachment)
    found = seen(attachment, inputs(family))
    assert len(found) == len(gates(attachment))
    for gate in found:
        assert ((gate > 0) & (gate < 1)).all()
        assert torch.equal(gate, gate[:, :1].expand_as(gate))
    assert any(len(gate[:, 0].unique()) == len(gate) for gate in found)


@pytest.mark.parametrize("family", TOKENS)
def test_an_example_has_the_gate_that_it_has_alone_and_without_padding(family: str) -> None:
    attachment = attached(family, UNIPELT)
    move(attachment)
    whole = inputs(family)
    together = seen(attachment, whole)
    for row in range(2):
        one = {key: value[row : row + 1] for key, value in whole.items()}
        for gate, expected in zip(seen(attachment, one), together, strict=True):
            assert torch.allclose(gate[0, 0], expected[row, 0], atol=1e-5)
    padded = {key: nn.functional.pad(value, (0, 5)) for key, value in whole.items()}
    for gate, expected in zip(seen(attachment, padded), together, strict=True):
        assert torch.allclose(gate[:, 0], expected[:, 0], atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "llama", "t5"])
def test_padding_stays_out_beside_trained_tokens(family: str) -> None:
    """T5's decoder has no such tokens: there the mean is over all that it reads."""
    attachment = attached(family, [{"method": "prompt_tuning", "length": 4}, *UNIPELT])
    move(attachment)
    model = attachment.model.eval()
    batch = inputs(family)
    padded = {key: nn.functional.pad(value, (0, 5)) for key, value in batch.items()}
    with torch.no_grad():
        same = torch.allclose(model(**padded).logits, model(**batch).logits, atol=1e-4)
    assert same == (family != "t5")


def test_a_row_of_padding_alone_and_no_mask_at_all() -> None:
    attachment = attached("bert", UNIPELT)
    move(attachment)
    batch = inputs("bert")
    without = seen(attachment, {"input_ids": batch["input_ids"]})
    for gate, expected in zip(without, seen(attachment, batch), strict=True):
        assert torch.allclose(gate, expected, atol=1e-6)
    batch["attention_mask"][0] = 0
    assert all(torch.isfinite(gate).all() for gate in seen(attachment, batch))


LINEAR = set(get_method("update_gate").info.kinds)


@pytest.mark.parametrize(
    "method",
    [
        name
        for name in method_names()
        if isinstance(get_method(name), LibraryMethod)
        and set(get_method(name).info.default_targets) <= LINEAR
    ],
)
def test_any_method_of_peft_can_be_gated(method: str) -> None:
    places = "+".join(get_method(method).info.default_targets)
    attachment = attached("bert", [{"method": method}, {**GATE, "targets": places}])
    train(attachment, "bert", 3)
    shut(attachment, -100.0)
    base = build("bert")
    for name in inspect_model(base).head_modules:
        trained = attachment.model.get_submodule(f"base_model.model.{name}")
        base.get_submodule(name).load_state_dict(trained.state_dict())
    assert torch.allclose(logits(attachment.model, "bert"), logits(base, "bert"), atol=1e-5)


def test_adapters_written_before_there_were_gates(tmp_path: Path) -> None:
    attachment = attached("bert", [PREFIX, SERIAL])
    train(attachment, "bert", 2)
    trained = logits(attachment.model, "bert")
    attachment.save(tmp_path)
    description = tmp_path / "autopeft_adapter.json"
    text = description.read_text()
    older = "\n".join(line for line in text.splitlines() if '"gate"' not in line)
    assert older != text
    description.write_text(older.replace(",\n    }", "\n    }"))
    assert torch.equal(logits(load_adapter(build("bert"), tmp_path), "bert"), trained)


COMPOSITE = """
schema_version: 1
name: mine
about: LoRA with a gate or without.
components: [lora, update_gate]
hyperparameters:
  lora_layers: {type: layer_mask, sets: lora.layers, empty: true}
  gate_layers: {type: layer_mask, sets: update_gate.layers, empty: true}
"""


def test_a_search_proposes_no_gate_on_nothing() -> None:
    spec = inspect_model(build("bert", "meta"))
    space = CandidateSpace(
        space_of(COMPOSITE, n_layers=2), spec, ParamBudget.parse("50%", spec.base_params)
    )
    assert space.fits({"lora_layers": "11", "gate_layers": "01"})
    assert space.fits({"lora_layers": "11", "gate_layers": "00"})
    assert not space.fits({"lora_layers": "10", "gate_layers": "01"})
    assert not space.fits({"lora_layers": "00", "gate_layers": "11"})


@pytest.mark.parametrize("chosen", ["methods: [lora, update_gate]", "methods: [update_gate]"])
def test_a_space_of_one_method_a_point_cannot_name_it(chosen: str) -> None:
    with pytest.raises(SpaceError, match="name both under 'components'"):
        space_of(f"schema_version: 1\nname: mine\nabout: No.\n{chosen}\nhyperparameters: {{}}\n")


def test_numbers_of_gates() -> None:
    spec = inspect_model(build("bert", "meta"))

    def count(*components: dict[str, Any]) -> int:
        return count_parameters(read_configuration({"components": list(components)}, spec), spec)

    assert count({**SERIAL, **GATED}) - count(SERIAL) == 2 * 33
    assert count({**PARALLEL, **GATED}) - count(PARALLEL) == 2 * 33
    assert count({**PREFIX, **GATED}) - count(PREFIX) == 2 * 33
    assert count(LORA, GATE) - count(LORA) == 2 * 2 * 33
