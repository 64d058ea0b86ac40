"""FRoD (AAAI 2026, doi 10.1609/aaai.v40i31.39813): rotations in a basis that layers share."""

from typing import Any

import torch
from peft import FrodConfig
from peft.tuners.frod.model import _category_from_key
from torch import nn
from transformers import PreTrainedModel

from autopeft.methods.inserted import StandIn
from autopeft.methods.library import PerModuleMethod, common, transposed
from autopeft.methods.method import AttachContext, MethodInfo, float_parameter
from autopeft.methods.peft_attachment import wrap_head
from autopeft.models.spec import ModuleSpec
from autopeft.space.configuration import Component
from autopeft.space.targets import GROUPS


class Frod(PerModuleMethod):
    """W' = U (S + diag(l)) V^T, where W = U diag(l) V^T and S is sparse.

    V comes from all chosen matrices of one place together; l and the entries of S at random fixed
    places off the diagonal train: n and a `density` of n * n numbers, n inputs.
    """

    info = MethodInfo(
        name="frod",
        family="shared-basis",
        about="Scales and sparse rotations in a basis shared by the layers' matrices.",
        default_learning_rate=3e-3,
        default_targets=GROUPS["attn.qv"],
        kinds=GROUPS["linear"],
        module_types=("linear", "conv1d"),
        parameters=(
            float_parameter("density", 1e-4, 0.1, 0.01, "share of S that trains", log=True),
        ),
        mergeable=True,
        # The decomposition takes minutes where the inputs are as wide as a feed-forward block.
        target_choices=("attn.qv", "attn"),
    )

    def count_module(self, component: Component, module: ModuleSpec) -> int:
        return module.in_features + _entries(component, module)

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> FrodConfig:
        # torch warns at the first sparse tensor until somebody has chosen; off is its default.
        torch.sparse.check_sparse_tensor_invariants.disable()
        return FrodConfig(
            sparse_rate=float(component.param("density")),
            projection_prng_key=context.seed,
            progressbar=False,
            **transposed(modules),
            **common(modules, context),
        )

    def on_meta(
        self, model: PreTrainedModel, component: Component, context: AttachContext
    ) -> nn.Module:
        shared: dict[str, _Basis] = {}
        for module in self.info.select(component, context.spec):
            basis = _Basis(module.in_features, _entries(component, module))
            basis = shared.setdefault(_category_from_key(module.name), basis)
            parent, _, child = module.name.rpartition(".")
            stand_in = _MetaFrod(model.get_submodule(module.name), module.out_features, basis)
            setattr(model.get_submodule(parent), child, stand_in)
        wrap_head(model, context.spec)
        return model


class _Basis(nn.Module):
    """What the modules of one place share: V of shape (n, n), places of S's entries, its size."""

    def __init__(self, n: int, n_entries: int) -> None:
        super().__init__()
        with torch.device("meta"):
            self.register_buffer("right", torch.empty(n, n))
            self.register_buffer("places", torch.empty(2, n_entries, dtype=torch.int64))
            self.register_buffer("size", torch.empty(2, dtype=torch.int64))


class _MetaFrod(StandIn):
    """Shapes of a FRoD module: peft decomposes values, which `meta` has not."""

    def __init__(self, base_layer: nn.Module, n_out: int, basis: _Basis) -> None:
        super().__init__(base_layer)
        places = basis.get_buffer("places")
        n = len(basis.get_buffer("right"))
        self.basis = basis
        with torch.device("meta"):
            self.scales = nn.Parameter(torch.empty(n))
            self.entries = nn.Parameter(torch.empty(places.shape[1]))
            self.register_buffer("left", torch.empty(n_out, n))

    def stored_beside(self) -> list[torch.Tensor]:
        return list(self.basis.buffers())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # peft takes everything in the type of its input, whatever it is held in.
        right = self.basis.get_buffer("right").to(x.dtype)
        z = x.reshape(-1, x.shape[-1]) @ right
        places, entries = self.basis.get_buffer("places"), self.entries.to(x.dtype)
        product = _SparseProduct if x.dtype == torch.float32 else _DenseProduct
        rotated = product.apply(entries, places, z)  # type: ignore[no-untyped-call]  # torch's
        left = self.get_buffer("left").to(x.dtype)
        out = nn.functional.linear(rotated + z * self.scales.to(x.dtype), left)
        out = out.reshape(*x.shape[:-1], -1)
        bias: Any = self.base_layer.bias
        return out if bias is None else out + bias


class _SparseProduct(torch.autograd.Function):
    """What a product of a COO tensor with a dense one keeps.

    Making the COO tensor keeps its places, the product a sorted copy of them, the values in that
    order, and the dense factor.
    """

    @staticmethod
    def forward(
        ctx: Any, values: torch.Tensor, places: torch.Tensor, dense: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(places, places.clone(), values.detach().clone(), dense)
        return torch.empty_like(dense)

    @staticmethod
    def backward(ctx: Any, *_grads: torch.Tensor) -> tuple[torch.Tensor, None, torch.Tensor]:
        _, _, values, dense = ctx.saved_tensors
        return torch.empty_like(values), None, torch.empty_like(dense)


class _DenseProduct(torch.autograd.Function):
    """What the product keeps in 16 bits, for which peft makes S dense: that, and the factor."""

    @staticmethod
    def forward(
        ctx: Any, values: torch.Tensor, places: torch.Tensor, dense: torch.Tensor
    ) -> torch.Tensor:
        n = dense.shape[-1]
        ctx.save_for_backward(places, values.detach().clone(), dense.new_empty(n, n), dense)
        return torch.empty_like(dense)

    @staticmethod
    def backward(ctx: Any, *_grads: torch.Tensor) -> tuple[torch.Tensor, None, torch.Tensor]:
        _, values, _, dense = ctx.saved_tensors
        return torch.empty_like(values), None, torch.empty_like(dense)


def _entries(component: Component, module: ModuleSpec) -> int:
    """Return how many entries of S train; peft rounds down, but trains one at least."""
    n = module.in_features
    return max(1, min(int(n * n * float(component.param("density"))), n * n - n))
