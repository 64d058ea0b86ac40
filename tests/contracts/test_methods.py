"""One suite for every registered method on every family; a new method inherits it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import nn

from autopeft.errors import SpaceError
from autopeft.methods.compose import attach, count_parameters, read_configuration, refusal
from autopeft.methods.composite import on_meta
from autopeft.methods.inserted import InsertedMethod
from autopeft.methods.load_adapter import load_adapter
from autopeft.methods.method import AttachContext, Attachment
from autopeft.methods.registry import get_method, method_names
from autopeft.methods.stored import stored_bytes
from autopeft.models.spec import ModelSpec, inspect_model
from autopeft.space.configuration import Configuration
from tests.files import tensor_bytes
from tests.tiny import CONFIGS, build, data_of, inputs, logits

#: What a family's structure does not allow, with a word of the reason.
REFUSED = {
    (name, "gpt2"): "are Conv1D modules (transposed linear ones), and peft has"
    for name in method_names()
    if {"linear", "conv1d"} & set(get_method(name).info.module_types) == {"linear"}
}
REFUSED |= {(name, "vit"): "no embeddings of words" for name in ("p_tuning", "prompt_tuning")}
#: BEFT's merge adds to a bias; these families' linear modules have none.
NO_BIAS = {"llama", "t5"}
#: Methods that peft 0.21 has for `Linear` alone.
LINEAR_ALONE = {
    *("bitfit", "boft", "c3a", "delora", "glora", "hra", "loha", "lokr", "miss", "oft", "peanut"),
    *("psoft", "road", "shira", "supertuning"),
    *("adamss", "lily", "osf"),
}
WORDS = "embed.tokens"
Choices = dict[str, str | int]
VARIANTS: dict[str, list[Choices]] = {
    "prefix": [{}, {"mlp_width": 32}, {"gate": "input"}],
    "serial_adapter": [{}, {"gate": "input"}],
    "parallel_adapter": [{}, {"gate": "input"}],
    "ssf": [{"part": part} for part in ("both", "scale", "shift")],
    "lora": [
        *({"variant": v} for v in ("plain", "rslora", "dora", "fa", "kasa", "velora")),
        *(
            {"init": i}
            for i in ("gaussian", "orthogonal", "pissa", "olora", "mica", "eva", "corda", "lora_ga")
        ),
        *({"targets": WORDS, "variant": v} for v in ("plain", "rslora", "dora")),
        {"targets": WORDS, "init": "mica"},
    ],
    "bitfit": [{}, {"targets": "linear+norm.all"}],
    **{name: [{}, {"targets": WORDS}] for name in ("hira", "oft", "tinylora")},
}
#: Choices that move the output although the method as such does not.
MOVES = ({"variant": "kasa"},)
#: Choices that a family cannot take.
WITHOUT = {("lora", "kasa", "gpt2"), ("lora", "olora", "gpt2")}
WITHOUT |= {
    (method, WORDS, family)
    for method in ("lora", "hira", "oft", "tinylora")
    for family in ("t5", "vit")  # whose decoder reads the same words; which has none
}
WITHOUT |= {("bitfit", "linear+norm.all", family) for family in NO_BIAS}


def _at_leisure(method: str, extra: Choices, family: str) -> bool:
    """RoBERTa's layers are BERT's; and further choices of a method are tried on two families."""
    further = extra != VARIANTS.get(method, [{}])[0]
    return family == "roberta" or (further and family not in {"bert", "llama"})


CASES = [
    pytest.param(
        method,
        extra,
        family,
        id="-".join([method, *map(str, extra.values()), family]),
        marks=[pytest.mark.slow] if _at_leisure(method, extra, family) else [],
    )
    for method in method_names()
    for extra in VARIANTS.get(method, [{}])
    for family in CONFIGS
    if (method, family) not in REFUSED
    and not any((method, choice, family) in WITHOUT for choice in extra.values())
]
STEPS = 8
#: Methods whose file is smaller at the end by what the training dropped.
PRUNES = {"adalora"}


def configured(method: str, extra: Choices, spec: ModelSpec) -> Configuration:
    return read_configuration(data_of(method, **extra, layers="last:1"), spec)


def attached(method: str, extra: Choices, family: str) -> tuple[Attachment, ModelSpec]:
    model = build(family)
    spec = inspect_model(model)
    torch.manual_seed(3)
    batches = [{**inputs(family), "labels": torch.tensor([0, 1, 2, 0])}]
    context = AttachContext(spec=spec, total_steps=STEPS, seed=3, batches=lambda: batches)
    return attach(model, configured(method, extra, spec), context), spec


def train(attachment: Attachment, family: str, steps: int) -> None:
    parameters = [p for _, p in attachment.trainable()]
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    labels = torch.tensor([0, 1, 2, 0])
    torch.manual_seed(4)  # dropout
    attachment.model.train()
    for step in range(1, steps + 1):
        loss = attachment.model(**inputs(family), labels=labels).loss
        loss.backward()
        optimizer.step()
        attachment.after_optimizer_step(step)
        optimizer.zero_grad()


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize(("method", "extra", "family"), CASES)
def test_counts_agree(method: str, extra: Choices, family: str) -> None:
    """Closed form = attached model = `meta` device."""
    model = build(family)
    spec = inspect_model(model)
    configuration = configured(method, extra, spec)
    predicted = count_parameters(configuration, spec)
    assert predicted > 0
    context = AttachContext(spec=spec, total_steps=STEPS, seed=0)
    attachment = attach(model, configuration, context)
    assert sum(p.numel() for _, p in attachment.trainable()) == predicted + spec.head_params
    bare = build(family, "meta")
    meta = on_meta(bare, configuration.components, context)
    counted = sum(p.numel() for p in meta.parameters() if p.requires_grad)
    assert counted == predicted + spec.head_params


@pytest.mark.parametrize(("method", "extra", "family"), CASES)
def test_output_at_the_start_is_the_base_models(method: str, extra: Choices, family: str) -> None:
    base = logits(build(family), family)
    attachment, _ = attached(method, extra, family)
    # Methods with a random start stay near the base all the same.
    exact = get_method(method).info.starts_at_base and extra not in MOVES
    # What a network makes is small, but T5's embeddings are not.
    nearness = 1.0 if (method, family) == ("p_tuning", "t5") else 0.3
    nearness = 1e-5 if exact else nearness
    assert torch.allclose(logits(attachment.model, family), base, atol=nearness)


@pytest.mark.parametrize(("method", "extra", "family"), CASES)
def test_training_changes_the_output_and_nothing_but_the_adapter(
    method: str, extra: Choices, family: str
) -> None:
    before = state(build(family))
    base = logits(build(family), family)
    attachment, spec = attached(method, extra, family)
    train(attachment, family, steps=3)
    assert not torch.allclose(logits(attachment.model, family), base, atol=1e-4)
    restored = attachment.detach()
    after = state(restored)
    assert list(after) == list(before)
    in_head = tuple(f"{name}." for name in spec.head_modules)
    for name, tensor in after.items():
        if not name.startswith(in_head):
            assert torch.equal(tensor, before[name]), name
    assert not any(p.requires_grad for p in restored.parameters())


@pytest.mark.parametrize(("method", "extra", "family"), CASES)
def test_every_trainable_tensor_gets_a_gradient(method: str, extra: Choices, family: str) -> None:
    attachment, _ = attached(method, extra, family)
    train(attachment, family, steps=2)  # LoRA's A has none while B is zero
    labels = torch.tensor([0, 1, 2, 0])
    attachment.model(**inputs(family), labels=labels).loss.backward()
    without = [n for n, p in attachment.trainable() if p.grad is None]
    # The pooled state does not reach every weight of a whole backbone.
    assert method == "full" or not without


@pytest.mark.parametrize(("method", "extra", "family"), CASES)
def test_saved_and_loaded_by_the_library_alone(
    method: str, extra: Choices, family: str, tmp_path: Path
) -> None:
    attachment, spec = attached(method, extra, family)
    train(attachment, family, steps=STEPS)
    trained = logits(attachment.model, family)
    attachment.save(tmp_path)
    assert not list(tmp_path.glob("*.bin"))
    components = configured(method, extra, spec).components
    context = AttachContext(spec=spec, total_steps=STEPS, seed=3)
    bare = build(family, "meta").requires_grad_(requires_grad=False)
    foreseen = stored_bytes(on_meta(bare, components, context), components)
    written = tensor_bytes(tmp_path)
    assert foreseen >= written if method in PRUNES else foreseen == written
    if method == "full":
        loaded: nn.Module = type(build(family)).from_pretrained(tmp_path)
    elif isinstance(get_method(method), InsertedMethod):
        loaded = load_adapter(build(family), tmp_path)
    else:
        loaded = PeftModel.from_pretrained(build(family), str(tmp_path))
    assert torch.allclose(logits(loaded, family), trained, atol=1e-6)


@pytest.mark.parametrize(("method", "extra", "family"), CASES)
def test_merged_output_equals_unmerged(method: str, extra: Choices, family: str) -> None:
    if not get_method(method).info.mergeable or (method == "bitfit" and family in NO_BIAS):
        pytest.skip("cannot be merged")
    attachment, _ = attached(method, extra, family)
    train(attachment, family, steps=3)
    unmerged = logits(attachment.model, family)
    attachment.model.merge_adapter()
    assert torch.allclose(logits(attachment.model, family), unmerged, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "extra", "family"), [case for case in CASES if case.values[2] in {"bert", "llama"}]
)
def test_attaching_is_reproducible(method: str, extra: Choices, family: str) -> None:
    first, _ = attached(method, extra, family)
    second, _ = attached(method, extra, family)
    train(first, family, steps=3)
    train(second, family, steps=3)
    assert torch.equal(logits(first.model, family), logits(second.model, family))


def test_gpt2_is_refused_by_what_peft_has_for_linear_modules_alone() -> None:
    assert {method for method, family in REFUSED if family == "gpt2"} == LINEAR_ALONE


@pytest.mark.parametrize("method", sorted(LINEAR_ALONE - {"osf"}))  # which passes them over
def test_peft_itself_refuses_a_transposed_linear_module(method: str) -> None:
    """When a new peft takes one, so can we."""
    model = build("gpt2")
    spec = inspect_model(model)
    linear = replace(spec, modules=tuple(replace(m, type="linear") for m in spec.modules))
    [component] = configured(method, {}, linear).components
    context = AttachContext(spec=linear, total_steps=STEPS, seed=0)
    with pytest.raises((TypeError, ValueError, NotImplementedError), match="not support"):
        get_method(method).attach(model, component, context)


@pytest.mark.parametrize(("method", "family"), REFUSED)
def test_refusals_say_why(method: str, family: str) -> None:
    spec = inspect_model(build(family, "meta"))
    reason = refusal(get_method(method), spec)
    assert reason is not None
    assert REFUSED[method, family] in reason


@pytest.mark.parametrize("method", method_names())
def test_info_is_complete(method: str) -> None:
    info = get_method(method).info
    assert info.name == method
    assert info.about
    assert 0 < info.default_learning_rate < 1
    assert set(info.default_targets) <= set(info.kinds)
    assert all(p.domain.contains(p.default) for p in info.parameters)


def test_what_does_not_go_alone_is_refused_alone() -> None:
    """So the suite has it beside a LoRA."""
    spec = inspect_model(build("bert", "meta"))
    others = [name for name in method_names() if not get_method(name).info.goes_alone]
    assert others == ["update_gate"]
    for method in others:
        with pytest.raises(SpaceError, match=f"{method} goes around what another component does"):
            read_configuration({"method": method}, spec)


def test_parameters_grow_linearly_with_the_rank_and_add_up_over_layers() -> None:
    spec = inspect_model(build("bert", "meta"))

    def count(rank: int, layers: str) -> int:
        data = {"method": "lora", "rank": rank, "layers": layers}
        return count_parameters(read_configuration(data, spec), spec)

    assert count(6, "all") == 3 * count(2, "all")
    assert count(4, "all") == count(4, "first:1") + count(4, "last:1")
