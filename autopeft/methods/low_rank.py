"""Relatives of LoRA: DeLoRA, GraLoRA, GLoRA, MiSS, PEANuT, DEFT."""

import math

from peft import DeftConfig, DeloraConfig, GloraConfig, GraloraConfig, MissConfig, PeanutConfig

from autopeft.methods.library import (
    LibraryMethod,
    PerModuleMethod,
    common,
    inputs,
    largest_divisor,
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


class DeLora(PerModuleMethod):
    """W' = W + lambda / r * ||W|| * B diag(1 / |b_i| |a_i|) A: strength apart from direction.

    Bini et al. 2025, arXiv 2503.18225.
    """

    info = MethodInfo(
        name="delora",
        family="low-rank",
        about="Low-rank update whose strength and direction are learned apart.",
        default_learning_rate=3e-3,
        default_targets=GROUPS["attn.qv"],
        kinds=GROUPS["linear"],
        module_types=("linear",),
        parameters=(
            int_parameter("rank", 1, 256, 8, "inner size r", log=True),
            int_parameter("strength", 2, 64, 15, "bound lambda on the update", log=True),
        ),
        mergeable=True,
        maskable=True,
        unmasked=("delora_lambda",),  # one number: zero would end the module's update
        converts_to_lora=True,
    )

    def count_module(self, component: Component, module: ModuleSpec) -> int:
        return int(component.param("rank")) * (module.in_features + module.out_features) + 1

    def count_unmasked(self, component: Component, spec: ModelSpec) -> int:
        return len(self.info.select(component, spec))

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> DeloraConfig:
        return DeloraConfig(
            r=int(component.param("rank")),
            delora_lambda=int(component.param("strength")),
            **common(modules, context),
        )


class GraLora(LibraryMethod):
    """W in k x k blocks, each with a LoRA of rank r / k (Jung et al. 2025, arXiv 2505.20355)."""

    info = MethodInfo(
        name="gralora",
        family="low-rank",
        about="A small LoRA for each block of a frozen matrix.",
        default_learning_rate=1e-3,
        default_targets=GROUPS["attn.qv"],
        kinds=GROUPS["linear"],
        module_types=("linear", "conv1d"),
        parameters=(
            int_parameter("rank", 1, 256, 16, "largest sum of the blocks' ranks", log=True),
            choice_parameter("blocks", (2, 4, 8), 2, "largest number of blocks a side"),
            float_parameter("alpha_over_rank", 0.25, 16.0, 2.0, "alpha by rank", log=True),
        ),
        mergeable=True,
        maskable=True,
        converts_to_lora=True,
    )

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        modules = self.info.select(component, spec)
        rank, _ = _blocks(component, modules)
        return sum(rank * (m.in_features + m.out_features) for m in modules)

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> GraloraConfig:
        rank, blocks = _blocks(component, modules)
        return GraloraConfig(
            r=rank,
            hybrid_r=0,
            gralora_k=blocks,
            # peft declares an int and takes any number.
            alpha=float(component.param("alpha_over_rank")) * rank,  # type: ignore[arg-type]
            **transposed(modules),
            **common(modules, context),
        )


class GLora(PerModuleMethod):
    """W' = W + W A + B and b' = b + b D + E + W C (Chavan et al. 2023, arXiv 2306.07967)."""

    info = MethodInfo(
        name="glora",
        family="low-rank",
        about="Low-rank scale and shift of weights, scale and shift of biases.",
        default_learning_rate=1e-3,
        default_targets=GROUPS["attn.qv"],
        kinds=GROUPS["linear"],
        module_types=("linear",),
        parameters=(int_parameter("rank", 1, 64, 4, "inner size r", log=True),),
        mergeable=True,
        maskable=True,
    )

    def count_module(self, component: Component, module: ModuleSpec) -> int:
        rank = int(component.param("rank"))
        count = 2 * rank * (module.in_features + module.out_features)
        return count + (rank * (module.in_features + 1) + 2 if module.has_bias else 0)

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> GloraConfig:
        return GloraConfig(
            r=int(component.param("rank")),
            config_A_B="lora",
            config_C="lora",
            config_D_E="constant",
            **common(modules, context),
        )


class Miss(LibraryMethod):
    """y = W x + D^T sum of the r-wide shards of x (Kang and Yin 2024, arXiv 2409.15371)."""

    info = MethodInfo(
        name="miss",
        family="low-rank",
        about="One small matrix shared by the shards of a frozen one.",
        default_learning_rate=3e-3,
        default_targets=GROUPS["attn.qv"],
        kinds=GROUPS["linear"],
        module_types=("linear",),
        parameters=(int_parameter("rank", 1, 512, 16, "width of a shard", log=True),),
        mergeable=True,
        maskable=True,
        converts_to_lora=True,
    )

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        modules = self.info.select(component, spec)
        return sum(_shard(component, modules) * m.out_features for m in modules)

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> MissConfig:
        return MissConfig(r=_shard(component, modules), **common(modules, context))


class Peanut(PerModuleMethod):
    """W' = W + s f(W A) B, a small network that reads the frozen matrix (arXiv 2410.01870)."""

    info = MethodInfo(
        name="peanut",
        family="low-rank",
        about="A small network that computes the update from the frozen matrix.",
        default_learning_rate=1e-3,
        default_targets=GROUPS["attn.qv"],
        kinds=GROUPS["linear"],
        module_types=("linear",),
        parameters=(
            int_parameter("rank", 1, 256, 16, "inner size r", log=True),
            int_parameter("depth", 0, 3, 0, "hidden layers of encoder and decoder"),
        ),
        mergeable=True,
        maskable=True,
    )

    def count_module(self, component: Component, module: ModuleSpec) -> int:
        rank, depth = int(component.param("rank")), int(component.param("depth"))
        return 2 * rank * module.out_features + 2 * depth * rank**2

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> PeanutConfig:
        return PeanutConfig(
            r=int(component.param("rank")),
            depth=int(component.param("depth")),
            **common(modules, context),
        )


class Deft(PerModuleMethod):
    """W' = (I - P P^T) W + P R: a learned subspace of the outputs is replaced."""

    info = MethodInfo(
        name="deft",
        family="low-rank",
        about="Replaces what a frozen matrix does in a learned subspace.",
        default_learning_rate=1e-3,
        default_targets=GROUPS["attn.qv"],
        kinds=GROUPS["linear"],
        module_types=("linear", "conv1d"),
        parameters=(int_parameter("rank", 1, 256, 8, "size r of the subspace", log=True),),
        mergeable=True,
    )

    def count_module(self, component: Component, module: ModuleSpec) -> int:
        return int(component.param("rank")) * (module.in_features + module.out_features)

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> DeftConfig:
        rank = int(component.param("rank"))
        return DeftConfig(r=rank, **transposed(modules), **common(modules, context))


def _blocks(component: Component, modules: list[ModuleSpec]) -> tuple[int, int]:
    """Return the rank, a multiple of the number of blocks a side, and that number."""
    wanted = int(component.param("rank"))
    sizes = widths(modules) or [1]
    blocks = largest_divisor(sizes, min(int(component.param("blocks")), wanted))
    return wanted // blocks * blocks, blocks


def _shard(component: Component, modules: list[ModuleSpec]) -> int:
    sizes = inputs(modules) or [1]
    return min(int(component.param("rank")), math.gcd(*sizes), *sizes)
