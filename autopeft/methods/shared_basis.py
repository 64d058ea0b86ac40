"""Few trained numbers over frozen random or singular bases.

VeRA (arXiv 2310.11454), PVeRA (2512.07703), RandLoRA (2502.00987), VB-LoRA (2405.15179), Uni-LoRA
(2506.00799), TinyLoRA (2602.04118).
"""

import math

from peft import (
    PveraConfig,
    RandLoraConfig,
    TinyLoraConfig,
    UniLoraConfig,
    VBLoRAConfig,
    VeraConfig,
)

from autopeft.methods.library import (
    LibraryMethod,
    PerModuleMethod,
    common,
    largest_divisor,
    refuse_scaled,
    transposed,
    widths,
)
from autopeft.methods.method import (
    AttachContext,
    MethodInfo,
    choice_parameter,
    float_parameter,
    int_parameter,
)
from autopeft.models.spec import ModelSpec, ModuleSpec
from autopeft.space.configuration import Component
from autopeft.space.targets import GROUPS


class Vera(PerModuleMethod):
    """W' = W + diag(b) B diag(d) A; A and B are random, frozen and shared by all modules."""

    info = MethodInfo(
        name="vera",
        family="shared-basis",
        about="Scales of random frozen matrices that all modules share.",
        default_learning_rate=1e-2,
        default_targets=GROUPS["attn.qv"],
        kinds=GROUPS["linear"],
        module_types=("linear", "conv1d"),
        parameters=(
            int_parameter("rank", 4, 1024, 256, "inner size r", log=True),
            float_parameter("d_initial", 1e-7, 1.0, 0.1, "start of the vector d", log=True),
        ),
        mergeable=True,
        maskable=True,
        converts_to_lora=True,
    )

    def count_module(self, component: Component, module: ModuleSpec) -> int:
        return int(component.param("rank")) + module.out_features

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> VeraConfig:
        return VeraConfig(
            r=int(component.param("rank")),
            d_initial=float(component.param("d_initial")),
            projection_prng_key=context.seed,
            **transposed(modules),
            **common(modules, context),
        )


class PVera(PerModuleMethod):
    """VeRA whose inner vector is drawn from a learned normal distribution while training."""

    info = MethodInfo(
        name="pvera",
        family="shared-basis",
        about="VeRA with a learned distribution instead of a vector.",
        default_learning_rate=1e-2,
        default_targets=GROUPS["attn.qv"],
        kinds=GROUPS["linear"],
        module_types=("linear", "conv1d"),
        parameters=(
            int_parameter("rank", 4, 1024, 128, "inner size r", log=True),
            float_parameter("d_initial", 1e-7, 1.0, 0.1, "start of the vector d", log=True),
        ),
        mergeable=True,
    )

    def count_module(self, component: Component, module: ModuleSpec) -> int:
        return 2 * int(component.param("rank")) + module.out_features

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> PveraConfig:
        return PveraConfig(
            r=int(component.param("rank")),
            d_initial=float(component.param("d_initial")),
            projection_prng_key=context.seed,
            **transposed(modules),
            **common(modules, context),
        )


class RandLora(PerModuleMethod):
    """W' = W + sum of N products B_i L_i A G_i, N = ceil(min(m, n) / r): full rank.

    The bases are random and frozen, L and G diagonal. A larger r means fewer parameters.
    """

    info = MethodInfo(
        name="randlora",
        family="shared-basis",
        about="Full-rank update from scaled random bases; a larger rank is a smaller adapter.",
        default_learning_rate=1e-3,
        default_targets=GROUPS["attn.qv"],
        kinds=GROUPS["linear"],
        module_types=("linear", "conv1d"),
        parameters=(int_parameter("rank", 4, 512, 32, "rank r of a basis", log=True),),
        mergeable=True,
        maskable=True,
        converts_to_lora=True,
    )

    def count_module(self, component: Component, module: ModuleSpec) -> int:
        rank, smaller = int(component.param("rank")), min(module.in_features, module.out_features)
        return math.ceil(smaller / rank) * (rank + smaller)

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> RandLoraConfig:
        rank = int(component.param("rank"))
        return RandLoraConfig(
            r=rank,
            randlora_alpha=20 * rank,
            projection_prng_key=context.seed,
            **transposed(modules),
            **common(modules, context),
        )


