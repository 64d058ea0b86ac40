"""Module names of transformers' architectures, as the module kinds of `space.targets`.

The names were read from transformers 5.23. A module is recognised by the end of its path, so one
table serves a family and its relatives; what no line matches is `linear.other` or `norm.other`.
"""

import re

#: Families (`model_type`) whose kinds were compared with their code, each held by a test. In
#: another one the names are trusted, and the user is told which module was taken for what.
KNOWN = frozenset(
    (
        *("albert", "bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra"),
        *("modernbert", "mpnet", "roberta", "xlm-roberta"),
        *("bloom", "falcon", "gemma", "gemma2", "gemma3_text", "gpt2", "gpt_bigcode", "gpt_neo"),
        *("gpt_neox", "gptj", "llama", "mistral", "opt", "phi", "phi3", "qwen2", "qwen3"),
        *("smollm3", "starcoder2"),
        *("bart", "mbart", "mt5", "t5", "umt5"),
        *("beit", "deit", "dinov2", "hiera", "imagegpt", "vit"),
    )
)

_ATTENTION = {
    "attn.q": (
        r"(?:self\.)?query(?:_proj)?",  # BERT, RoBERTa, ELECTRA, ALBERT, DeBERTa-v2
        r"q_proj",  # Llama, OPT, BART, ViT
        r"q_lin",  # DistilBERT
        r"(?:SelfAttention|EncDecAttention)\.q",  # T5
        r"attn\.q",  # MPNet
    ),
    "attn.k": (
        r"(?:self\.)?key(?:_proj)?",
        r"k_proj",
        r"k_lin",
        r"(?:SelfAttention|EncDecAttention)\.k",
        r"attn\.k",
    ),
    "attn.v": (
        r"(?:self\.)?value(?:_proj)?",
        r"v_proj",
        r"v_lin",
        r"(?:SelfAttention|EncDecAttention)\.v",
        r"attn\.v",
    ),
    "attn.qkv": (
        r"c_attn",  # GPT-2
        r"Wqkv",  # ModernBERT
        r"query_key_value",  # GPT-NeoX, BLOOM, Falcon
        r"qkv_proj",  # Phi-3
        r"attention\.self\.in_proj",  # DeBERTa
        r"qkv",  # Hiera and other fused vision transformers
    ),
    "attn.o": (
        r"attention\.output\.dense",  # BERT, RoBERTa, ELECTRA, DeBERTa-v2
        r"(?:self_)?attention\.dense",  # ALBERT, GPT-NeoX, BLOOM, Falcon
        r"(?:self_attn|encoder_attn|attention|attn)\.(?:o_proj|out_proj)",
        r"self_attn\.dense",  # Phi,
        r"out_lin",
        r"attn\.(?:c_proj|Wo|o|proj)",
        r"(?:SelfAttention|EncDecAttention)\.o",
    ),
}

_MLP = {
    "mlp.gate": (r"gate_proj", r"DenseReluDense\.wi_0"),
    "mlp.gate_up": (
        r"gate_up_proj",  # Phi-3
        r"mlp\.Wi",  # ModernBERT
    ),
    "mlp.up": (
        r"intermediate\.dense",
        r"up_proj",
        r"(?:fc1|fc_in|lin1|ffn)",
        r"mlp\.(?:c_fc|dense_h_to_4h)",
        r"DenseReluDense\.(?:wi|wi_1)",
    ),
    "mlp.down": (
        r"output\.dense",
        r"down_proj",
        r"(?:fc2|fc_out|lin2|ffn_output)",
        r"mlp\.(?:c_proj|Wo|dense_4h_to_h)",
        r"DenseReluDense\.wo",
    ),
}

_NORM = {
    "norm.attn": (
        r"attention\.output\.LayerNorm",
        r"attention\.LayerNorm",
        r"(?:layernorm_before|input_layernorm|sa_layer_norm|ln_1|ln_attn|norm1|attn_norm)",
        r"(?:self_attn_layer_norm|encoder_attn_layer_norm|q_norm|k_norm)",
        r"layer\.0\.layer_norm",  # T5: sublayer 0 is attention
        r"decoder\.block\.\d+\.layer\.1\.layer_norm",  # T5: the decoder's is cross-attention
    ),
    "norm.mlp": (
        r"output\.LayerNorm",
        r"(?:layernorm_after|post_attention_layernorm|output_layer_norm|ln_2|ln_mlp|norm2|mlp_norm)",
        r"(?:final_layer_norm|full_layer_layer_norm)",
        r"(?:pre|post)_feedforward_layernorm",  # Gemma 2 and 3
        r"layer\.\d+\.layer_norm",
    ),
}


def _compiled(lines: dict[str, tuple[str, ...]]) -> dict[str, re.Pattern[str]]:
    return {kind: re.compile(rf"(?:^|\.)(?:{'|'.join(ends)})$") for kind, ends in lines.items()}


#: Order matters: the first kind with a matching line is taken, so the longer names come first.
_LINEAR_KINDS = _compiled({**_ATTENTION, **_MLP})
_NORM_KINDS = _compiled(_NORM)

#: Keys and values of a decoder's attention to the encoder: T5's and BART's.
_READS_ENCODER = re.compile(r"(?:EncDecAttention\.[kv]|encoder_attn\.[kv]_proj)$")

#: The outermost numbered module is the layer: T5 numbers the sublayers of its blocks too.
_LAYER = re.compile(r"(?:.*?\.)??(?:(?:albert_)?layers?|h|blocks?)\.\d+(?=\.|$)")


def linear_kind(path: str) -> str:
    """Return the module kind of a linear layer inside a transformer layer."""
    kinds = (kind for kind, pattern in _LINEAR_KINDS.items() if pattern.search(path))
    return next(kinds, "linear.other")


def norm_kind(path: str, *, in_layer: bool, feedforward_has_own: bool) -> str:
    """Return the module kind of a normalisation.

    Args:
        path: Where it is in the model.
        in_layer: Whether that is inside a transformer layer.
        feedforward_has_own: Whether the layer's feed-forward block has norms that are named after
            it. Then `post_attention_layernorm` is what it says, the norm of the attention's
            output (Gemma 2 and 3); in Llama it is the norm of the feed-forward block's input.
    """
    if not in_layer:
        return "norm.embed" if "embed" in path.lower() else "norm.final"
    if feedforward_has_own and path.endswith("post_attention_layernorm"):
        return "norm.attn"
    kinds = (kind for kind, pattern in _NORM_KINDS.items() if pattern.search(path))
    return next(kinds, "norm.other")


def reads_encoder(path: str) -> bool:
    """Tell whether a module of a decoder reads what the encoder has made."""
    return _READS_ENCODER.search(path) is not None


def layer_path(path: str) -> str | None:
    """Return the path of the transformer layer that a module lies in, `None` outside of all."""
    match = _LAYER.match(path)
    return match[0] if match else None
