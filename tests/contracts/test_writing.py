"""Models that write text, by every method: what trains, what is loaded, what later tokens change.

`test_methods.py` holds the methods to the rest of their contract, on models with a new head.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, PromptTuningConfig, get_peft_model
from torch import nn
from torch.nn.functional import pad
from transformers import PreTrainedModel

from autopeft.errors import SpaceError
from autopeft.methods.compose import attach, count_parameters, read_configuration, refusal
from autopeft.methods.inserted import InsertedMethod
from autopeft.methods.load_adapter import load_adapter
from autopeft.methods.method import AttachContext, Attachment
from autopeft.methods.presets import preset
from autopeft.methods.registry import get_method, method_names
from autopeft.models.completions import IGNORED
from autopeft.models.loading import random_model
from autopeft.models.spec import ModelSpec, inspect_model
from autopeft.space.configuration import Configuration
from tests.contracts.test_methods import state
from tests.tiny import ALL, build, data_of

KIND = "language_modeling"
#: Methods that mix the tokens of a batch; see `test_what_mixes_tokens_is_refused`.
MIXES = {"lily"}
GATED = {"gate": "input"}
#: One method of each way of attaching, and presets.
WAYS: dict[str, dict[str, Any] | str] = {
    "lora": {"method": "lora", "targets": "linear", "variant": "dora"},
    "ln_tuning": {"method": "ln_tuning", "targets": "norm.all"},
    "p_tuning": {"method": "p_tuning", "length": 3, "width": 8},
    "adaption_prompt": {"method": "adaption_prompt", "length": 3},
    "mam": "mam",
    "unipelt": "unipelt",
    "prompts": {
        "components": [
            {"method": "prompt_tuning", "length": 3},
            {"method": "serial_adapter", **GATED, "targets": "attn.o+mlp.down"},
            {"method": "parallel_adapter", **GATED},
            {"method": "lora"},
            {"method": "update_gate"},
        ]
    },
}
COMPOSITES = ("mam", "unipelt", "prompts")
CASES = [
    *(pytest.param(name, "llama", id=name) for name in method_names() if name not in MIXES),
    *(pytest.param(f"way:{n}", f, id=f"{n}-{f}") for n in WAYS for f in ("gpt2", "t5")),
    *(
        pytest.param(f"way:{n}", f, id=f"{n}-{f}")
        for n in COMPOSITES
        for f in ("llama", "opt", "gemma3_text", "bart")
    ),
]

STEPS, N_NEW = 2, 3
IDS = torch.randint(3, 99, (4, 9), generator=torch.Generator().manual_seed(2))
TARGETS = torch.randint(3, 99, (4, 6), generator=torch.Generator().manual_seed(5))


def plain_data(name: str, spec: ModelSpec) -> dict[str, Any]:
    if not name.startswith("way:"):
        return data_of(name)
    way = WAYS[name.removeprefix("way:")]
    return preset(way, spec) if isinstance(way, str) else way


def attached(name: str, family: str) -> tuple[Attachment, ModelSpec, Configuration]:
    model = build(family, kind=KIND)
    spec = inspect_model(model)
    configuration = read_configuration(plain_data(name, spec), spec)
    torch.manual_seed(3)
    context = AttachContext(spec=spec, total_steps=8, seed=3)
    return attach(model, configuration, context), spec, configuration


def batch(spec: ModelSpec) -> dict[str, torch.Tensor]:
    labels = TARGETS.clone() if spec.output == "target_tokens" else IDS.clone()
    labels[:, 0] = IGNORED
    return {"input_ids": IDS, "attention_mask": torch.ones_like(IDS), "labels": labels}


def train(attachment: Attachment, spec: ModelSpec) -> None:
    optimizer = torch.optim.Adam([p for _, p in attachment.trainable()], lr=1e-2)
    torch.manual_seed(4)
    attachment.model.train()
    for step in range(1, STEPS + 1):
        optimizer.zero_grad()
        attachment.model(**batch(spec)).loss.backward()
        optimizer.step()
        attachment.after_optimizer_step(step)


def move(attachment: Attachment) -> None:
    """Give all that trains values of its own, so that nothing is right because it is small."""
    torch.manual_seed(6)
    with torch.no_grad():
        for name, parameter in attachment.trainable():
            scale = 1.0 if "input_gate" in name else 0.1
            parameter.add_(scale * torch.randn(parameter.shape))


def logits(
    model: nn.Module, spec: ModelSpec, ids: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Return what is given for each token of a text; T5's encoder reads `IDS` beside it."""
    model.eval()
    text = {"input_ids": ids, "attention_mask": mask}
    if spec.output == "target_tokens":
        read = IDS[: len(ids)]
        text = {f"decoder_{name}": values for name, values in text.items()}
        text |= {"input_ids": read, "attention_mask": torch.ones_like(read)}
    with torch.no_grad():
        return model(**text, use_cache=False).logits


