"""Several components on one model, and our own format for what peft has none for."""

from pathlib import Path
from typing import Any

import pytest
import torch

from autopeft.cost.memory import step_cost
from autopeft.errors import ModelError, SpaceError
from autopeft.methods.adapter_files import DESCRIPTION
from autopeft.methods.compose import attach, count_parameters, read_configuration
from autopeft.methods.composite import on_meta
from autopeft.methods.load_adapter import load_adapter
from autopeft.methods.method import AttachContext, Attachment
from autopeft.methods.stored import stored_bytes
from autopeft.models.spec import ModelSpec, inspect_model
from autopeft.space.configuration import Configuration
from tests.contracts.test_methods import STEPS, state, train
from tests.files import tensor_bytes
from tests.tiny import CONFIGS, build, inputs, logits

Components = list[dict[str, Any]]
PARALLEL = {"method": "parallel_adapter", "bottleneck": 4}
SERIAL = {"method": "serial_adapter", "bottleneck": 3}
PREFIX = {"method": "prefix", "length": 3}
LORA = {"method": "lora", "rank": 2}
GATED = {"gate": "input"}
COMPOSITES: dict[str, Components] = {
    "head": [],
    "autopeft": [SERIAL, {**PARALLEL, "layers": "last:1"}, PREFIX],
    "houlsby and parallel": [{**SERIAL, "targets": "attn.o+mlp.down"}, PARALLEL],
    "mam": [PREFIX, PARALLEL],
    "unipelt": [LORA, PREFIX, SERIAL],
    "unipelt gated": [LORA, {"method": "update_gate"}, {**PREFIX, **GATED}, {**SERIAL, **GATED}],
    "prompts": [{"method": "prompt_tuning", "length": 3}, {"method": "adaption_prompt"}, SERIAL],
    "two of peft": [LORA, {"method": "ia3", "targets": "mlp.down"}],
    "lora in and around": [{**LORA, "targets": "linear"}, PARALLEL, SERIAL],
    "adalora with others": [{"method": "adalora", "rank": 2}, {"method": "ln_tuning"}, PARALLEL],
    "a frozen factor": [{**LORA, "variant": "fa"}, PARALLEL],
    "shira under an adapter": [{"method": "shira", "targets": "mlp"}, SERIAL],
}
#: Identity at the start is promised by all but the prefix.
NEARNESS = {True: 0.3, False: 1e-5}
CASES = [
    # RoBERTa's layers are BERT's.
    pytest.param(
        name,
        family,
        id=f"{name}-{family}",
        marks=[pytest.mark.slow] if family == "roberta" else [],
    )
    for name in COMPOSITES
    for family in CONFIGS
    if (name, family) not in {("shira under an adapter", "gpt2"), ("prompts", "vit")}
]


def attached(name: str, family: str) -> tuple[Attachment, ModelSpec, Configuration]:
    model = build(family)
    spec = inspect_model(model)
    configuration = read_configuration({"components": COMPOSITES[name]}, spec)
    torch.manual_seed(3)
    context = AttachContext(spec=spec, total_steps=STEPS, seed=3)
    return attach(model, configuration, context), spec, configuration


@pytest.mark.parametrize(("name", "family"), CASES)
def test_counts_agree(name: str, family: str) -> None:
    attachment, spec, configuration = attached(name, family)
    predicted = count_parameters(configuration, spec) + spec.head_params
    assert sum(p.numel() for _, p in attachment.trainable()) == predicted
    context = AttachContext(spec=spec, total_steps=STEPS, seed=3)
    bare = build(family, "meta").requires_grad_(requires_grad=False)
    meta = on_meta(bare, configuration.components, context)
    assert sum(p.numel() for p in meta.parameters() if p.requires_grad) == predicted
    real = step_cost(attachment.model.train(), 4, 10)
    assert step_cost(meta.train(), 4, 10).memory == real.memory


@pytest.mark.parametrize(("name", "family"), CASES)
def test_the_base_comes_back(name: str, family: str) -> None:
    before, base = state(build(family)), logits(build(family), family)
    attachment, spec, _ = attached(name, family)
    methods = {c["method"] for c in COMPOSITES[name]}
    if "prompt_tuning" not in methods:  # whose tokens move the output by what they say
        start = logits(attachment.model, family)
        assert torch.allclose(start, base, atol=NEARNESS["prefix" in methods])
    train(attachment, family, steps=3)
    assert not torch.allclose(logits(attachment.model, family), base, atol=1e-4)
    after = state(attachment.detach())
    assert list(after) == list(before)
    in_head = tuple(f"{head}." for head in spec.head_modules)
    for key, tensor in after.items():
        if not key.startswith(in_head):
            assert torch.equal(tensor, before[key]), key


@pytest.mark.parametrize(("name", "family"), CASES)
def test_saved_and_loaded(name: str, family: str, tmp_path: Path) -> None:
    attachment, spec, configuration = attached(name, family)
    train(attachment, family, steps=STEPS)
    trained = logits(attachment.model, family)
    attachment.save(tmp_path)
    context = AttachContext(spec=spec, total_steps=STEPS, seed=3)
    bare = build(family, "meta").requires_grad_(requires_grad=False)
    meta = on_meta(bare, configuration.components, context)
    assert stored_bytes(meta, configuration.components) == tensor_bytes(tmp_path)
    assert torch.equal(logits(load_adapter(build(family), tmp_path), family), trained)


