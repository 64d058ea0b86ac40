"""Prefix tuning (Li and Liang 2021, arXiv 2101.00190) at every chosen layer.

peft's own cannot choose layers and refuses several encoders. Here keys and values are put in front
of the model's own inside the attention function, which transformers lets one register: no fork, no
shift of the positions, and nothing changes where a layer has no prefix.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from autopeft.methods.inserted import InsertedMethod, Insertion
from autopeft.methods.method import MethodInfo, int_parameter
from autopeft.models.spec import ModelSpec, ModuleSpec
from autopeft.space.configuration import Component

IMPLEMENTATION = "autopeft_prefix"
CHILD = "prefix_key_values"


class PrefixTuning(InsertedMethod):
    """softmax(Q [P_k; K]^T) [P_v; V] with l trained keys and values at each chosen layer."""

    info = MethodInfo(
        name="prefix",
        family="prompt",
        about="Trained keys and values in front of the model's own.",
        default_learning_rate=1e-2,
        default_targets=("attn.k", "attn.v", "attn.qkv"),
        kinds=("attn.k", "attn.v", "attn.qkv"),
        module_types=("linear", "conv1d"),
        parameters=(
            int_parameter("length", 1, 16384, 12, "prefix length l", log=True, searched_to=768),
        ),
        mergeable=False,
        maskable=True,
        starts_at_base=False,
        target_choices=("attn.kv",),
    )

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        length = int(component.param("length"))
        return length * sum(sum(widths) for widths in self._places(component, spec).values())

    def objection(self, component: Component, spec: ModelSpec) -> str | None:
        if not spec.attention_interface:
            return (
                f"{spec.family}'s attention does not go through transformers' interface to scaled "
                "dot-product attention, where prefixes go in"
            )
        if any(None in widths for widths in self._widths(component, spec).values()):
            return "prefix needs keys and values of the same attention: targets attn.kv"
        return None

    def insert(self, model: PreTrainedModel, component: Component, spec: ModelSpec) -> Insertion:
        length = int(component.param("length"))
        modules = {
            f"{place}.{CHILD}": KeyValues(length, *widths, next(model.parameters()).device)
            for place, widths in self._places(component, spec).items()
        }
        return PrefixInsertion(model, modules)

    def _places(self, component: Component, spec: ModelSpec) -> dict[str, tuple[int, int]]:
        """Return the widths of keys and values by the name of the attention module."""
        return {
            place: (key, value)
            for place, (key, value) in self._widths(component, spec).items()
            if key is not None and value is not None
        }

    def _widths(
        self, component: Component, spec: ModelSpec
    ) -> dict[str, tuple[int | None, int | None]]:
        """Return the same, `None` where a projection is not chosen or its width not known."""
        outputs = {_place(m): m.in_features for m in spec.modules if m.kind == "attn.o"}
        found: dict[str, dict[str, int | None]] = {}
        for module in self.info.select(component, spec):
            widths = found.setdefault(_place(module), {})
            if module.kind == "attn.qkv":
                width = _fused_width(module, outputs.get(_place(module)))
                widths |= {"attn.k": width, "attn.v": width}
            else:
                widths[module.kind] = module.out_features
        return {place: (w.get("attn.k"), w.get("attn.v")) for place, w in found.items()}


def _place(module: ModuleSpec) -> str:
    return module.name.rpartition(".")[0]


def _fused_width(module: ModuleSpec, query_width: int | None) -> int | None:
    """Return the width of the keys in a fused projection, as wide as the values.

    With grouped queries they are narrower than the queries, whose width is what the attention's
    output projection reads.
    """
    return None if query_width is None else (module.out_features - query_width) // 2


class KeyValues(nn.Module):
    """Trained keys (l, d_k) and values (l, d_v) of one attention module."""

    def __init__(self, length: int, d_key: int, d_value: int, device: torch.device) -> None:
        super().__init__()
        self.key = nn.Parameter(0.02 * torch.randn(length, d_key, device=device))
        self.value = nn.Parameter(0.02 * torch.randn(length, d_value, device=device))

    def heads(self, like: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Return prefix values (l, d) as (batch, heads, l, d / heads), as in `like`."""
        batch, n_heads, _, width = like.shape
        split = values.view(1, len(values), n_heads, width).transpose(1, 2)
        return split.expand(batch, -1, -1, -1).to(like.dtype)


class PrefixInsertion(Insertion):
    """Prefixes beside attention modules, and the attention function that reads them."""

    def __init__(self, model: PreTrainedModel, modules: Mapping[str, nn.Module]) -> None:
        super().__init__(model, modules)
        self._implementation = model.config._attn_implementation  # noqa: SLF001 - transformers' name
        model.set_attn_implementation(IMPLEMENTATION)

    def remove(self, model: PreTrainedModel) -> None:
        super().remove(model)
        model.set_attn_implementation(self._implementation)


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

    Shapes: query (batch, heads, q, d), key and value (batch, key heads, k, d), mask
    (batch or 1, 1 or heads, q, k), boolean or additive.
    """
    prefix = getattr(module, CHILD, None)
    if prefix is not None:
        n_query, n_key, length = query.shape[2], key.shape[2], len(prefix.key)
        causal = getattr(module, "is_causal", False) if is_causal is None else is_causal
        if attention_mask is None and causal and n_query > 1:
            attention_mask = torch.ones(n_query, n_key, dtype=torch.bool, device=query.device).tril(
                n_key - n_query
            )[None, None]
            is_causal = False
        key = torch.cat([prefix.heads(key, prefix.key), key], dim=2)
        value = torch.cat([prefix.heads(value, prefix.value), value], dim=2)
        if attention_mask is not None:
            visible = 1 if attention_mask.dtype == torch.bool else 0
            attention_mask = nn.functional.pad(attention_mask, (length, 0), value=visible)
        if position_bias is not None:
            position_bias = nn.functional.pad(position_bias, (length, 0))
    if position_bias is not None:
        kwargs["position_bias"] = position_bias
    return sdpa_attention_forward(
        module, query, key, value, attention_mask, is_causal=is_causal, **kwargs
    )


AttentionInterface.register(IMPLEMENTATION, prefix_attention)
AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
