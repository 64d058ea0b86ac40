"""LoKr (Yeh et al. 2023, arXiv 2309.14859): a Kronecker product, also known as KronA."""

from peft import LoKrConfig
from peft.tuners.lokr.layer import factorization

from autopeft.methods.library import PerModuleMethod, common
from autopeft.methods.method import (
    AttachContext,
    MethodInfo,
    choice_parameter,
    float_parameter,
    int_parameter,
)
from autopeft.models.spec import ModuleSpec
from autopeft.space.configuration import Component
from autopeft.space.targets import GROUPS


class LoKr(PerModuleMethod):
    """W' = W + s C (x) D, where D (and C, for `both`) is a product of rank r when that is smaller.

    Widths are split into two factors, the smaller as near to `factor` as possible, or to the
    square root for -1.
    """

    info = MethodInfo(
        name="lokr",
        family="low-rank",
        about="Kronecker product of a small matrix and a low-rank one.",
        default_learning_rate=5e-3,
        default_targets=GROUPS["attn.qv"],
        kinds=GROUPS["linear"],
        module_types=("linear",),
        parameters=(
            int_parameter("rank", 1, 128, 8, "inner size r of the factors", log=True),
            choice_parameter("factor", (-1, 4, 8, 16), -1, "size of the smaller factor"),
            choice_parameter(
                "low_rank", ("second", "both"), "second", "which factors are products"
            ),
            float_parameter("alpha_over_rank", 0.25, 16.0, 2.0, "alpha by rank", log=True),
        ),
        mergeable=True,
        maskable=True,
        converts_to_lora=True,
    )

    def count_module(self, component: Component, module: ModuleSpec) -> int:
        rank, factor = int(component.param("rank")), int(component.param("factor"))
        in_1, in_2 = factorization(module.in_features, factor)
        out_1, out_2 = factorization(module.out_features, factor)
        small = component.param("low_rank") == "both" and rank < max(out_1, in_1) / 2
        first = rank * (out_1 + in_1) if small else out_1 * in_1
        second = rank * (out_2 + in_2) if rank < max(out_2, in_2) / 2 else out_2 * in_2
        return first + second

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> LoKrConfig:
        rank = int(component.param("rank"))
        return LoKrConfig(
            r=rank,
            # peft declares an int and takes any number.
            alpha=float(component.param("alpha_over_rank")) * rank,  # type: ignore[arg-type]
            decompose_both=component.param("low_rank") == "both",
            decompose_factor=int(component.param("factor")),
            **common(modules, context),
        )
