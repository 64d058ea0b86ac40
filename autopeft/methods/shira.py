"""SHiRA (Bhardwaj et al. 2024, arXiv 2406.13175): a sparse update at random fixed places."""

from typing import Any

import torch
from peft import ShiraConfig
from torch import nn
from transformers import PreTrainedModel

from autopeft.methods.inserted import StandIn
from autopeft.methods.library import LibraryMethod, common
from autopeft.methods.method import AttachContext, MethodInfo, float_parameter
from autopeft.methods.peft_attachment import wrap_head
from autopeft.models.spec import ModelSpec, ModuleSpec
from autopeft.space.configuration import Component
from autopeft.space.targets import GROUPS


class Shira(LibraryMethod):
    """W' = W + S, S zero but at k (m + n) random places of an m x n matrix.

    peft counts in units of a LoRA of rank one. The number of units k is the whole number nearest
    to `density` times the entries of all chosen matrices, at least 1.
    """

    info = MethodInfo(
        name="shira",
        family="sparse",
        about="Sparse update at random fixed places of a frozen matrix.",
        default_learning_rate=5e-3,
        default_targets=GROUPS["attn.qv"],
        kinds=GROUPS["linear"],
        module_types=("linear",),
        parameters=(
            float_parameter(
                "density", 1e-5, 0.5, 0.01, "share of the entries that may be non-zero", log=True
            ),
        ),
        mergeable=True,
    )

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        modules = self.info.select(component, spec)
        units = _units(component, modules)
        return sum(units * (m.in_features + m.out_features) for m in modules)

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> ShiraConfig:
        # torch warns at the first sparse tensor until somebody has chosen; off is its default.
        torch.sparse.check_sparse_tensor_invariants.disable()
        return ShiraConfig(
            r=_units(component, modules),
            random_seed=context.seed,
            **common(modules, context),
        )

    def on_meta(
        self, model: PreTrainedModel, component: Component, context: AttachContext
    ) -> nn.Module:
        modules = self.info.select(component, context.spec)
        units = _units(component, modules)
        for module in modules:
            parent, _, child = module.name.rpartition(".")
            linear = model.get_submodule(module.name)
            assert isinstance(linear, nn.Linear)
            n_entries = units * (module.in_features + module.out_features)
            setattr(model.get_submodule(parent), child, _MetaShiraLinear(linear, n_entries))
        wrap_head(model, context.spec)
        return model


class _MetaShiraLinear(StandIn):
    """Shapes of a SHiRA module: peft finds the places with `nonzero`, which `meta` has not."""

    def __init__(self, linear: nn.Linear, n_entries: int) -> None:
        super().__init__(linear)
        with torch.device("meta"):
            self.shira_weight = nn.Parameter(torch.empty(n_entries))
            self.register_buffer("places", torch.empty(2, n_entries, dtype=torch.int32))

    def stored_beside(self) -> list[torch.Tensor]:
        return [self.get_buffer("places")]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        delta = _SparseToDense.apply(  # type: ignore[no-untyped-call]  # torch has no types here
            self.shira_weight, self.weight.shape
        )
        bias: Any = self.base_layer.bias
        return nn.functional.linear(x, self.weight + delta.to(self.weight.dtype), bias)


class _SparseToDense(torch.autograd.Function):
    """What adding a COO tensor to a dense one saves: two 64-bit indices and a value an entry."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        indices = torch.empty((2, values.numel()), dtype=torch.int64, device=values.device)
        ctx.save_for_backward(indices, values.detach().clone())
        return values.new_empty(shape)

    @staticmethod
    def backward(ctx: Any, *_grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        _, values = ctx.saved_tensors
        return torch.empty_like(values), None


def _units(component: Component, modules: list[ModuleSpec]) -> int:
    entries = sum(m.in_features * m.out_features for m in modules)
    unit = sum(m.in_features + m.out_features for m in modules)
    wanted = round(float(component.param("density")) * entries / unit) if unit else 1
    # A matrix cannot hold more than all of its entries.
    most = min(
        (m.in_features * m.out_features // (m.in_features + m.out_features) for m in modules),
        default=1,
    )
    return max(1, min(wanted, most))
