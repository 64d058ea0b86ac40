"""LoRA's variants and initialisations: which go together, and what each of them promises."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel

from autopeft.errors import SpaceError
from autopeft.methods.compose import attach, count_parameters, read_configuration
from autopeft.methods.method import AttachContext, Attachment
from autopeft.methods.registry import get_method
from autopeft.models.loading import random_model
from autopeft.models.spec import ModelSpec, inspect_model
from tests.families import bert_config
from tests.tiny import build, inputs, logits

CHOICES = {p.domain.name: p.domain for p in get_method("lora").info.parameters}
PAIRS = list(itertools.product(CHOICES["variant"].choices, CHOICES["init"].choices))
LABELS = torch.tensor([0, 1, 2, 0])


def attached(family: str = "bert", **params: str | float) -> tuple[Attachment, ModelSpec, int]:
    model = build(family)
    spec = inspect_model(model)
    configuration = read_configuration({"method": "lora", **params}, spec)
    torch.manual_seed(3)
    context = AttachContext(
        spec=spec, total_steps=4, seed=3, batches=lambda: [{**inputs(family), "labels": LABELS}]
    )
    return attach(model, configuration, context), spec, count_parameters(configuration, spec)


def deep_bert() -> PreTrainedModel:
    config = bert_config()
    config.num_hidden_layers = 4
    return random_model(config).requires_grad_(requires_grad=False)


def loss(attachment: Attachment) -> torch.Tensor:
    value: torch.Tensor = attachment.model(**inputs("bert"), labels=LABELS).loss
    return value


@pytest.mark.parametrize(("variant", "init"), PAIRS)
def test_every_pair_trains_or_is_refused(variant: str, init: str) -> None:
    try:
        attachment, spec, count = attached(variant=variant, init=init)
    except SpaceError as error:
        assert "lora's variant" in str(error)  # noqa: PT017 - the other pairs raise nothing
        return
    assert count > 0
    assert sum(p.numel() for _, p in attachment.trainable()) == count + spec.head_params
    loss(attachment).backward()
    assert all(p.grad is not None for _, p in attachment.trainable())


def test_some_pairs_are_refused_and_most_are_not() -> None:
    spec = inspect_model(build("bert", "meta"))
    lora = get_method("lora")
    component = read_configuration({"method": "lora"}, spec).components[0]
    refused = []
    for variant, init in PAIRS:
        params = dict(component.params) | {"variant": variant, "init": init}
        if lora.obstacle(replace(component, params=tuple(params.items())), spec):
            refused.append((variant, init))
    assert ("dora", "mica") in refused
    assert ("plain", "mica") not in refused
    assert len(refused) == 13


@pytest.mark.parametrize("choice", [("variant", "kasa"), ("init", "olora")])
def test_gpt2_refuses_what_only_knows_linear_modules(choice: tuple[str, str]) -> None:
    with pytest.raises(SpaceError, match="Conv1D"):
        attached("gpt2", **dict([choice]))


@pytest.mark.parametrize("init", ["pissa", "olora", "mica", "orthogonal", "eva"])
@pytest.mark.parametrize("rank", [1, 3, 256])
def test_ranks_are_taken_to_what_the_start_allows(init: str, rank: int) -> None:
    base = logits(build("bert"), "bert")
    attachment, spec, count = attached(init=init, rank=rank, targets="linear")
    assert sum(p.numel() for _, p in attachment.trainable()) == count + spec.head_params
    assert torch.allclose(logits(attachment.model, "bert"), base, atol=1e-5)


def test_kasa_keeps_a_singular_value() -> None:
    attachment, spec, count = attached(variant="kasa", rank=256)
    assert sum(p.numel() for _, p in attachment.trainable()) == count + spec.head_params
    weight = attachment.detach().bert.encoder.layer[0].attention.self.query.weight
    assert torch.equal(weight, build("bert").bert.encoder.layer[0].attention.self.query.weight)


def test_eva_starts_in_the_principal_directions_of_the_inputs() -> None:
    model = build("bert")
    hidden = model(**inputs("bert"), output_hidden_states=True).hidden_states[0]
    _, _, directions = torch.linalg.svd(hidden.flatten(0, 1), full_matrices=False)
    attachment, _, _ = attached(init="eva", rank=4, layers="first:1")
    a = dict(attachment.trainable())[
        "base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.default.weight"
    ]
    assert torch.allclose(a @ directions.T[:, :4] @ directions[:4], a, atol=1e-4)
    assert torch.allclose(a @ a.T, torch.eye(4), atol=1e-5)


def test_eva_leaves_padding_out() -> None:
    batch = inputs("bert")
    padded = {key: nn.functional.pad(value, (0, 5)) for key, value in batch.items()}
    found = []
    for sample in (batch, padded):
        model = build("bert")
        spec = inspect_model(model)
        context = AttachContext(spec=spec, total_steps=4, seed=3, batches=lambda s=sample: [s])
        data = {"method": "lora", "init": "eva", "rank": 4}
        attachment = attach(model, read_configuration(data, spec), context)
        found.append({n: p.detach() for n, p in attachment.trainable() if "lora_A" in n})
    assert found[0]
    for name, a in found[0].items():
        assert torch.allclose(a.T @ a, found[1][name].T @ found[1][name], atol=1e-4), name


@pytest.mark.parametrize(
    "choices", [{"variant": "fa"}, {"variant": "kasa"}, {"init": "eva"}, {"b_rate_over_a": 4.0}]
)
def test_twenty_modules_and_more(choices: dict[str, str | float]) -> None:
    """From twenty on, peft's config has the ends of the names alone."""
    model = deep_bert()
    spec = inspect_model(model)
    data = {"method": "lora", "targets": "linear", **choices}
    configuration = read_configuration(data, spec)
    batches = [inputs("bert")]
    context = AttachContext(spec=spec, total_steps=4, seed=3, batches=lambda: batches)
    attachment = attach(model, configuration, context)
    trainable = dict(attachment.trainable())
    total = count_parameters(configuration, spec) + spec.head_params
    assert sum(p.numel() for p in trainable.values()) == total
    if "b_rate_over_a" in choices:
        faster = {n for n, p in trainable.items() if attachment.rate_multiple(p) == 4}
        assert faster == {n for n in trainable if "lora_B" in n}
        assert len(faster) == 24


