"""LLaMA-Adapter's zero-initialised attention (Zhang et al. 2023, arXiv 2303.16199).

peft's own knows Llama, Mistral and GPT-2, and the topmost layers alone.
"""

from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedModel

from autopeft.methods.inserted import InsertedMethod, Insertion
from autopeft.methods.method import MethodInfo, int_parameter
from autopeft.methods.prefix import PrefixInsertion
from autopeft.methods.prefix_attention import BESIDE
from autopeft.models.spec import ModelSpec, ModuleSpec
from autopeft.space.configuration import Component

#: Fused projections whose output is all queries, then all keys, then all values.
_IN_THIRDS = ("c_attn", "Wqkv")


class AdaptionPrompt(InsertedMethod):
    """softmax(Q K^T) V + g softmax(Q K_p^T) V_p, K_p and V_p the projections of a trained prompt.

    The gate g starts at zero; section 3.2.
    """

    info = MethodInfo(
        name="adaption_prompt",
        family="prompt",
        about="Attention to a trained prompt, added through a gate that starts closed.",
        default_learning_rate=1e-2,
        default_targets=("attn.k", "attn.v", "attn.qkv"),
        kinds=("attn.k", "attn.v", "attn.qkv"),
        module_types=("linear", "conv1d"),
        parameters=(int_parameter("length", 1, 256, 10, "tokens of a prompt", log=True),),
        mergeable=False,
        target_choices=("attn.kv",),
    )

    def obstacle(self, component: Component, spec: ModelSpec) -> str | None:  # noqa: ARG002
        for module in spec.modules:
            if module.kind == "attn.qkv" and not module.name.endswith(_IN_THIRDS):
                return (
                    f"{spec.family} has queries, keys and values in one projection, and not as "
                    "its thirds"
                )
        return None

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        length = int(component.param("length"))
        return sum(length * p[0].in_features + 1 for p in self._places(component, spec).values())

    def insert(self, model: PreTrainedModel, component: Component, spec: ModelSpec) -> Insertion:
        length = int(component.param("length"))
        modules: dict[str, nn.Module] = {}
        for place, projections in self._places(component, spec).items():
            own = [model.get_submodule(module.name) for module in projections]
            attention = GatedPrompt(length, projections[0].in_features, own)
            modules[f"{place}.{BESIDE}"] = attention.to(next(model.parameters()).device)
        return PrefixInsertion(model, modules)

    def _places(self, component: Component, spec: ModelSpec) -> dict[str, list[ModuleSpec]]:
        """Return the projections to keys and values by the name of the attention module."""
        places: dict[str, list[ModuleSpec]] = {}
        for module in self.info.select(component, spec):
            places.setdefault(module.name.rpartition(".")[0], []).append(module)
        return {
            place: sorted(modules, key=lambda m: m.kind)  # keys before values
            for place, modules in places.items()
            if {m.kind for m in modules} in ({"attn.k", "attn.v"}, {"attn.qkv"})
        }


class GatedPrompt(nn.Module):
    """A prompt (l, d) and its gate, beside one attention module."""

    def __init__(self, length: int, d_in: int, projections: Sequence[nn.Module]) -> None:
        super().__init__()
        self.prompt = nn.Parameter(torch.randn(length, d_in))
        self.gate = nn.Parameter(torch.zeros(1))
        self._projections = tuple(projections)  # in a tuple: they belong to the model

    def forward(self, query: torch.Tensor, scaling: float | None) -> torch.Tensor:
        """Return what is added, (batch, q, heads, d), for queries (batch, heads, q, d)."""
        prompt = self.prompt.to(query.dtype)
        projected = [projection(prompt) for projection in self._projections]
        if len(projected) == 1:
            projected = list(projected[0].chunk(3, dim=-1)[1:])
        key, value = (self._by_heads(states, query) for states in projected)
        scores = query @ key.transpose(-1, -2) * (scaling or query.shape[-1] ** -0.5)
        seen = self.gate * torch.softmax(scores, dim=-1, dtype=torch.float32)
        return (seen.to(query.dtype) @ value).transpose(1, 2)

    def _by_heads(self, states: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
        """Return (l, key heads * d) as (heads, l, d); groups of queries share their keys."""
        n_heads, width = query.shape[1], query.shape[-1]
        split = states.view(len(states), -1, width).transpose(0, 1)
        return split.repeat_interleave(n_heads // len(split), dim=0)