def of_text(model: nn.Module, spec: ModelSpec, ids: torch.Tensor = IDS) -> torch.Tensor:
    return logits(model, spec, ids, torch.ones_like(ids))


def step_by_step(model: nn.Module, spec: ModelSpec) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the likeliest tokens and what they were chosen by; all is computed for each."""
    text = torch.full((4, 1), 2) if spec.output == "target_tokens" else IDS
    found = []
    for _ in range(N_NEW):
        found.append(of_text(model, spec, text)[:, -1:])
        text = torch.cat([text, found[-1].argmax(dim=-1)], dim=1)
    return text[:, -N_NEW:], torch.cat(found, dim=1)


def generated(
    model: Any, ids: torch.Tensor = IDS, mask: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the same as `generate` does it."""
    settings = model.generation_config
    settings.eos_token_id = settings.forced_eos_token_id = None  # all rows have one length
    assert settings.use_cache
    output = model.eval().generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids) if mask is None else mask,
        max_new_tokens=N_NEW,
        do_sample=False,
        pad_token_id=0,
        decoder_start_token_id=2,
        return_dict_in_generate=True,
        output_logits=True,
    )
    return output.sequences[:, -N_NEW:], torch.stack(output.logits, dim=1)


def is_tied(model: PreTrainedModel) -> bool:
    return model.get_output_embeddings().weight is model.get_input_embeddings().weight


def check_that_tokens_follow_from_earlier_ones(model: nn.Module, spec: ModelSpec) -> None:
    """Neither from later ones, nor from filling, nor from other rows."""
    plain = of_text(model, spec)
    for place in (1, 5):
        changed = IDS.clone()
        changed[:, place] = 3 + (changed[:, place] + 7) % 90
        found = of_text(model, spec, changed)
        assert torch.allclose(found[:, :place], plain[:, :place], atol=1e-5)
        assert not torch.allclose(found[:, place:], plain[:, place:], atol=1e-3)
    filled = logits(model, spec, pad(IDS, (0, 3)), pad(torch.ones_like(IDS), (0, 3)))
    assert torch.allclose(filled[:, : IDS.shape[1]], plain, atol=1e-5)
    assert torch.allclose(of_text(model, spec, IDS[:1, :5]), plain[:1, :5], atol=1e-5)


@pytest.mark.parametrize(("name", "family"), CASES)
def test_the_adapter_trains_and_nothing_else(name: str, family: str) -> None:
    bare = build(family, kind=KIND)
    before, tied = state(bare), is_tied(bare)
    attachment, spec, configuration = attached(name, family)
    predicted = count_parameters(configuration, spec)
    assert sum(p.numel() for _, p in attachment.trainable()) == predicted
    assert spec.head_modules == ()
    base = of_text(bare, spec)
    if all(get_method(c.method).info.starts_at_base for c in configuration.components):
        assert torch.allclose(of_text(attachment.model, spec), base, atol=1e-5)
    move(attachment)
    train(attachment, spec)
    assert not torch.allclose(of_text(attachment.model, spec), base, atol=1e-3)
    assert not [n for n, p in attachment.trainable() if p.grad is None]
    check_that_tokens_follow_from_earlier_ones(attachment.model, spec)
    restored = attachment.detach()
    after = state(restored)
    assert list(after) == list(before)
    assert not [n for n, tensor in after.items() if not torch.equal(tensor, before[n])]
    assert is_tied(restored) == tied
    assert not any(p.requires_grad for p in restored.parameters())


