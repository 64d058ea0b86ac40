"""BitFit with the biases of the normalisations, as in its paper."""

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import BertConfig

from autopeft.errors import SpaceError
from autopeft.methods.compose import attach, count_parameters, read_configuration
from autopeft.methods.load_adapter import load_adapter
from autopeft.methods.method import AttachContext
from autopeft.models.loading import random_model
from autopeft.models.spec import inspect_model
from tests.tiny import build, inputs, logits

ALL_BIASES = {"method": "bitfit", "targets": "linear+norm.all"}


def test_every_bias_of_bert_base_but_the_poolers() -> None:
    with torch.device("meta"):
        model = random_model(BertConfig(num_labels=2))
    spec = inspect_model(model)
    named = model.bert.named_parameters()
    biases = {n: p.numel() for n, p in named if n.endswith("bias") and "pooler" not in n}
    count = count_parameters(read_configuration(ALL_BIASES, spec), spec)
    assert count == sum(biases.values()) == 102_144  # 0.09 % of the model, as in the paper


@pytest.mark.parametrize("together", [False, True])
def test_biases_alone_train_and_come_back(together: bool, tmp_path: Path) -> None:
    model = build("bert")
    spec = inspect_model(model)
    data = {"components": [ALL_BIASES, {"method": "serial_adapter", "bottleneck": 4}]}
    context = AttachContext(spec=spec, total_steps=4, seed=0)
    configuration = read_configuration(data if together else ALL_BIASES, spec)
    attachment = attach(model, configuration, context)
    count = count_parameters(configuration, spec)
    assert sum(p.numel() for _, p in attachment.trainable()) == count + spec.head_params
    optimizer = torch.optim.SGD([p for _, p in attachment.trainable()], lr=0.5)
    labels = torch.tensor([0, 1, 2, 0])
    attachment.model(**inputs("bert"), labels=labels).loss.backward()
    optimizer.step()
    trained = logits(attachment.model, "bert")
    attachment.save(tmp_path)
    if together:
        loaded = load_adapter(build("bert"), tmp_path)
    else:
        loaded = PeftModel.from_pretrained(build("bert"), str(tmp_path))
    assert torch.allclose(logits(loaded, "bert"), trained, atol=1e-6)
    if not together:
        merged = loaded.merge_and_unload()
        assert torch.allclose(logits(merged, "bert"), trained, atol=1e-5)
        before = build("bert").state_dict()
        moved = {n for n, t in merged.state_dict().items() if not torch.equal(t, before[n])}
        assert "bert.embeddings.LayerNorm.bias" in moved
        assert all(name.endswith("bias") or name == "classifier.weight" for name in moved)


def test_a_mask_leaves_the_norms_biases() -> None:
    model = build("bert")
    spec = inspect_model(model)
    sparse = read_configuration({**ALL_BIASES, "density": 0.25}, spec)
    norms = 5 * 32
    linear = count_parameters(read_configuration({"method": "bitfit"}, spec), spec)
    assert count_parameters(sparse, spec) == norms + linear // 4
    attachment = attach(model, sparse, AttachContext(spec=spec, total_steps=4, seed=0))
    optimizer = torch.optim.SGD([p for _, p in attachment.trainable()], lr=0.5)
    for step in range(1, 5):
        labels = torch.tensor([0, 1, 2, 0])
        attachment.model(**inputs("bert"), labels=labels).loss.backward()
        optimizer.step()
        attachment.after_optimizer_step(step)
        optimizer.zero_grad()
    found = dict(attachment.trainable())
    assert sum(int(p.count_nonzero()) for n, p in found.items() if "beft" in n) <= linear // 4
    assert sum(int(p.count_nonzero()) for n, p in found.items() if "LayerNorm" in n) == norms


@pytest.mark.parametrize(
    ("family", "targets", "reason"),
    [
        ("llama", "linear+norm.all", "normalisations of llama that have no bias"),
        ("bert", "norm.all", "beside those of linear modules, and finds none"),
        ("gpt2", "linear+norm.all", "beside those of linear modules, and finds none"),
    ],
)
def test_what_cannot_be_is_refused(family: str, targets: str, reason: str) -> None:
    spec = inspect_model(build(family, "meta"))
    with pytest.raises(SpaceError, match=reason):
        read_configuration({"method": "bitfit", "targets": targets}, spec)
