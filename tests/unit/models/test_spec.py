"""Structure from the config alone; counts against published numbers."""

from pathlib import Path

import pytest
import torch
import yaml
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    RobertaConfig,
    XLNetConfig,
)
from transformers.pytorch_utils import Conv1D

from autopeft.errors import ModelError, UnknownNameError
from autopeft.methods.compose import count_parameters, read_configuration
from autopeft.models.architectures import KNOWN, layer_path
from autopeft.models.registry import resolve_model
from autopeft.models.spec import ModelSpec, inspect_model
from tests.tiny import ALL, build

PLACES = {
    family: group
    for group in yaml.safe_load(Path(__file__).with_name("places.yaml").read_text())
    for family in group["families"]
}
#: Normalisations outside the layers.
OUTSIDE = {
    "norm.embed": {
        *("bert", "roberta", "electra", "camembert", "xlm-roberta", "distilbert", "deberta-v2"),
        *("albert", "modernbert", "mpnet", "deberta", "bloom", "bart", "mbart"),
    },
    "norm.final": {
        *("gpt2", "llama", "t5", "vit", "modernbert", "opt", "gpt_neox", "mistral", "qwen2"),
        *("qwen3", "gemma", "gemma2", "gemma3_text", "phi", "phi3", "flan-t5", "mbart", "bloom"),
        *("falcon", "gpt_bigcode", "gpt_neo", "gptj", "smollm3", "starcoder2", "mt5", "umt5"),
        *("beit", "deit", "dinov2", "hiera", "imagegpt"),
    },
}
ENCODER_DECODERS = {"t5", "flan-t5", "mt5", "umt5", "bart", "mbart"}


def spec_of(config: BertConfig | RobertaConfig) -> ModelSpec:
    with torch.device("meta"):
        return inspect_model(AutoModelForSequenceClassification.from_config(config))


def kinds_of_layers(spec: ModelSpec) -> list[dict[str, list[str]]]:
    """Return for each layer the names inside it, by kind."""
    layers: list[dict[str, list[str]]] = [{} for _ in range(spec.n_layers)]
    for module in spec.modules:
        if module.layer is not None:
            inside = module.name.removeprefix(f"{layer_path(module.name)}.")
            layers[module.layer].setdefault(module.kind, []).append(inside)
    return layers


@pytest.mark.parametrize("family", ALL)
def test_module_kinds(family: str) -> None:
    model = build(family, "meta")
    spec = inspect_model(model)
    expected = [
        {kind: names if isinstance(names, list) else [names] for kind, names in layer.items()}
        for layer in PLACES[family]["layers"]
    ]
    n_each = spec.n_layers // len(expected)
    assert kinds_of_layers(spec) == [layer for layer in expected for _ in range(n_each)]
    assert spec.n_layers == {"albert": 1}.get(family, 4 if family in ENCODER_DECODERS else 2)
    words = [m.name.partition(".")[2] for m in spec.modules if m.kind == "embed.tokens"]
    assert words == ([PLACES[family]["words"]] if "words" in PLACES[family] else [])
    inputs = model.get_input_embeddings()
    assert spec.embedding_size == getattr(inputs, "embedding_dim", None)
    outside = {m.kind for m in spec.modules if m.layer is None} - {"embed.tokens"}
    assert outside == {kind for kind, families in OUTSIDE.items() if family in families}


@pytest.mark.parametrize("family", ALL)
def test_every_linear_module_of_a_layer_is_listed_once(family: str) -> None:
    model = build(family, "meta")
    spec = inspect_model(model)
    names = [m.name for m in spec.modules]
    assert len(set(names)) == len(names)
    listed = {m.name for m in spec.modules if m.type in {"linear", "conv1d"}}
    linear = {
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and layer_path(name)
    }
    assert listed == linear


@pytest.mark.parametrize("family", ALL)
def test_tested_families_need_no_remark(family: str) -> None:
    assert inspect_model(build(family, "meta")).notes == ()
    assert ALL[family]().model_type in KNOWN


