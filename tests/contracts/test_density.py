"""Sparsity budgets: as many non-zeros as was counted, in training, in the file, after loading."""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import nn

from autopeft.errors import SpaceError
from autopeft.methods.compose import attach, count_parameters, count_trained, read_configuration
from autopeft.methods.composite import CompositeAttachment
from autopeft.methods.density import MASK_FIELDS
from autopeft.methods.inserted import InsertedMethod
from autopeft.methods.load_adapter import load_adapter
from autopeft.methods.method import AttachContext, Attachment
from autopeft.methods.registry import get_method, method_names
from autopeft.models.spec import ModelSpec, ModuleSpec, inspect_model
from autopeft.space.configuration import Configuration
from tests.contracts.test_composites import COMPOSITES
from tests.contracts.test_methods import STEPS, train
from tests.tiny import build, inputs, logits

MASKABLE = [name for name in method_names() if get_method(name).info.maskable]
GATED = ("serial_adapter", "parallel_adapter", "prefix")
DENSITY = 0.3
#: Sizes at which the tiny models' tensors are worth pruning.
SIZES: dict[str, dict[str, Any]] = {
    "vera": {"rank": 16},
    "waveft": {"frequencies": 100},
    "fourierft": {"frequencies": 100},
    "unilora": {"vector_size": 64},
}
CASES = [
    *((method, {}, "bert") for method in MASKABLE),
    *(("lora", {"variant": v}, "bert") for v in ("rslora", "dora")),
    *((method, {"gate": "input"}, "bert") for method in GATED),
    *(("lora", {"init": i}, "bert") for i in ("gaussian", "pissa", "mica")),
    ("lora", {}, "llama"),
    ("lora", {"targets": "linear"}, "gpt2"),
    ("serial_adapter", {}, "gpt2"),
    ("prefix", {}, "llama"),
    ("lokr", {}, "llama"),
]
IDS = ["-".join([method, *extra.values(), family]) for method, extra, family in CASES]
every_case = pytest.mark.parametrize(("method", "extra", "family"), CASES, ids=IDS)


def attached(family: str, data: dict[str, Any]) -> tuple[Attachment, ModelSpec, Configuration]:
    model = build(family)
    spec = inspect_model(model)
    configuration = read_configuration(data, spec)
    torch.manual_seed(3)
    context = AttachContext(spec=spec, total_steps=STEPS, seed=3)
    return attach(model, configuration, context), spec, configuration


def pruned(method: str, extra: dict[str, str], **mask: Any) -> dict[str, Any]:
    return {"method": method, **SIZES.get(method, {}), **extra, "density": DENSITY, **mask}


def adapter(attachment: Attachment, spec: ModelSpec) -> dict[str, nn.Parameter]:
    head = set(spec.head_modules)
    return {n: p for n, p in attachment.trainable() if head.isdisjoint(n.split("."))}


def selected(method: str, configuration: Configuration, spec: ModelSpec) -> list[ModuleSpec]:
    return get_method(method).info.select(configuration.components[0], spec)


def pruned_places(
    attachment: Attachment, tensors: dict[str, nn.Parameter]
) -> dict[str, torch.Tensor]:
    state = attachment.extra_state()
    return {name: state[f"mask/pruned/{name}"].clone() for name in tensors}


def nonzeros(tensors: dict[str, Any]) -> int:
    return sum(int(torch.count_nonzero(tensor.detach())) for tensor in tensors.values())


def changed(before: Path, after: Path, spec: ModelSpec) -> dict[str, torch.Tensor]:
    """Return the adapter's tensors that differ between two files: frozen bases stay the same."""
    (first,), (second,) = before.glob("*.safetensors"), after.glob("*.safetensors")
    old, new, head = load_file(first), load_file(second), set(spec.head_modules)
    adapters = {n: t for n, t in new.items() if head.isdisjoint(n.split("."))}
    return {n: t for n, t in adapters.items() if not torch.equal(t, old[n])}


@every_case
@pytest.mark.parametrize("criterion", ["magnitude", "sensitivity"])
def test_as_many_nonzeros_as_counted(
    method: str, extra: dict[str, str], family: str, criterion: str, tmp_path: Path
) -> None:
    attachment, spec, configuration = attached(family, pruned(method, extra, mask=criterion))
    dense, expected = count_trained(configuration, spec), count_parameters(configuration, spec)
    info = get_method(method).info
    tensors = adapter(attachment, spec)
    assert sum(p.numel() for p in tensors.values()) == dense
    whole = sum(p.numel() for n, p in tensors.items() if any(u in n for u in info.unmasked))
    assert expected == whole + max(1, round(DENSITY * (dense - whole)))
    partly = extra in ({"variant": "dora"}, {"gate": "input"})
    assert bool(whole) == (method == "delora" or partly)
    attachment.save(tmp_path / "before")
    train(attachment, family, STEPS)
    assert nonzeros(tensors) == expected

    trained = logits(attachment.model, family)
    attachment.save(tmp_path / "after")
    saved = changed(tmp_path / "before", tmp_path / "after", spec)
    assert sum(tensor.numel() for tensor in saved.values()) == dense
    assert nonzeros(saved) == expected
    base, folder = build(family), tmp_path / "after"
    own = isinstance(get_method(method), InsertedMethod)
    loaded = load_adapter(base, folder) if own else PeftModel.from_pretrained(base, str(folder))
    assert torch.allclose(logits(loaded, family), trained, atol=1e-6)
    again = dict(loaded.named_parameters())
    assert all(torch.equal(again[name] == 0, tensor == 0) for name, tensor in tensors.items())