def test_kasas_penalty_is_in_the_loss_that_trains() -> None:
    attachment, _, _ = attached(variant="kasa", rank=2)
    by_name = dict(attachment.trainable())
    penalty = torch.zeros(())
    for name, diagonal in by_name.items():
        if "lora_diag" in name:
            a = by_name[name.replace("lora_diag.default", "lora_A.default.weight")]
            b = by_name[name.replace("lora_diag.default", "lora_B.default.weight")]
            eye = torch.eye(len(diagonal))
            penalty += 1e-4 * (diagonal**2).sum()
            penalty += 1e-3 * ((b.T @ b - eye).norm() + (a @ a.T - eye).norm())
    attachment.model.eval()
    without = loss(attachment)
    attachment.model.get_base_model().training = True  # of its parts, and so of dropout, nothing
    assert torch.allclose(loss(attachment) - without, penalty, atol=1e-6)


def test_a_frozen_factor_keeps_no_inputs_and_does_not_move() -> None:
    attachment, _, _ = attached(variant="fa")
    a = {n: p for n, p in attachment.model.named_parameters() if "lora_A" in n}
    before = {n: p.clone() for n, p in a.items()}
    optimizer = torch.optim.Adam([p for _, p in attachment.trainable()], lr=1e-2)
    loss(attachment).backward()
    optimizer.step()
    assert a
    assert all(torch.equal(p, before[n]) for n, p in a.items())


def test_b_alone_has_a_rate_of_its_own() -> None:
    attachment, _, _ = attached(b_rate_over_a=16.0)
    multiples = {n: attachment.rate_multiple(p) for n, p in attachment.trainable()}
    assert {m for n, m in multiples.items() if "lora_B" in n} == {16.0}
    assert {m for n, m in multiples.items() if "lora_B" not in n} == {1.0}


@pytest.mark.parametrize("init", ["corda", "lora_ga"])
@pytest.mark.parametrize("variant", ["plain", "rslora", "dora"])
def test_a_start_out_of_w_is_written_as_a_lora_of_twice_the_rank(
    init: str, variant: str, tmp_path: Path
) -> None:
    attachment, _, _ = attached(init=init, variant=variant, rank=3)
    optimizer = torch.optim.SGD([p for _, p in attachment.trainable()], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss(attachment).backward()
        optimizer.step()
    trained = logits(attachment.model, "bert")
    attachment.save(tmp_path)
    assert torch.equal(logits(attachment.model, "bert"), trained)  # writing changes nothing
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["r"], config["init_lora_weights"]) == (6, True)
    assert config["corda_config"] is config["lora_ga_config"] is None
    loaded = PeftModel.from_pretrained(build("bert"), str(tmp_path))
    assert torch.allclose(logits(loaded, "bert"), trained, atol=1e-5)


@pytest.mark.parametrize("init", ["corda", "lora_ga"])
def test_a_start_out_of_w_depends_on_the_data_and_on_nothing_else(init: str) -> None:
    def factors(seed: int) -> list[torch.Tensor]:
        model = build("bert")
        spec = inspect_model(model)
        configuration = read_configuration({"method": "lora", "init": init}, spec)
        ids = torch.randint(3, 99, (4, 12), generator=torch.Generator().manual_seed(seed))
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": LABELS}
        torch.manual_seed(3)
        context = AttachContext(spec=spec, total_steps=4, seed=3, batches=lambda: [batch])
        attachment = attach(model, configuration, context)
        return [p.detach().clone() for name, p in attachment.trainable() if "lora_" in name]

    first, again, other = factors(1), factors(1), factors(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.allclose(a, b) for a, b in zip(first, other, strict=True))


def test_a_start_out_of_w_goes_alone_and_keeps_no_density() -> None:
    spec = inspect_model(build("bert", "meta"))
    lora = {"method": "lora", "init": "corda"}
    with pytest.raises(SpaceError, match="goes with no other component"):
        read_configuration({"components": [lora, {"method": "serial_adapter"}]}, spec)
    with pytest.raises(SpaceError, match="no density can be kept"):
        read_configuration({**lora, "density": 0.5}, spec)
