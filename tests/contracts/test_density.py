"""Sparsity budgets: as many non-zeros as was counted, in training, in the file, after loading."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import nn

from autopeft.methods.compose import attach, count_parameters, count_trained, read_configuration
from autopeft.methods.inserted import InsertedMethod
from autopeft.methods.load_adapter import load_adapter
from autopeft.methods.mask import MaskedAttachment
from autopeft.methods.method import AttachContext, Attachment
from autopeft.methods.registry import get_method, method_names
from autopeft.models.spec import ModelSpec, inspect_model
from autopeft.space.configuration import Configuration
from tests.contracts.test_methods import STEPS, train
from tests.tiny import build, logits

MASKABLE = [name for name in method_names() if get_method(name).info.maskable]
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
    assert bool(whole) == (method == "delora" or extra == {"variant": "dora"})
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
