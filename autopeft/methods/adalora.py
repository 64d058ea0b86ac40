"""AdaLoRA (Zhang et al. 2023, arXiv 2303.10512): low-rank updates whose rank is pruned."""

import math

from peft import AdaLoraConfig

from autopeft.methods.library import LibraryMethod, common, transposed
from autopeft.methods.method import (
    AttachContext,
    MethodInfo,
    float_parameter,
    int_parameter,
)
from autopeft.models.spec import ModelSpec, ModuleSpec
from autopeft.space.configuration import Component
from autopeft.space.targets import GROUPS


class AdaLora(LibraryMethod):
    """W' = W + s P diag(e) Q; the least important of all e are set to zero during training.

    `rank` is the starting rank of every matrix, `density` the share of all ranks that is left at
    the end, at least one a matrix on average. Which matrices keep them, and so how many numbers
    they are, is known only when they are trained; what counts is therefore the starting rank.
    """

    info = MethodInfo(
        name="adalora",
        family="low-rank",
        about="Low-rank update whose ranks are pruned and shared out by importance.",
        default_learning_rate=3e-3,
        default_targets=("attn.q", "attn.v", "attn.qkv"),
        kinds=GROUPS["linear"],
        module_types=("linear", "conv1d"),
        parameters=(
            int_parameter("rank", 2, 256, 12, "starting rank of each matrix", log=True),
            float_parameter("density", 0.05, 1.0, 0.67, "share of the ranks left at the end"),
        ),
        mergeable=True,
        # peft's rank allocation takes all tensors with "lora_A" in their names for its own.
        not_beside=("lora", "delora", "glora", "gralora"),
    )

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        rank = int(component.param("rank"))
        modules = self.info.select(component, spec)
        return sum(rank * (m.in_features + m.out_features + 1) for m in modules)

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> AdaLoraConfig:
        rank = int(component.param("rank"))
        final = max(round(float(component.param("density")) * rank), 1)
        steps = max(context.total_steps, 4)
        return AdaLoraConfig(
            init_r=rank,
            target_r=final,
            lora_alpha=2 * rank,
            # The schedule of the paper's GLUE runs: a tenth of the steps untouched, pruning
            # until 70 %, then training on with the ranks that are left.
            tinit=max(1, steps // 10),
            tfinal=math.ceil(0.3 * steps),
            deltaT=max(1, steps // 50),
            total_step=steps,
            **common(modules, context),
            **transposed(modules),
        )