class VBLora(LibraryMethod):
    """LoRA whose factors are mixtures of the best k vectors of a bank that all modules share."""

    info = MethodInfo(
        name="vblora",
        family="shared-basis",
        about="LoRA factors mixed from a shared bank of vectors.",
        default_learning_rate=5e-3,
        default_targets=GROUPS["attn.qv"],
        kinds=GROUPS["linear"],
        module_types=("linear", "conv1d"),
        parameters=(
            int_parameter("rank", 1, 16, 4, "inner size r", log=True),
            int_parameter("vectors", 8, 512, 64, "vectors in the bank", log=True),
            int_parameter("vector_length", 8, 512, 64, "largest length of a vector", log=True),
            choice_parameter("topk", (1, 2, 4), 2, "vectors in a mixture"),
        ),
        mergeable=True,
        converts_to_lora=True,
        starts_at_base=False,
    )

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        modules = self.info.select(component, spec)
        rank, vectors = int(component.param("rank")), int(component.param("vectors"))
        length = _vector_length(component, modules)
        logits = sum(rank * (m.in_features + m.out_features) // length * vectors for m in modules)
        return vectors * length + logits

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> VBLoRAConfig:
        return VBLoRAConfig(
            r=int(component.param("rank")),
            num_vectors=int(component.param("vectors")),
            vector_length=_vector_length(component, modules),
            topk=int(component.param("topk")),
            **transposed(modules),
            **common(modules, context),
        )


class UniLora(LibraryMethod):
    """LoRA whose factors all lie in one random subspace of d dimensions."""

    built_on = "cpu"

    info = MethodInfo(
        name="unilora",
        family="shared-basis",
        about="All LoRA factors from one vector, by a fixed random projection.",
        default_learning_rate=5e-3,
        default_targets=GROUPS["attn.qv"],
        kinds=GROUPS["linear"],
        module_types=("linear", "conv1d"),
        parameters=(
            int_parameter("vector_size", 8, 65_536, 1024, "length d of the vector", log=True),
            int_parameter("rank", 1, 64, 4, "inner size r of the LoRA", log=True),
        ),
        mergeable=True,
        maskable=True,
        converts_to_lora=True,
        starts_at_base=False,
    )

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        return int(component.param("vector_size")) if self.info.select(component, spec) else 0

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> UniLoraConfig:
        return UniLoraConfig(
            r=int(component.param("rank")),
            theta_d_length=int(component.param("vector_size")),
            proj_seed=context.seed,
            **transposed(modules),
            **common(modules, context),
        )


class TinyLora(PerModuleMethod):
    """W' = W + U S (sum of u_i P_i) V^T: u numbers a module over its r principal directions."""

    info = MethodInfo(
        name="tinylora",
        family="shared-basis",
        about="A handful of numbers a module over its principal directions.",
        default_learning_rate=1e-2,
        default_targets=GROUPS["attn.qv"],
        kinds=(*GROUPS["linear"], "embed.tokens"),
        module_types=("linear", "conv1d", "embedding"),
        parameters=(
            int_parameter("numbers", 1, 1024, 64, "trained numbers a module", log=True),
            int_parameter("rank", 1, 16, 2, "principal directions r", log=True),
        ),
        mergeable=True,
        maskable=True,
        converts_to_lora=True,
    )

    def obstacle(self, component: Component, spec: ModelSpec) -> str | None:
        return refuse_scaled("tinylora", self.info.select(component, spec), spec)

    def count_module(self, component: Component, module: ModuleSpec) -> int:  # noqa: ARG002 - alike
        return int(component.param("numbers"))

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> TinyLoraConfig:
        return TinyLoraConfig(
            u=int(component.param("numbers")),
            r=int(component.param("rank")),
            projection_seed=context.seed,
            **transposed(modules),
            **common(modules, context),
        )


def _vector_length(component: Component, modules: list[ModuleSpec]) -> int:
    return largest_divisor(widths(modules) or [1], int(component.param("vector_length")))
