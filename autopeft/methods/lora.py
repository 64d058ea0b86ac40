"""LoRA (Hu et al. 2021, arXiv 2106.09685): its variants and initialisations."""

from typing import Any

from peft import LoraConfig

from autopeft.methods.library import LibraryMethod, common, transposed
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

#: What peft calls the initialisations. With PiSSA (arXiv 2404.02948) the factors start in the
#: principal directions of W, and W gives up what they hold; MiCA (2604.01694) freezes B in the
#: minor directions of W and trains A.
_INITS: dict[str, Any] = {
    "default": True,
    "gaussian": "gaussian",
    "pissa": "pissa",
    "mica": "mica",
}


class Lora(LibraryMethod):
    """W' = W + s B A, with A of shape (r, n) and B of shape (m, r), B zero at the start.

    s = alpha / r; rsLoRA (arXiv 2312.03732) takes alpha / sqrt(r); DoRA (arXiv 2402.09353) also
    trains the norm of each row of W', m more numbers a matrix.
    """

    info = MethodInfo(
        name="lora",
        family="low-rank",
        about="Low-rank update B A beside a frozen matrix.",
        default_learning_rate=1e-3,
        default_targets=("attn.q", "attn.v", "attn.qkv"),
        kinds=GROUPS["linear"],
        module_types=("linear", "conv1d"),
        parameters=(
            int_parameter("rank", 1, 256, 8, "inner size r of the update", log=True),
            choice_parameter("variant", ("plain", "rslora", "dora"), "plain", "scaling and form"),
            choice_parameter("init", tuple(_INITS), "default", "how A and B start"),
            float_parameter("alpha_over_rank", 0.25, 16.0, 2.0, "alpha by rank", log=True),
            float_parameter("dropout", 0.0, 0.5, 0.0, "dropout on the input of the update"),
        ),
        mergeable=True,
        maskable=True,
        unmasked=("lora_magnitude_vector",),  # DoRA's norms: zero would silence W itself
    )

    def changes_base(self, component: Component) -> bool:
        return component.param("init") == "pissa"

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        rank = int(component.param("rank"))
        modules = self.info.select(component, spec)
        frozen = component.param("init") == "mica"
        total = sum(rank * (m.in_features + (0 if frozen else m.out_features)) for m in modules)
        return total + self.count_unmasked(component, spec)

    def count_unmasked(self, component: Component, spec: ModelSpec) -> int:
        if component.param("variant") != "dora":
            return 0
        return sum(m.out_features for m in self.info.select(component, spec))

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> LoraConfig:
        rank = int(component.param("rank"))
        return LoraConfig(
            r=rank,
            # peft declares an int and takes any number.
            lora_alpha=float(component.param("alpha_over_rank")) * rank,  # type: ignore[arg-type]
            lora_dropout=float(component.param("dropout")),
            init_lora_weights=_INITS[str(component.param("init"))],
            use_rslora=component.param("variant") == "rslora",
            use_dora=component.param("variant") == "dora",
            **common(modules, context),
            **transposed(modules),
        )
