"""Adapters of word embeddings, by every method that takes them, on every family that has them."""

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import PreTrainedModel

from autopeft.cost.memory import step_cost
from autopeft.errors import SpaceError
from autopeft.methods.compose import attach, count_parameters, read_configuration
from autopeft.methods.method import AttachContext, Attachment
from autopeft.methods.registry import get_method, method_names
from autopeft.models.loading import random_model
from autopeft.models.spec import ModelSpec, ModuleSpec, inspect_model
from tests.contracts.test_methods import WORDS, state
from tests.tiny import ALL, build, inputs, logits

METHODS = [name for name in method_names() if "embedding" in get_method(name).info.module_types]
#: Encoder and decoder read one matrix, each through a module of its own.
SHARED = {"t5", "flan-t5", "mt5", "umt5", "bart", "mbart"}
#: The widest of them multiply what they have looked up.
SCALED = {"gemma", "gemma2", "gemma3_text"}
PATCHES = {"vit", "beit", "deit", "dinov2", "hiera"}
#: What a method trains for a vocabulary of V and a width of d, at rank 4 or block size 4.
COUNTS = {
    "lora": lambda v, d: 4 * (v + d),
    "hira": lambda v, d: 4 * (v + d),
    "oft": lambda v, d: d // 4 * 6,
    "tinylora": lambda v, d: 64,
}
SIZES = {"oft": {"block_size": 4}}
CASES = [
    (method, family)
    for method in METHODS
    for family in ALL
    if family not in SHARED | PATCHES
    and not (family in SCALED and method in {"hira", "tinylora"})
    and family != "imagegpt"  # its inputs are colours
]


def embedding(spec: ModelSpec) -> ModuleSpec:
    [module] = [m for m in spec.modules if m.kind == WORDS]
    return module


def attached(
    method: str, family: str, device: str = "cpu", **choices: str | int
) -> tuple[Attachment, ModelSpec, int]:
    model = build(family, device)
    spec = inspect_model(model)
    data = {
        "method": method,
        "targets": WORDS,
        **SIZES.get(method, {"rank": 4}),
        **choices,
    }
    configuration = read_configuration(data, spec)
    torch.manual_seed(3)
    context = AttachContext(spec=spec, total_steps=4, seed=3)
    return attach(model, configuration, context), spec, count_parameters(configuration, spec)