@pytest.mark.parametrize("criterion", ["magnitude", "sensitivity"])
@pytest.mark.parametrize("method", ["lora", "serial_adapter", "bitfit"])
def test_pruning_goes_one_way_and_stays_at_its_end(method: str, criterion: str) -> None:
    data = pruned(method, {}, mask=criterion, mask_start=0.25, mask_end=0.75)
    attachment, spec, configuration = attached("bert", data)
    tensors = adapter(attachment, spec)
    optimizer = torch.optim.AdamW([p for _, p in attachment.trainable()], lr=1e-2)
    gone = pruned_places(attachment, tensors)
    counts = []
    attachment.model.train()
    for step in range(1, STEPS + 1):
        loss = attachment.model(**inputs("bert"), labels=torch.tensor([0, 1, 2, 0])).loss
        loss.backward()
        for name, parameter in tensors.items():
            assert parameter.grad is not None
            assert not parameter.grad[gone[name]].any()  # clipping sees only what is left
        optimizer.step()
        attachment.after_optimizer_step(step)
        optimizer.zero_grad()
        before, gone = gone, pruned_places(attachment, tensors)
        for name, parameter in tensors.items():
            assert not parameter[gone[name]].any()
            assert gone[name][before[name]].all()
        counts.append(sum(int((~places).sum()) for places in gone.values()))
    assert nonzeros(tensors) == counts[-1]
    dense, left = count_trained(configuration, spec), count_parameters(configuration, spec)
    assert counts[:2] == [dense, dense]
    assert dense > counts[2] > counts[3] > counts[4] >= left
    assert counts[5:] == [left] * 3
    removed = [a - b for a, b in pairwise(counts[1:])]
    assert removed == sorted(removed, reverse=True)  # cubic: fast first


@pytest.mark.parametrize(
    ("method", "density"), [("lora", 0.05), ("serial_adapter", 0.05), ("glora", 0.1), ("loha", 0.2)]
)
def test_no_factor_goes_silent(method: str, density: float) -> None:
    attachment, spec, _ = attached("bert", {**pruned(method, {}), "density": density})
    train(attachment, "bert", STEPS)
    assert all(tensor.any() for tensor in adapter(attachment, spec).values())
    attachment.model(**inputs("bert"), labels=torch.tensor([0, 1, 2, 0])).loss.backward()
    without = [n for n, p in attachment.trainable() if p.grad is None or not p.grad.any()]
    assert not without


@pytest.mark.parametrize("method", ["lora", "prefix"])
def test_the_criteria_and_seeds_differ_but_nothing_else_is_random(method: str) -> None:
    def zeros(criterion: str) -> list[torch.Tensor]:
        attachment, spec, _ = attached("bert", pruned(method, {}, mask=criterion))
        train(attachment, "bert", STEPS)
        return [tensor.detach() for tensor in adapter(attachment, spec).values()]

    first, again, other = zeros("magnitude"), zeros("magnitude"), zeros("sensitivity")
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a == 0, b == 0) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("method", ["lora", "parallel_adapter"])
def test_a_density_of_one_is_no_mask(method: str) -> None:
    spec = inspect_model(build("bert", "meta"))
    plain = read_configuration({"method": method}, spec)
    data = {"method": method, "density": 1, "mask": "sensitivity", "mask_end": 0.5}
    assert read_configuration(data, spec) == plain
    assert read_configuration(data, spec).digest == plain.digest

    component = plain.components[0]
    whole = replace(component, params=(*component.params, ("density", 1.0), ("mask", "magnitude")))
    results = []
    for components in (plain.components, (whole,)):
        model = build("bert")
        torch.manual_seed(3)
        context = AttachContext(spec=spec, total_steps=STEPS, seed=3)
        attachment = attach(model, replace(plain, components=components), context)
        train(attachment, "bert", STEPS)
        results.append(logits(attachment.model, "bert"))
    assert torch.equal(*results)


