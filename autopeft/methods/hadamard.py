"""Element-wise products: LoHa (Yeh et al. 2023, arXiv 2309.14859), HiRA (Huang et al. 2025)."""

from peft import HiraConfig, LoHaConfig

from autopeft.methods.library import PerModuleMethod, common, refuse_scaled, transposed
from autopeft.methods.method import AttachContext, MethodInfo, float_parameter, int_parameter
from autopeft.models.spec import ModelSpec, ModuleSpec
from autopeft.space.configuration import Component
from autopeft.space.targets import GROUPS


class LoHa(PerModuleMethod):
    """W' = W + s (B1 A1) * (B2 A2), an element-wise product of two updates of rank r."""

    info = MethodInfo(
        name="loha",
        family="low-rank",
        about="Element-wise product of two low-rank updates: rank r * r for twice the price of r.",
        default_learning_rate=3e-3,
        default_targets=GROUPS["attn.qv"],
        kinds=GROUPS["linear"],
        module_types=("linear",),
        parameters=(
            int_parameter("rank", 1, 128, 4, "inner size r of both updates", log=True),
            float_parameter("alpha_over_rank", 0.25, 16.0, 2.0, "alpha by rank", log=True),
        ),
        mergeable=True,
        maskable=True,
        converts_to_lora=True,
    )

    def count_module(self, component: Component, module: ModuleSpec) -> int:
        return 2 * int(component.param("rank")) * (module.in_features + module.out_features)

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> LoHaConfig:
        rank = int(component.param("rank"))
        alpha = float(component.param("alpha_over_rank")) * rank
        # peft declares an int and takes any number.
        return LoHaConfig(r=rank, alpha=alpha, **common(modules, context))  # type: ignore[arg-type]


class HiRA(PerModuleMethod):
    """W' = W + W * (B A): the low-rank part scales the entries of the frozen matrix."""

    info = MethodInfo(
        name="hira",
        family="low-rank",
        about="Element-wise product of the frozen matrix with a low-rank one: a full-rank update.",
        default_learning_rate=3e-3,
        default_targets=GROUPS["attn.qv"],
        kinds=(*GROUPS["linear"], "embed.tokens"),
        module_types=("linear", "conv1d", "embedding"),
        parameters=(int_parameter("rank", 1, 256, 16, "inner size r", log=True),),
        mergeable=True,
        maskable=True,
    )

    def obstacle(self, component: Component, spec: ModelSpec) -> str | None:
        return refuse_scaled("hira", self.info.select(component, spec), spec)

    def count_module(self, component: Component, module: ModuleSpec) -> int:
        return int(component.param("rank")) * (module.in_features + module.out_features)

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> HiraConfig:
        rank = int(component.param("rank"))
        return HiraConfig(r=rank, **transposed(modules), **common(modules, context))
