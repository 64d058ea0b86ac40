"""The attention function that reads trained keys and values; transformers lets one register it."""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import pad
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

IMPLEMENTATION = "autopeft_prefix"
#: Names of what attention modules hold: a prefix, its gate, and what is added to their output.
CHILD = "prefix_key_values"
GATE_CHILD = "prefix_gate"
BESIDE = "beside_attention"


def prefix_attention(  # noqa: PLR0913, PLR0917 - transformers' signature
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    position_bias: torch.Tensor | None = None,
    is_causal: bool | None = None,  # noqa: FBT001
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Scaled dot-product attention over a module's prefix and its own keys and values.

    What a module named `BESIDE` makes of the queries is added to the output.

    Shapes: query (batch, heads, q, d), key and value (batch, key heads, k, d), mask
    (batch or 1, 1 or heads, q, k), boolean or additive.
    """
    asked, gates = query, None
    if hasattr(module, CHILD):
        prefix_key, prefix_value, gates = _in_batch(module, key, value)
        length = prefix_key.shape[2]
        causal = getattr(module, "is_causal", False) if is_causal is None else is_causal
        if attention_mask is None and causal and query.shape[2] > 1:
            attention_mask = _causal(query, key)
            is_causal = False
        if gates is not None:
            kwargs["scaling"] = kwargs.get("scaling") or query.shape[-1] ** -0.5
            asked = torch.cat([query, gates * query], dim=-1)
            key, prefix_key = _side_by_side(key, prefix_key)
            value, prefix_value = _side_by_side(value, prefix_value)
        key = torch.cat([prefix_key, key], dim=2)
        value = torch.cat([prefix_value, value], dim=2)
        if attention_mask is not None:
            visible = 1 if attention_mask.dtype == torch.bool else 0
            attention_mask = pad(attention_mask, (length, 0), value=visible)
        if position_bias is not None:
            position_bias = pad(position_bias, (length, 0))
    if position_bias is not None:
        kwargs["position_bias"] = position_bias
    output, _ = sdpa_attention_forward(
        module, asked, key, value, attention_mask, is_causal=is_causal, **kwargs
    )
    if gates is not None:
        own, of_prefix = output.chunk(2, dim=-1)
        output = own + gates.transpose(1, 2) * of_prefix
    beside = getattr(module, BESIDE, None)
    if beside is not None:
        output = output + beside(query, kwargs.get("scaling"))
    return output, None


def _causal(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """Return the mask (1, 1, q, k) under which the last queries see no later keys."""
    n_query, n_key = query.shape[2], key.shape[2]
    everything = torch.ones(n_query, n_key, dtype=torch.bool, device=query.device)
    return everything.tril(n_key - n_query)[None, None]


def _in_batch(
    module: nn.Module, key: torch.Tensor, value: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Return the prefix of an attention module in the shapes of its own keys and values.

    A gate of the whole example is multiplied into it; those of each query, (batch, 1, q, 1), are
    returned.
    """
    of_key, of_value = getattr(module, CHILD)()
    prefix_key, prefix_value = _by_heads(of_key, key), _by_heads(of_value, value)
    gate = getattr(module, GATE_CHILD, None)
    if gate is None:
        return prefix_key, prefix_value, None
    opened = gate().to(key.dtype)
    if opened.shape[2] > 1:
        return prefix_key, prefix_value, opened
    return opened * prefix_key, opened * prefix_value, None


def _side_by_side(own: torch.Tensor, prefix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return both twice as wide, with zeros where the other one is.

    The queries are beside their gated selves, so that (q, g q) . (0, p) = g (q . p): all queries
    share the prefix, and yet each has it behind a gate of its own.
    """
    width = own.shape[-1]
    return pad(own, (0, width)), pad(prefix, (width, 0))


def _by_heads(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return prefix values (l, d) as (batch, heads, l, d / heads), as in `like`."""
    batch, n_heads, _, width = like.shape
    split = values.view(1, len(values), n_heads, width).transpose(1, 2)
    return split.expand(batch, -1, -1, -1).to(like.dtype)


AttentionInterface.register(IMPLEMENTATION, prefix_attention)
AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