@pytest.mark.parametrize("name", ["autopeft", "unipelt gated"])
@pytest.mark.parametrize("family", CONFIGS)
def test_gradient_checkpointing_changes_nothing(name: str, family: str) -> None:
    losses = []
    for checkpointing in (False, True):
        attachment, _, _ = attached(name, family)
        base: Any = attachment.model
        if checkpointing:
            base.activation_checkpointing_enable()
        torch.manual_seed(5)
        labels = torch.tensor([0, 1, 2, 0])
        loss = base.train()(**inputs(family), labels=labels).loss
        loss.backward()
        gradients = [p.grad for _, p in attachment.trainable()]
        assert all(g is not None for g in gradients)
        losses.append([loss.detach(), *gradients])
    for plain, checkpointed in zip(*losses, strict=True):
        assert torch.allclose(plain, checkpointed, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("autopeft", "llama"),
        ("unipelt gated", "bert"),
        pytest.param("autopeft", "bert", marks=pytest.mark.slow),
        pytest.param("unipelt gated", "llama", marks=pytest.mark.slow),
        pytest.param("prompts", "bert", marks=pytest.mark.slow),
        pytest.param("prompts", "llama", marks=pytest.mark.slow),
    ],
)
def test_compiled_blocks_compute_the_same(name: str, family: str) -> None:
    """Traced and differentiated by torch.compile; the code that it would write is left out."""
    attachment, _, _ = attached(name, family)
    train(attachment, family, steps=2)
    found = []
    for compiled in (False, True):
        model: Any = attachment.model.train()
        if compiled:
            torch.compiler.reset()
            model = torch.compile(model, backend="aot_eager")
        torch.manual_seed(5)
        model.zero_grad()
        output = model(**inputs(family), labels=torch.tensor([0, 1, 2, 0]))
        output.loss.backward()
        gradients = [p.grad for _, p in attachment.trainable()]
        found.append([output.logits.detach(), *gradients])
    for plain, traced in zip(*found, strict=True):
        assert torch.allclose(plain, traced, atol=1e-5)


@pytest.mark.parametrize(
    "family",
    [
        *("bert", "llama", "electra", "modernbert", "opt", "gpt_neox", "mistral", "qwen3"),
        *("gemma3_text", "phi", "phi3"),
    ],
)
@pytest.mark.parametrize("name", ["mam", "unipelt gated"])
def test_padding_is_not_attended_to_beside_a_prefix(name: str, family: str) -> None:
    attachment, _, _ = attached(name, family)
    train(attachment, family, steps=3)
    batch = inputs(family)
    expected = logits(attachment.model, family)
    padded = {
        "input_ids": torch.nn.functional.pad(batch["input_ids"], (0, 4), value=0),
        "attention_mask": torch.nn.functional.pad(batch["attention_mask"], (0, 4), value=0),
    }
    with torch.no_grad():
        found = attachment.model.eval()(**padded).logits
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("components", "message"),
    [
        ([LORA, {"method": "loha"}], "both change"),
        ([LORA, {**LORA, "rank": 4}], "both change"),
        ([{**LORA, "targets": "attn"}, PREFIX, {**PREFIX, "length": 5}], "both change"),
        ([LORA, {"method": "adalora", "targets": "mlp"}], "do not go on one model"),
        ([LORA, {"method": "full", "targets": "backbone"}], "leaves nothing"),
        ([LORA, {**SERIAL, "bottleneck": 0}], "bottleneck"),
        ([{"method": "update_gate"}, SERIAL], "none changes 'bert.encoder.layer.0.attention.self"),
        ([LORA, {"method": "update_gate", "targets": "attn"}], "none changes 'bert.*self.key'"),
        ([{**LORA, "layers": "last:1"}, {"method": "update_gate"}], "none changes 'bert.*layer.0"),
        ([{**LORA, "init": "pissa"}, {"method": "update_gate"}], "lora changes the weights of"),
    ],
)
def test_components_that_cannot_go_together(components: Components, message: str) -> None:
    spec = inspect_model(build("bert", "meta"))
    with pytest.raises(SpaceError, match=message):
        read_configuration({"components": components}, spec)


def test_an_adapter_for_another_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no adapter"):
        load_adapter(build("bert"), tmp_path)
    attachment, _, _ = attached("mam", "bert")
    attachment.save(tmp_path)
    with pytest.raises(ModelError, match="is for a bert of 2 layers, the model is a llama"):
        load_adapter(build("llama"), tmp_path)
    text = (tmp_path / DESCRIPTION).read_text()
    (tmp_path / DESCRIPTION).write_text(text.replace('"schema_version": 1', '"schema_version": 9'))
    with pytest.raises(ModelError, match="not written by this version"):
        load_adapter(build("bert"), tmp_path)
