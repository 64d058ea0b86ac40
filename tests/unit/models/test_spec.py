"""Structure from the config alone; counts against published numbers."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig, RobertaConfig

from autopeft.errors import ModelError, UnknownNameError
from autopeft.methods.compose import count_parameters, read_configuration
from autopeft.models.registry import resolve_model
from autopeft.models.spec import ModelSpec, inspect_model
from tests.tiny import CONFIGS, build

#: Module kinds of each family, counted over its two layers (T5: two encoder, two decoder).
KINDS = {
    "bert": "norm.embed 1 attn.q 2 attn.k 2 attn.v 2 attn.o 2 norm.attn 2 mlp.up 2 mlp.down 2 "
    "norm.mlp 2",
    "roberta": "norm.embed 1 attn.q 2 attn.k 2 attn.v 2 attn.o 2 norm.attn 2 mlp.up 2 mlp.down 2 "
    "norm.mlp 2",
    "distilbert": "norm.embed 1 attn.q 2 attn.k 2 attn.v 2 attn.o 2 norm.attn 2 mlp.up 2 "
    "mlp.down 2 norm.mlp 2",
    "gpt2": "norm.attn 2 attn.qkv 2 attn.o 2 norm.mlp 2 mlp.up 2 mlp.down 2 norm.final 1",
    "llama": "attn.q 2 attn.k 2 attn.v 2 attn.o 2 mlp.gate 2 mlp.up 2 mlp.down 2 norm.attn 2 "
    "norm.mlp 2 norm.final 1",
    "t5": "attn.q 6 attn.k 6 attn.v 6 attn.o 6 norm.attn 6 mlp.up 4 mlp.down 4 norm.mlp 4 "
    "norm.final 2",
}


def spec_of(config: BertConfig | RobertaConfig) -> ModelSpec:
    with torch.device("meta"):
        return inspect_model(AutoModelForSequenceClassification.from_config(config))


@pytest.mark.parametrize("family", CONFIGS)
def test_module_kinds(family: str) -> None:
    spec = inspect_model(build(family, "meta"))
    words = KINDS[family].split()
    expected = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    found = {kind: sum(m.kind == kind for m in spec.modules) for kind in spec.kinds}
    assert found == expected
    assert spec.n_layers == (4 if family == "t5" else 2)


@pytest.mark.parametrize("family", CONFIGS)
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
    names = [m.name for m in spec.select(["attn.q", "norm.embed"], [1])]
    assert names == [
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
