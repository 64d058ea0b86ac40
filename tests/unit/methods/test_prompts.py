"""Prompts: the same as peft's where peft's can do it, and unseen by the heads where it cannot."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AdaptionPromptConfig, PromptEncoderConfig, get_peft_model
from torch import nn

from autopeft.errors import SpaceError
from autopeft.methods.adapter_files import read_adapter
from autopeft.methods.compose import attach, read_configuration
from autopeft.methods.method import AttachContext, Attachment
from autopeft.methods.prompt import PromptNetwork
from autopeft.models.spec import inspect_model
from tests.tiny import CONFIGS, build, inputs, logits


def attached(family: str, **data: Any) -> Attachment:
    model = build(family)
    spec = inspect_model(model)
    torch.manual_seed(3)
    context = AttachContext(spec=spec, total_steps=4, seed=3)
    return attach(model, read_configuration(data, spec), context)


def test_a_gated_prompt_is_pefts() -> None:
    family = "llama"  # on GPT-2, peft adds what has not been through the output projection
    ours = attached(family, method="adaption_prompt", length=5)
    theirs = get_peft_model(build(family), AdaptionPromptConfig(adapter_len=5, adapter_layers=2))
    mine = {n: p for n, p in ours.trainable() if "beside" in n}
    yours = {n: p for n, p in theirs.named_parameters() if "adaption" in n}
    prompts = [p for n, p in yours.items() if n.endswith("prompt")]
    gates = [p for n, p in yours.items() if n.endswith("gate")]
    with torch.no_grad():
        for i, (prompt, gate) in enumerate(zip(prompts, gates, strict=True)):
            gate.fill_(0.5 + i)
            list(mine.values())[2 * i].copy_(prompt[0])
            list(mine.values())[2 * i + 1].copy_(gate)
    got, base = logits(ours.model, family), logits(build(family), family)
    assert torch.allclose(got, logits(theirs, family), atol=1e-5)
    assert not torch.allclose(got, base, atol=1e-3)


def test_the_network_of_p_tuning_is_pefts() -> None:
    config = PromptEncoderConfig(
        task_type="SEQ_CLS", num_virtual_tokens=5, encoder_hidden_size=8, token_dim=32
    )
    theirs = get_peft_model(build("bert"), config)
    encoder = theirs.prompt_encoder["default"]
    ours = PromptNetwork(5, 32, 8)
    with torch.no_grad():
        ours.vectors.copy_(encoder.embedding.weight)
        ours.network.load_state_dict(encoder.mlp_head.state_dict())
    assert torch.allclose(ours(), encoder(torch.arange(5)), atol=1e-6)


@pytest.mark.parametrize("family", sorted(set(CONFIGS) - {"vit"}))  # which reads no words
def test_a_padded_row_gives_what_it_gives_alone(family: str) -> None:
    """Heads find the token that they read, and padding stays unseen."""
    attachment = attached(family, method="prompt_tuning", length=4)
    model = attachment.model.eval()
    batch = {key: value[:1] for key, value in inputs(family).items()}
    padded = {key: nn.functional.pad(value, (0, 6)) for key, value in batch.items()}
    with torch.no_grad():
        assert torch.allclose(model(**padded).logits, model(**batch).logits, atol=1e-5)


def test_types_of_tokens_are_extended() -> None:
    attachment = attached("bert", method="prompt_tuning", length=4)
    batch = inputs("bert")
    types = torch.ones_like(batch["input_ids"])
    model = attachment.model.eval()
    with torch.no_grad():
        plain = model(**batch).logits
        zeros = model(**batch, token_type_ids=torch.zeros_like(types)).logits
        ones = model(**batch, token_type_ids=types).logits
    assert torch.allclose(plain, zeros, atol=1e-6)
    assert not torch.allclose(plain, ones, atol=1e-4)


def test_more_tokens_than_positions_are_refused() -> None:
    attachment = attached("bert", method="prompt_tuning", length=53)  # 12 + 53 > 64
    with pytest.raises(SpaceError, match="12 tokens and 53 trained ones are more than the 64"):
        attachment.model(**inputs("bert"))


@pytest.mark.parametrize(
    ("data", "tensors"),
    [
        ({"method": "p_tuning", "length": 4, "width": 8}, {(4, 32)}),
        ({"method": "prefix", "length": 4, "mlp_width": 32}, {(4, 32)}),
    ],
    ids=["p_tuning", "prefix"],
)
@pytest.mark.parametrize("others", [[], [{"method": "serial_adapter"}]], ids=["alone", "composite"])
def test_what_only_the_training_needs_is_not_written(
    data: dict[str, Any], tensors: set[tuple[int, ...]], others: list[Any], tmp_path: Path
) -> None:
    attachment = attached("bert", components=[data, *others])
    attachment.save(tmp_path)
    description, written = read_adapter(tmp_path)
    prompts = {n: t for n, t in written.items() if "prompt" in n or "prefix" in n}
    assert {tuple(t.shape) for t in prompts.values()} == tensors
    assert not any(component.get("mlp_width") for component in description["components"])
    assert "p_tuning" not in {component["method"] for component in description["components"]}