def test_every_component_keeps_its_own_density(tmp_path: Path) -> None:
    components: list[dict[str, Any]] = [
        {"method": "lora", "rank": 4, "density": 0.5},
        {"method": "prefix", "length": 6, "density": 0.25, "mask": "sensitivity"},
        {"method": "serial_adapter", "bottleneck": 6, "activation": "gelu"},  # none dead
        {"method": "ln_tuning"},
        {"method": "shira", "targets": "mlp.up"},
    ]
    attachment, spec, configuration = attached("bert", {"components": components})
    train(attachment, "bert", STEPS)
    tensors = adapter(attachment, spec)

    def found(mark: str) -> int:
        return nonzeros({n: p for n, p in tensors.items() if mark in n})

    one = {c.method: replace(configuration, components=(c,)) for c in configuration.components}
    counted = {method: count_parameters(alone, spec) for method, alone in one.items()}
    assert counted["lora"] == round(0.5 * count_trained(one["lora"], spec))
    assert counted["prefix"] == round(0.25 * count_trained(one["prefix"], spec))
    assert found("attention.self.query.lora") + found("value.lora") == counted["lora"]
    assert found("prefix_key_values") == counted["prefix"]
    assert found("shira_weight") == counted["shira"]
    assert found(".adapter.") == counted["serial_adapter"]
    assert count_parameters(configuration, spec) == sum(counted.values())

    trained = logits(attachment.model, "bert")
    attachment.save(tmp_path)
    loaded = load_adapter(build("bert"), tmp_path)
    assert torch.equal(logits(loaded, "bert"), trained)
    again = dict(loaded.named_parameters())
    assert all(torch.equal(again[name] == 0, tensor == 0) for name, tensor in tensors.items())


TOGETHER = {
    **{name: parts for name, parts in COMPOSITES.items() if len(parts) > 1},
    # peft leaves the first trainable when it attaches the second.
    "adalora and loha": [{"method": "adalora", "targets": "mlp"}, {"method": "loha"}],
}


@pytest.mark.parametrize("name", TOGETHER)
def test_components_share_no_parameter(name: str) -> None:
    model = build("bert")
    spec = inspect_model(model)
    configuration = read_configuration({"components": TOGETHER[name]}, spec)
    context = AttachContext(spec=spec, total_steps=STEPS, seed=3)
    parts = CompositeAttachment(model, configuration.components, context).parts
    for component, trains in parts:
        alone = replace(configuration, components=(component,))
        assert sum(p.numel() for p in trains) == count_trained(alone, spec)


@pytest.mark.parametrize("method", ["shira", "supertuning"])
@pytest.mark.parametrize("density", [0.01, 0.1])
def test_methods_that_select_have_as_many_nonzeros_as_counted(
    method: str, density: float, tmp_path: Path
) -> None:
    attachment, spec, configuration = attached("bert", {"method": method, "density": density})
    attachment.save(tmp_path / "before")
    train(attachment, "bert", STEPS)
    attachment.save(tmp_path / "after")
    saved = changed(tmp_path / "before", tmp_path / "after", spec)
    assert nonzeros(saved) == count_parameters(configuration, spec)
    entries = sum(m.in_features * m.out_features for m in selected(method, configuration, spec))
    unit = max(m.in_features + m.out_features for m in selected(method, configuration, spec))
    assert abs(nonzeros(saved) - density * entries) <= 4 * unit  # SHiRA counts in ranks of a LoRA


@pytest.mark.parametrize(("density", "left"), [(0.05, 1), (0.3, 3), (0.67, 7), (1.0, 10)])
def test_adalora_keeps_its_share_of_the_ranks(density: float, left: int, tmp_path: Path) -> None:
    data = {"method": "adalora", "rank": 10, "density": density}
    attachment, spec, _ = attached("bert", data)
    train(attachment, "bert", STEPS)
    ranks = {n: p for n, p in adapter(attachment, spec).items() if "lora_E" in n}
    assert nonzeros(ranks) == left * len(ranks)
    attachment.save(tmp_path)
    (path,) = tmp_path.glob("*.safetensors")
    assert nonzeros({n: t for n, t in load_file(path).items() if "lora_E" in n}) == left * 4


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"density": 0}, "'density' of lora is 0; it must be 0.01 to 1"),
        ({"density": 1.5}, "'density' of lora is 1.5; it must be"),
        ({"density": math.nan}, "'density' of lora is nan; it must be"),
        ({"density": "half"}, "'density' of lora is 'half'; it must be"),
        ({"density": 0.5, "mask": "random"}, "must be magnitude, sensitivity"),
        ({"density": 0.5, "mask_end": 1.1}, "'mask_end' of lora is 1.1; it must be 0 to 1"),
        (
            {"density": 0.5, "mask_start": 0.8},
            "'mask_start' of lora is 0.8, after 'mask_end', which is 0.7",
        ),
        ({"mask": "magnitude"}, "lora needs the hyperparameter 'density'"),
        ({"method": "ia3", "density": 0.5}, "ia3 has no hyperparameter 'density'"),
        ({"method": "adalora", "mask": "magnitude"}, "adalora has no hyperparameter 'mask'"),
    ],
)
def test_bad_values_are_named(data: dict[str, Any], message: str) -> None:
    spec = inspect_model(build("bert", "meta"))
    with pytest.raises(SpaceError, match=message):
        read_configuration({"method": "lora", **data}, spec)


def test_what_can_be_masked() -> None:
    for name in method_names():
        info = get_method(name).info
        own = {p.domain.name for p in info.parameters}
        assert not info.maskable or own.isdisjoint(MASK_FIELDS), name
    assert {"lora", "lokr", "loha", "vera", "bitfit", "prefix", "serial_adapter"} <= {*MASKABLE}
    assert {"ia3", "ln_tuning", "oft", "adalora", "shira", "full"}.isdisjoint(MASKABLE)
