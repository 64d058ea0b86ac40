"""Subspaces of the frozen matrix itself: OSF (arXiv 2504.07097) and AdaMSS (Zheng et al. 2025)."""

import re

import torch
from peft import AdamssConfig, OSFConfig
from peft.tuners.osf.layer import OSFLayer
from torch import nn
from transformers import PreTrainedModel

from autopeft.methods.inserted import StandIn
from autopeft.methods.library import PerModuleMethod, common
from autopeft.methods.method import AttachContext, MethodInfo, int_parameter
from autopeft.methods.peft_attachment import wrap_head
from autopeft.models.spec import ModuleSpec
from autopeft.space.configuration import Component
from autopeft.space.targets import GROUPS


class Osf(PerModuleMethod):
    """W' = U_h S_h V_h^T + U S V^T: the minor directions of W train, orthogonal to the major ones.

    peft keeps a number of major directions; `rank` is what is left of them. Nayak et al. 2025,
    section 3.2.
    """

    info = MethodInfo(
        name="osf",
        family="orthogonal",
        about="Trains the minor singular directions of a frozen matrix, orthogonal to the major.",
        default_learning_rate=1e-3,
        default_targets=GROUPS["attn.qv"],
        kinds=GROUPS["linear"],
        module_types=("linear",),
        parameters=(int_parameter("rank", 1, 256, 8, "minor directions that train", log=True),),
        mergeable=True,
    )

    def count_module(self, component: Component, module: ModuleSpec) -> int:
        return _minor(component, module) * (module.in_features + module.out_features + 1)

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> OSFConfig:
        kept = {
            f"^{re.escape(m.name)}$": min(m.in_features, m.out_features) - _minor(component, m)
            for m in modules
        }
        # peft declares a type that dictionaries of whole numbers alone do not have.
        return OSFConfig(rank_pattern=dict(kept), **common(modules, context))

    def on_meta(
        self, model: PreTrainedModel, component: Component, context: AttachContext
    ) -> nn.Module:
        attached = super().on_meta(model, component, context)
        for module in attached.modules():
            if isinstance(module, OSFLayer):
                # A CPU's decomposition lays V out by columns, so that rows of it are a copy; on
                # `meta` they are a part of the whole.
                for factors in module.osf_svd_params.values():
                    low = factors.get_parameter("V_low")
                    low.data = torch.empty_like(low)
                for name, factor in module._osf_V_high.items():  # type: ignore[no-untyped-call]  # noqa: SLF001 - peft's
                    module._osf_V_high[name] = torch.empty_like(factor)  # noqa: SLF001
        return attached


class AdaMss(PerModuleMethod):
    """W' = W + sum_k P_k B_k A_k V^T: an update of rank one in each of K clusters of outputs.

    V holds r principal directions of the inputs of [W, b]; k-means puts the rows of [W, b] V into
    K clusters, and P_k puts cluster k's outputs back in their places. Larger ranks would have
    counts that depend on the sizes of the clusters. peft can also drop subspaces while it trains,
    which is left out: the number that trains would fall below the one that is budgeted.
    """

    info = MethodInfo(
        name="adamss",
        family="low-rank",
        about="A rank-one update for each cluster of outputs, over shared principal directions.",
        default_learning_rate=5e-3,
        default_targets=GROUPS["attn.qv"],
        kinds=GROUPS["linear"],
        module_types=("linear",),
        parameters=(
            int_parameter("directions", 2, 512, 64, "principal directions r", log=True),
            int_parameter("subspaces", 1, 32, 5, "clusters K of outputs", log=True),
        ),
        mergeable=True,
    )

    def count_module(self, component: Component, module: ModuleSpec) -> int:
        directions, subspaces = _sizes(component, module)
        return subspaces * directions + module.out_features

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> AdamssConfig:
        return AdamssConfig(
            r=int(component.param("directions")),
            num_subspaces=int(component.param("subspaces")),
            subspace_rank=1,
            random_seed=context.seed,
            **common(modules, context),
        )

    def on_meta(
        self, model: PreTrainedModel, component: Component, context: AttachContext
    ) -> nn.Module:
        for module in self.info.select(component, context.spec):
            linear = model.get_submodule(module.name)
            assert isinstance(linear, nn.Linear)
            parent, _, child = module.name.rpartition(".")
            stand_in = _MetaAdaMssLinear(linear, *_sizes(component, module))
            setattr(model.get_submodule(parent), child, stand_in)
        wrap_head(model, context.spec)
        return model


class _MetaAdaMssLinear(StandIn):
    """Shapes of an AdaMSS module: peft clusters values, which `meta` has not.

    The sizes of the clusters do not matter, because only their sum is in what is kept.
    """

    def __init__(self, linear: nn.Linear, directions: int, subspaces: int) -> None:
        super().__init__(linear)
        n_out, n_in = linear.weight.shape
        self.has_bias = linear.bias is not None
        with torch.device("meta"):
            width = n_in + int(self.has_bias)
            self.register_buffer("directions", torch.empty(directions, width))
            self.register_buffer("places", torch.empty(n_out, dtype=torch.int64))
            # peft keeps the places a second time, cluster by cluster.
            self.register_buffer("clusters", torch.empty(n_out, dtype=torch.int64))
            sizes = [len(part) for part in torch.arange(n_out).tensor_split(subspaces)]
            self.a = nn.ParameterList(torch.empty(1, directions) for _ in sizes)
            self.b = nn.ParameterList(torch.empty(size, 1) for size in sizes)

    def stored_beside(self) -> list[torch.Tensor]:
        return [self.get_buffer("directions")]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        given, x = x.dtype, x.to(self.weight.dtype)
        one = x.new_ones(*x.shape[:-1], 1)
        seen = torch.cat((x, one), dim=-1) if self.has_bias else x
        low = nn.functional.linear(seen, self.get_buffer("directions"))
        parts = [
            nn.functional.linear(nn.functional.linear(low, a), b)
            for a, b in zip(self.a, self.b, strict=True)
        ]
        base: torch.Tensor = self.base_layer(x)
        index = self.get_buffer("places").expand(base.shape)
        delta = torch.cat(parts, dim=-1)
        placed = torch.zeros_like(base, dtype=delta.dtype).scatter(-1, index, delta)
        return (base + placed).to(given)


def _minor(component: Component, module: ModuleSpec) -> int:
    # peft wants at least one direction that is kept.
    return min(int(component.param("rank")), min(module.in_features, module.out_features) - 1)


def _sizes(component: Component, module: ModuleSpec) -> tuple[int, int]:
    """Return the numbers of directions and of clusters that a module has room for."""
    width = module.in_features + int(module.has_bias)
    directions = min(int(component.param("directions")), width, module.out_features)
    return directions, min(int(component.param("subspaces")), module.out_features)
