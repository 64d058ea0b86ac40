"""Configs of tiny models: two layers of width 32, so that they are built in milliseconds."""

from collections.abc import Callable

import transformers as hf
from transformers import BertConfig, PreTrainedConfig

N_LABELS = 3
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
TEXT = {"vocab_size": 99, "num_labels": N_LABELS}
#: Token ids that lie inside the small vocabulary.
IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
FFN = {"intermediate_size": 64}
GROUPED = {"num_key_value_heads": 2}
IMAGE = {**SHAPE, "image_size": 8, "patch_size": 4, "num_labels": N_LABELS}
T5 = {
    **TEXT,
    "d_model": 32,
    "num_layers": 2,
    "num_heads": 4,
    "d_ff": 64,
    "d_kv": 8,
    "decoder_start_token_id": 0,
    "eos_token_id": 1,
}
BART = {
    **TEXT,
    **IDS,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
}
GPT2 = {**TEXT, **IDS, "n_embd": 32, "n_layer": 2, "n_head": 4}
Config = Callable[[], PreTrainedConfig]


def bert_config(n_labels: int = N_LABELS) -> BertConfig:
    return BertConfig(
        **SHAPE, **FFN, vocab_size=99, max_position_embeddings=64, num_labels=n_labels
    )


#: Families that every method is tried on.
CONFIGS: dict[str, Config] = {
    "bert": bert_config,
    "roberta": lambda: hf.RobertaConfig(**SHAPE, **FFN, **TEXT),
    "gpt2": lambda: hf.GPT2Config(**GPT2),
    "llama": lambda: hf.LlamaConfig(**SHAPE, **FFN, **TEXT, **IDS, **GROUPED),
    "t5": lambda: hf.T5Config(**T5),
    "vit": lambda: hf.ViTConfig(**IMAGE, **FFN),
}

#: Families that one method of each way of attaching is tried on.
FURTHER: dict[str, Config] = {
    "distilbert": lambda: hf.DistilBertConfig(**TEXT, dim=32, n_layers=2, n_heads=4, hidden_dim=64),
    "deberta-v2": lambda: hf.DebertaV2Config(
        **SHAPE, **FFN, **TEXT, relative_attention=True, pos_att_type=["p2c", "c2p"]
    ),
    "electra": lambda: hf.ElectraConfig(**SHAPE, **FFN, **TEXT, embedding_size=16),
    "albert": lambda: hf.AlbertConfig(**SHAPE, **FFN, **TEXT, **IDS),
    "modernbert": lambda: hf.ModernBertConfig(
        **SHAPE, **FFN, **TEXT, **IDS, cls_token_id=1, sep_token_id=2
    ),
    "opt": lambda: hf.OPTConfig(**SHAPE, **TEXT, **IDS, ffn_dim=64, word_embed_proj_dim=32),
    "gpt_neox": lambda: hf.GPTNeoXConfig(**SHAPE, **FFN, **TEXT, **IDS),
    "mistral": lambda: hf.MistralConfig(**SHAPE, **FFN, **TEXT, **IDS, **GROUPED),
    "qwen2": lambda: hf.Qwen2Config(**SHAPE, **FFN, **TEXT, **IDS, **GROUPED),
    "qwen3": lambda: hf.Qwen3Config(**SHAPE, **FFN, **TEXT, **IDS, **GROUPED, head_dim=8),
    "gemma": lambda: hf.GemmaConfig(**SHAPE, **FFN, **TEXT, **IDS, **GROUPED, head_dim=8),
    "gemma2": lambda: hf.Gemma2Config(**SHAPE, **FFN, **TEXT, **IDS, **GROUPED, head_dim=8),
    "gemma3_text": lambda: hf.Gemma3TextConfig(
        **SHAPE, **FFN, **TEXT, **IDS, **GROUPED, head_dim=8
    ),
    "phi": lambda: hf.PhiConfig(**SHAPE, **FFN, **TEXT, **IDS),
    "phi3": lambda: hf.Phi3Config(**SHAPE, **FFN, **TEXT, **IDS, **GROUPED),
    "flan-t5": lambda: hf.T5Config(**T5, feed_forward_proj="gated-gelu"),
    "bart": lambda: hf.BartConfig(**BART),
}

#: Families of which the structure alone is tested.
STRUCTURE: dict[str, Config] = {
    "camembert": lambda: hf.CamembertConfig(**SHAPE, **FFN, **TEXT),
    "xlm-roberta": lambda: hf.XLMRobertaConfig(**SHAPE, **FFN, **TEXT),
    "mpnet": lambda: hf.MPNetConfig(**SHAPE, **FFN, **TEXT),
    "deberta": lambda: hf.DebertaConfig(
        **SHAPE, **FFN, **TEXT, relative_attention=True, pos_att_type=["p2c", "c2p"]
    ),
    "bloom": lambda: hf.BloomConfig(**TEXT, **IDS, hidden_size=32, n_layer=2, n_head=4),
    "falcon": lambda: hf.FalconConfig(**SHAPE, **TEXT, **IDS),
    "gpt_bigcode": lambda: hf.GPTBigCodeConfig(**GPT2),
    "gpt_neo": lambda: hf.GPTNeoConfig(
        **TEXT,
        **IDS,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
    ),
    "gptj": lambda: hf.GPTJConfig(**GPT2, rotary_dim=4),
    "smollm3": lambda: hf.SmolLM3Config(**SHAPE, **FFN, **TEXT, **IDS, **GROUPED),
    "starcoder2": lambda: hf.Starcoder2Config(**SHAPE, **FFN, **TEXT, **IDS, **GROUPED),
    "mbart": lambda: hf.MBartConfig(**BART),
    "mt5": lambda: hf.MT5Config(**T5),
    "umt5": lambda: hf.UMT5Config(**T5),
    "beit": lambda: hf.BeitConfig(**IMAGE, **FFN),
    "deit": lambda: hf.DeiTConfig(**IMAGE, **FFN, architectures=["DeiTForImageClassification"]),
    "dinov2": lambda: hf.Dinov2Config(**IMAGE),
    "hiera": lambda: hf.HieraConfig(
        embed_dim=8,
        depths=[1, 1],
        num_heads=[2, 2],
        embed_dim_multiplier=2.0,
        num_query_pool=1,
        image_size=[32, 32],
        patch_size=[4, 4],
        num_labels=N_LABELS,
    ),
    "imagegpt": lambda: hf.ImageGPTConfig(
        n_embd=32, n_layer=2, n_head=4, vocab_size=17, n_positions=16, num_labels=N_LABELS
    ),
}

#: Families without an encoder.
DECODERS = (
    *("bloom", "falcon", "gemma", "gemma2", "gemma3_text", "gpt2", "gpt_bigcode", "gpt_neo"),
    *("gpt_neox", "gptj", "llama", "mistral", "opt", "phi", "phi3", "qwen2", "qwen3", "smollm3"),
    "starcoder2",
)