@pytest.mark.parametrize(("name", "family"), CASES)
def test_what_is_loaded_writes_what_was_trained(name: str, family: str, tmp_path: Path) -> None:
    """With the keys and values kept that `generate` keeps, and without."""
    attachment, spec, configuration = attached(name, family)
    move(attachment)
    train(attachment, spec)
    trained = of_text(attachment.model, spec)
    tokens, chosen_by = step_by_step(attachment.model, spec)
    attachment.save(tmp_path)
    fresh, methods = build(family, kind=KIND), [c.method for c in configuration.components]
    if methods == ["full"]:
        loaded: Any = type(fresh).from_pretrained(tmp_path)
    elif len(methods) == 1 and not isinstance(get_method(methods[0]), InsertedMethod):
        loaded = PeftModel.from_pretrained(fresh, str(tmp_path))
        task = "SEQ_2_SEQ_LM" if spec.output == "target_tokens" else "CAUSAL_LM"
        assert loaded.peft_config["default"].task_type == task
    else:
        loaded = load_adapter(fresh, tmp_path)
    assert torch.allclose(of_text(loaded, spec), trained, atol=1e-5)
    written, found = generated(loaded)
    assert torch.equal(written, tokens)
    assert torch.allclose(found, chosen_by, atol=1e-5)
    # Llama's linear modules have no bias that BitFit's could be merged into.
    if len(methods) == 1 and get_method(methods[0]).info.mergeable and methods != ["bitfit"]:
        loaded.merge_adapter()
        assert torch.allclose(of_text(loaded, spec), trained, atol=1e-4)


@pytest.mark.parametrize("name", ["mam", "unipelt", "prompts", "adaption_prompt"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
def test_rows_filled_on_the_left_write_what_they_write_alone(name: str, family: str) -> None:
    """As `generate` wants rows of different lengths."""
    attachment, _, _ = attached(f"way:{name}", family)
    move(attachment)
    short, long = IDS[:1, :5], IDS[1:2]
    mask = torch.cat([pad(torch.ones_like(short), (4, 0)), torch.ones_like(long)])
    _, together = generated(attachment.model, torch.cat([pad(short, (4, 0)), long]), mask)
    for row, ids in enumerate((short, long)):
        _, alone = generated(attachment.model, ids)
        assert torch.allclose(together[row], alone[0], atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3_text"])
def test_trained_tokens_are_pefts(family: str) -> None:
    attachment, spec, _ = attached("prompt_tuning", family)
    move(attachment)
    [(_, trained)] = attachment.trainable()
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=len(trained))
    theirs = get_peft_model(build(family, kind=KIND), config)
    with torch.no_grad():
        theirs.prompt_encoder["default"].embedding.weight.copy_(trained)
    expected = of_text(theirs, spec)[:, len(trained) :]
    assert torch.allclose(of_text(attachment.model, spec), expected, atol=1e-5)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize(
    "method", [n for n in method_names() if "embedding" in get_method(n).info.module_types]
)
def test_embeddings_are_refused_where_the_head_shares_them(
    method: str, family: str, tmp_path: Path
) -> None:
    def random(*, tied: bool) -> PreTrainedModel:
        config = ALL[family]()
        config.tie_word_embeddings = tied
        torch.manual_seed(0)
        model = random_model(config, KIND).requires_grad_(requires_grad=False)
        assert is_tied(model) == tied
        return model

    data = {"method": method, "targets": "embed.tokens"}
    with pytest.raises(SpaceError, match="in several modules"):
        read_configuration(data, inspect_model(random(tied=True)))
    model = random(tied=False)
    spec = inspect_model(model)
    context = AttachContext(spec=spec, total_steps=8, seed=3)
    attachment = attach(model, read_configuration(data, spec), context)
    train(attachment, spec)
    trained = of_text(attachment.model, spec)
    attachment.save(tmp_path)
    loaded: Any = PeftModel.from_pretrained(random(tied=False), str(tmp_path))
    assert torch.allclose(of_text(loaded, spec), trained, atol=1e-5)
    loaded.merge_adapter()
    assert torch.allclose(of_text(loaded, spec), trained, atol=1e-5)


@pytest.mark.parametrize("method", sorted(MIXES))
@pytest.mark.parametrize("family", ["llama", "t5"])
def test_what_mixes_tokens_is_refused(method: str, family: str) -> None:
    spec = inspect_model(build(family, "meta", KIND))
    reason = refusal(get_method(method), spec)
    assert reason is not None
    assert "what comes after it" in reason
    with pytest.raises(SpaceError, match="what comes after it"):
        read_configuration({"method": method}, spec)


def test_a_configuration_without_components_is_refused() -> None:
    """A classifier would train its head."""
    spec = inspect_model(build("llama", "meta", KIND))
    with pytest.raises(SpaceError, match="Nothing trains: there is no component"):
        read_configuration(preset("head", spec), spec)
