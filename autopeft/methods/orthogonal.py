"""Rotations.

OFT (arXiv 2306.07280), BOFT (2311.06243), HRA (2405.17484), PSOFT (2505.11235), RoAd (2409.00119).
"""

import torch
from peft import BOFTConfig, HRAConfig, OFTConfig, PsoftConfig, RoadConfig
from peft.tuners.psoft.layer import PsoftLayer
from torch import nn
from transformers import PreTrainedModel

from autopeft.methods.library import (
    LibraryMethod,
    PerModuleMethod,
    common,
    largest_divisor,
    widths,
)
from autopeft.methods.method import AttachContext, MethodInfo, choice_parameter, int_parameter
from autopeft.models.spec import ModelSpec, ModuleSpec
from autopeft.space.configuration import Component
from autopeft.space.targets import GROUPS


class Oft(LibraryMethod):
    """W' = W R with R block-diagonal and orthogonal, from the Cayley transform of skew blocks.

    Of word embeddings the rows are rotated, one for each word.
    """

    info = MethodInfo(
        name="oft",
        family="orthogonal",
        about="Rotates blocks of the input of a frozen matrix.",
        default_learning_rate=3e-3,
        default_targets=GROUPS["attn.qv"],
        kinds=(*GROUPS["linear"], "embed.tokens"),
        module_types=("linear", "embedding"),
        parameters=(int_parameter("block_size", 2, 256, 16, "largest block", log=True),),
        mergeable=True,
    )

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        modules = self.info.select(component, spec)
        block = _block(component, modules)
        return sum(n // block * block * (block - 1) // 2 for n in _rotated(modules))

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> OFTConfig:
        block = _block(component, modules)
        return OFTConfig(r=0, oft_block_size=block, **common(modules, context))


class Boft(LibraryMethod):
    """W' = diag(s) W R with R block-diagonal and orthogonal, one butterfly factor."""

    built_on = "cpu"

    info = MethodInfo(
        name="boft",
        family="orthogonal",
        about="Rotates blocks of the input and scales the output of a frozen matrix.",
        default_learning_rate=3e-3,
        default_targets=GROUPS["attn.qv"],
        kinds=GROUPS["linear"],
        module_types=("linear",),
        parameters=(int_parameter("block_size", 2, 64, 4, "largest block", log=True),),
        mergeable=True,
    )

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        modules = self.info.select(component, spec)
        block = _block(component, modules)
        return sum(block * m.in_features + m.out_features for m in modules)

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> BOFTConfig:
        # Without its CUDA extension peft takes one butterfly factor whatever is asked for.
        return BOFTConfig(
            boft_block_size=_block(component, modules),
            boft_n_butterfly_factor=1,
            **common(modules, context),
        )


class Hra(PerModuleMethod):
    """W' = W H1 ... Hr, a product of r Householder reflections; pairs cancel at the start."""

    info = MethodInfo(
        name="hra",
        family="orthogonal",
        about="Product of Householder reflections of the input of a frozen matrix.",
        default_learning_rate=3e-3,
        default_targets=GROUPS["attn.qv"],
        kinds=GROUPS["linear"],
        module_types=("linear",),
        parameters=(int_parameter("pairs", 1, 32, 4, "pairs of reflections", log=True),),
        mergeable=True,
    )

    def count_module(self, component: Component, module: ModuleSpec) -> int:
        return 2 * int(component.param("pairs")) * module.in_features

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> HRAConfig:
        return HRAConfig(r=2 * int(component.param("pairs")), **common(modules, context))


class Psoft(LibraryMethod):
    """Rotates and scales the r principal directions of W: W' = W + A (diag(a) R diag(b) - I) B."""

    info = MethodInfo(
        name="psoft",
        family="orthogonal",
        about="Rotates and scales the principal subspace of a frozen matrix.",
        default_learning_rate=3e-3,
        default_targets=GROUPS["attn.qv"],
        kinds=GROUPS["linear"],
        module_types=("linear",),
        parameters=(int_parameter("rank", 2, 256, 32, "principal directions", log=True),),
        mergeable=True,
        converts_to_lora=True,
    )

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        modules = self.info.select(component, spec)
        rank = _rank(component, modules)
        return len(modules) * (rank * (rank - 1) // 2 + 2 * rank)

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> PsoftConfig:
        rank = _rank(component, modules)
        return PsoftConfig(
            r=rank, psoft_alpha=rank, random_seed=context.seed, **common(modules, context)
        )

    def on_meta(
        self, model: PreTrainedModel, component: Component, context: AttachContext
    ) -> nn.Module:
        attached = super().on_meta(model, component, context)
        for module in attached.modules():
            if isinstance(module, PsoftLayer):
                for cache in (module._psoft_A_cache, module._psoft_B_cache):  # noqa: SLF001 - peft's
                    # A decomposition's factors lie in memory as `meta` does not know; what peft
                    # takes of them is a copy, and not a part of the whole.
                    for name, factor in cache.items():  # type: ignore[no-untyped-call]  # peft's
                        cache[name] = torch.empty_like(factor)
        return attached


class Road(PerModuleMethod):
    """y = R (W x + b), R of 2 x 2 rotations with a scale; variants share 1, 2 or 4 numbers."""

    info = MethodInfo(
        name="road",
        family="orthogonal",
        about="Rotates and scales pairs of output features.",
        default_learning_rate=5e-3,
        default_targets=GROUPS["attn.qv"],
        kinds=GROUPS["linear"],
        module_types=("linear",),
        parameters=(
            choice_parameter("numbers", (1, 2, 4), 1, "numbers for each output feature"),
            int_parameter("group_size", 2, 128, 64, "largest group of features", log=True),
        ),
        mergeable=True,
    )

    def count_module(self, component: Component, module: ModuleSpec) -> int:
        return int(component.param("numbers")) * module.out_features

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> RoadConfig:
        outputs = [module.out_features // 2 for module in modules]
        most = int(component.param("group_size")) // 2
        return RoadConfig(
            variant=f"road_{component.param('numbers')}",
            group_size=2 * largest_divisor(outputs, most),
            **common(modules, context),
        )


def _block(component: Component, modules: list[ModuleSpec]) -> int:
    return largest_divisor(_rotated(modules), int(component.param("block_size"))) if modules else 1


def _rotated(modules: list[ModuleSpec]) -> list[int]:
    """Return the widths of what is rotated: inputs, and what embeddings look up."""
    return [m.out_features if m.type == "embedding" else m.in_features for m in modules]


def _rank(component: Component, modules: list[ModuleSpec]) -> int:
    return min([int(component.param("rank")), *widths(modules)])