def train(attachment: Attachment, family: str) -> None:
    optimizer = torch.optim.Adam([p for _, p in attachment.trainable()], lr=1e-2)
    attachment.model.train()
    torch.manual_seed(4)
    for _ in range(3):
        labels = torch.tensor([0, 1, 2, 0])
        attachment.model(**inputs(family), labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def test_all_methods_are_here() -> None:
    assert set(METHODS) == set(COUNTS)


# There is no output embedding beside a classification head that could be tied.
@pytest.mark.filterwarnings("ignore:Model with `tie_word_embeddings=True`")
@pytest.mark.parametrize(("method", "family"), CASES)
def test_adapter_of_word_embeddings(method: str, family: str, tmp_path: Path) -> None:
    base, before = logits(build(family), family), state(build(family))
    attachment, spec, count = attached(method, family)
    module = embedding(spec)
    assert count == COUNTS[method](module.in_features, module.out_features)
    assert sum(p.numel() for _, p in attachment.trainable()) == count + spec.head_params
    assert torch.allclose(logits(attachment.model, family), base, atol=1e-5)
    train(attachment, family)
    trained = logits(attachment.model, family)
    assert not torch.allclose(trained, base, atol=1e-4)

    attachment.save(tmp_path)
    loaded = PeftModel.from_pretrained(build(family), str(tmp_path))
    assert torch.allclose(logits(loaded, family), trained, atol=1e-6)
    loaded.merge_adapter()
    assert torch.allclose(logits(loaded, family), trained, atol=1e-5)

    after = state(attachment.detach())
    in_head = tuple(f"{name}." for name in spec.head_modules)
    changed = [n for n, tensor in after.items() if not torch.equal(tensor, before[n])]
    assert list(after) == list(before)
    assert all(name.startswith(in_head) for name in changed)


@pytest.mark.parametrize(("method", "family"), CASES)
def test_meta_counts_what_a_real_step_costs(method: str, family: str) -> None:
    real, _, _ = attached(method, family)
    configuration = read_configuration(
        {"method": method, "targets": WORDS, **SIZES.get(method, {"rank": 4})},
        inspect_model(build(family, "meta")),
    )
    bare = build(family, "meta")
    context = AttachContext(spec=inspect_model(bare), total_steps=4, seed=3)
    on_meta = get_method(method).on_meta(bare, configuration.components[0], context)
    predicted = step_cost(on_meta.train(), 4, 10)
    made = step_cost(real.model.train(), 4, 10)
    assert predicted.flops == made.flops
    # Falcon makes constants of 8 bytes, which `meta` knows by themselves.
    assert 0 <= made.memory.total - predicted.memory.total <= 32


def deep_llama() -> PreTrainedModel:
    config = ALL["llama"]()
    config.num_hidden_layers = 3
    return random_model(config).requires_grad_(requires_grad=False)


def test_peft_alone_would_write_the_matrix(tmp_path: Path) -> None:
    """Of twenty targets it keeps the ends of the names, and `embed_tokens` is one that it knows."""
    model = deep_llama()
    spec = inspect_model(model)
    data = {"method": "lora", "targets": f"{WORDS}+linear"}
    context = AttachContext(spec=spec, total_steps=4, seed=3)
    attachment = attach(model, read_configuration(data, spec), context)
    assert "embed_tokens" in attachment.model.active_peft_config.target_modules
    attachment.save(tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    assert sum(t.numel() for t in tensors.values()) == sum(
        p.numel() for _, p in attachment.trainable()
    )
    assert not any("base_layer" in name for name in tensors)
    PeftModel.from_pretrained(deep_llama(), str(tmp_path))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", ["bert", "llama", "gpt2"])
def test_files_hold_adapter_and_head_alone(method: str, family: str, tmp_path: Path) -> None:
    targets = f"{WORDS}+linear" if (method, family) != ("oft", "gpt2") else WORDS
    attachment, spec, count = attached(method, family, targets=targets)
    attachment.save(tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    head = [n for n in tensors if any(f".{head}." in n for head in spec.head_modules)]
    assert sum(tensors[n].numel() for n in head) == spec.head_params
    adapter = [n for n in tensors if n not in head]
    assert all(f".{method}_" in n for n in adapter)
    if method != "tinylora":  # it writes the directions too
        assert sum(tensors[n].numel() for n in adapter) == count


@pytest.mark.parametrize("family", sorted(SHARED))
@pytest.mark.parametrize("method", METHODS)
def test_embeddings_that_several_modules_share_are_refused(method: str, family: str) -> None:
    module = embedding(inspect_model(build(family, "meta")))
    assert len(module.shared_by) == 2
    with pytest.raises(SpaceError, match="in several modules"):
        attached(method, family, "meta")


@pytest.mark.parametrize("family", sorted(SCALED))
@pytest.mark.parametrize("method", ["hira", "tinylora"])
def test_scaled_embeddings_are_refused_where_peft_forgets_the_scale(
    method: str, family: str
) -> None:
    with pytest.raises(SpaceError, match="multiplies its word embeddings by a constant"):
        attached(method, family, "meta")


@pytest.mark.parametrize("family", sorted(PATCHES))
def test_models_of_patches_have_none(family: str) -> None:
    with pytest.raises(SpaceError, match=r"finds none of embed\.tokens"):
        attached("lora", family, "meta")


@pytest.mark.parametrize("layers", ["all", "first:1", "last:1"])
def test_layers_do_not_matter(layers: str) -> None:
    _, _, count = attached("lora", "bert", layers=layers)
    assert count == 4 * (99 + 32)


@pytest.mark.parametrize(
    ("choice", "per_rank", "more"),
    [
        ({"variant": "rslora"}, 99 + 32, 0),
        ({"variant": "dora"}, 99 + 32, 32),
        ({"init": "gaussian"}, 99 + 32, 0),
        ({"init": "mica"}, 99, 0),
    ],
    ids=str,
)
def test_what_lora_does_on_embeddings(choice: dict[str, str], per_rank: int, more: int) -> None:
    attachment, spec, count = attached("lora", "bert", **choice)
    assert count == 4 * per_rank + more
    assert sum(p.numel() for _, p in attachment.trainable()) == count + spec.head_params


@pytest.mark.filterwarnings("ignore:Model with `tie_word_embeddings=True`")
@pytest.mark.parametrize("family", ["gemma3_text", "gpt2"])  # a scale; transposed projections
@pytest.mark.parametrize(
    "choice", [{"variant": "dora"}, {"init": "mica"}, {"targets": f"{WORDS}+attn.qv"}], ids=str
)
def test_merged_output_equals_unmerged(choice: dict[str, str], family: str) -> None:
    attachment, _, _ = attached("lora", family, **choice)
    train(attachment, family)
    trained = logits(attachment.model, family)
    attachment.model.merge_adapter()
    assert torch.allclose(logits(attachment.model, family), trained, atol=1e-5)


@pytest.mark.parametrize(
    "choice",
    [
        *({"variant": name} for name in ("fa", "kasa", "velora")),
        *({"init": name} for name in ("orthogonal", "pissa", "olora", "eva")),
    ],
    ids=str,
)
def test_what_lora_does_not_do_on_embeddings(choice: dict[str, str]) -> None:
    [name] = choice.values()
    with pytest.raises(SpaceError, match=f"'{name}' is not for word embeddings"):
        attached("lora", "bert", "meta", **choice)


def test_padding_is_no_exception_when_merged() -> None:
    """The row of the padding token gets no gradient, here as in the base."""
    attachment, _, _ = attached("lora", "bert")
    train(attachment, "bert")
    a = next(p for n, p in attachment.trainable() if "lora_embedding_A" in n)
    assert not a[:, 0].any()
    assert a[:, 3:].any()


def test_embeddings_go_together_with_projections_and_trained_tokens(tmp_path: Path) -> None:
    model = build("bert")
    spec = inspect_model(model)
    data = {
        "components": [
            {"method": "lora", "targets": "embed.tokens+attn.qv", "rank": 4},
            {"method": "prompt_tuning", "length": 3},
        ]
    }
    configuration = read_configuration(data, spec)
    context = AttachContext(spec=spec, total_steps=4, seed=3)
    attachment = attach(model, configuration, context)
    count = count_parameters(configuration, spec)
    assert count == 4 * (99 + 32) + 4 * 4 * 64 + 3 * 32
    assert sum(p.numel() for _, p in attachment.trainable()) == count + spec.head_params
    train(attachment, "bert")