def test_every_family_that_is_said_to_be_known_is_tested() -> None:
    assert {config().model_type for config in ALL.values()} == KNOWN


def test_an_unknown_architecture_is_read_by_its_names_and_says_so() -> None:
    config = XLNetConfig(d_model=32, n_layer=2, n_head=4, d_inner=64, vocab_size=99)
    with torch.device("meta"):
        spec = inspect_model(AutoModelForSequenceClassification.from_config(config))
    # Its attention is no linear module.
    assert spec.kinds == ("embed.tokens", "norm.other", "linear.other")
    assert spec.max_length is None
    [note] = spec.notes
    for part in (
        "'xlnet' is not one that",
        "linear.other: ff.layer_1, ff.layer_2",
        "norm.other:",
        "embed.tokens: word_embedding;",
    ):
        assert part in note


def test_layers_are_numbered_through_stages() -> None:
    spec = inspect_model(build("hiera", "meta"))
    layers = [m.layer for m in spec.modules if m.kind == "attn.qkv"]
    names = [m.name for m in spec.modules if m.kind == "attn.qkv"]
    assert layers == [0, 1]
    assert [name.partition("encoder.")[2] for name in names] == [
        "stages.0.layers.0.attn.qkv",
        "stages.1.layers.0.attn.qkv",
    ]


@pytest.mark.parametrize(("family", "reads"), [("bert", "tokens"), ("vit", "pixels")])
def test_what_a_model_reads(family: str, reads: str) -> None:
    assert inspect_model(build(family, "meta")).reads == reads


@pytest.mark.parametrize("family", ALL)
def test_parameters_are_those_of_the_real_model(family: str) -> None:
    spec, model = inspect_model(build(family, "meta")), build(family)
    assert spec.base_params + spec.head_params == sum(p.numel() for p in model.parameters())
    for module in spec.modules:
        real = model.get_submodule(module.name)
        assert module.n_parameters == sum(p.numel() for p in real.parameters())


def test_published_counts_of_bert_base() -> None:
    """BERT-base: backbone 109,482,240; LoRA r = 8 on query and value 294,912, head 1,538."""
    spec = spec_of(BertConfig(num_labels=2))
    assert (spec.base_params, spec.head_params, spec.n_layers) == (109_482_240, 1_538, 12)
    for rank, expected in ((8, 294_912), (2, 73_728)):
        lora = read_configuration({"method": "lora", "rank": rank}, spec)
        assert count_parameters(lora, spec) == expected


def test_published_counts_of_roberta_large() -> None:
    """RoBERTa-large: LoRA r = 8 on query and value has 786,432, the head 1,051,650."""
    config = RobertaConfig(
        vocab_size=50265,
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
        max_position_embeddings=514,
        num_labels=2,
    )
    spec = spec_of(config)
    assert spec.head_params == 1_051_650
    assert spec.max_length == 512
    lora = read_configuration({"method": "lora", "rank": 8}, spec)
    assert count_parameters(lora, spec) == 786_432


def test_layers_outside_the_mask_are_not_selected() -> None:
    spec = inspect_model(build("bert", "meta"))
    names = [m.name for m in spec.select(["attn.q", "norm.embed", "embed.tokens"], [1])]
    assert names == [
        "bert.embeddings.word_embeddings",
        "bert.embeddings.LayerNorm",  # outside all layers
        "bert.encoder.layer.1.attention.self.query",
    ]


def test_names_of_models(tiny_model: object) -> None:
    local = resolve_model(str(tiny_model))
    assert local.is_local
    assert local.short_name == "tiny-bert"
    hub = resolve_model("FacebookAI/roberta-base")
    assert not hub.is_local
    assert hub.short_name == "roberta-base"


def test_packaged_model_has_a_hub_id(minilm: str) -> None:
    reference = resolve_model(minilm)
    assert reference.is_local
    assert reference.hub_id == "sentence-transformers/all-MiniLM-L6-v2"


def test_mistakes_are_named(tmp_path: object) -> None:
    with pytest.raises(UnknownNameError, match="did you mean minilm"):
        resolve_model("minlm")
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        resolve_model(str(tmp_path))
