"""Module names of transformers' architectures, as the module kinds of `space.targets`.

The names were read from transformers 5.23. A module is recognised by the end of its path, so one
table serves a family and its relatives; what no line matches is `linear.other`.
"""

import re

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
        r"query_key_value",  # GPT-NeoX
        r"qkv_proj",  # Phi-3
        r"qkv",
    ),
    "attn.o": (
        r"attention\.output\.dense",  # BERT, RoBERTa, ELECTRA, DeBERTa-v2
        r"attention\.dense",  # ALBERT, GPT-NeoX
        r"(?:self_attn|encoder_attn|attention)\.(?:o_proj|out_proj|dense)",
        r"out_lin",
        r"attn\.(?:c_proj|Wo|o)",
        r"(?:SelfAttention|EncDecAttention)\.o",
    ),
}

_MLP = {
    "mlp.gate": (r"gate_proj", r"DenseReluDense\.wi_0"),
    "mlp.up": (
        r"intermediate\.dense",
        r"up_proj",
        r"gate_up_proj",  # Phi-3: gate and up in one
        r"(?:fc1|lin1|ffn)",
        r"mlp\.(?:c_fc|Wi|dense_h_to_4h)",
        r"DenseReluDense\.(?:wi|wi_1)",
    ),
    "mlp.down": (
        r"output\.dense",
        r"down_proj",
        r"(?:fc2|lin2|ffn_output)",
        r"mlp\.(?:c_proj|Wo|dense_4h_to_h)",
        r"DenseReluDense\.wo",
    ),
}

_NORM = {
    "norm.attn": (
        r"attention\.output\.LayerNorm",
        r"attention\.LayerNorm",
        r"(?:layernorm_before|input_layernorm|sa_layer_norm|ln_1|attn_norm)",
        r"(?:self_attn_layer_norm|encoder_attn_layer_norm|q_norm|k_norm)",
        r"layer\.0\.layer_norm",  # T5: sublayer 0 is attention
        r"decoder\.block\.\d+\.layer\.1\.layer_norm",  # T5: the decoder's is cross-attention
    ),
    "norm.mlp": (
        r"output\.LayerNorm",
        r"(?:layernorm_after|post_attention_layernorm|output_layer_norm|ln_2|mlp_norm)",
        r"(?:final_layer_norm|full_layer_layer_norm)",
        r"layer\.\d+\.layer_norm",
    ),
}

#: Order matters: the first kind with a matching line is taken, so the longer names come first.
_LINEAR_KINDS = {**_ATTENTION, **_MLP}
_COMPILED = {
    "linear": {k: re.compile(rf"(?:^|\.)(?:{'|'.join(v)})$") for k, v in _LINEAR_KINDS.items()},
    "norm": {k: re.compile(rf"(?:^|\.)(?:{'|'.join(v)})$") for k, v in _NORM.items()},
}

_LAYER = re.compile(r"(?:^|\.)(?:layers?|h|blocks?)\.(\d+)\.")
_DECODER = re.compile(r"(?:^|\.)decoder\.")
_ENCODER = re.compile(r"(?:^|\.)encoder\.")


def linear_kind(path: str) -> str:
    """Return the module kind of a linear layer inside a transformer layer."""
    for kind, pattern in _COMPILED["linear"].items():
        if pattern.search(path):
            return kind
    return "linear.other"


def norm_kind(path: str, *, in_layer: bool) -> str:
    """Return the module kind of a normalisation."""
    if not in_layer:
        return "norm.embed" if "embed" in path.lower() else "norm.final"
    for kind, pattern in _COMPILED["norm"].items():
        if pattern.search(path):
            return kind
    return "norm.mlp"


def layer_number(path: str) -> int | None:
    """Return the number of the layer that a module lies in, within its own stack."""
    match = _LAYER.search(path)
    return int(match[1]) if match else None


def in_decoder(path: str) -> bool:
    """Tell whether a module of an encoder-decoder lies in the decoder."""
    return bool(_DECODER.search(path)) and not _ENCODER.search(path)
