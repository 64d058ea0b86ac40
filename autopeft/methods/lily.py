"""Lily (Zhong et al. 2024, arXiv 2407.09946): low-rank factors that layers share."""

import re
from collections.abc import Iterable

from peft import LilyConfig

from autopeft.methods.library import LibraryMethod, common
from autopeft.methods.method import AttachContext, MethodInfo, float_parameter, int_parameter
from autopeft.models.spec import ModelSpec, ModuleSpec
from autopeft.space.configuration import Component
from autopeft.space.targets import GROUPS


class Lily(LibraryMethod):
    """y = W x + s sum_e p_e B_e A x, p the mean of softmax(R A x) over the batch.

    Modules of one place and shape share their `experts` matrices B over all layers, and their A
    over `stride` neighbouring layers; each has a router R of its own (section 3.2).
    """

    info = MethodInfo(
        name="lily",
        family="shared-basis",
        about="Low-rank factors shared by layers, mixed by a router in each.",
        default_learning_rate=1e-3,
        default_targets=GROUPS["attn.qv"],
        kinds=GROUPS["linear"],
        module_types=("linear",),
        parameters=(
            int_parameter("rank", 1, 256, 16, "inner size r", log=True),
            int_parameter("experts", 2, 16, 2, "matrices B that all layers share"),
            int_parameter("stride", 1, 8, 1, "neighbouring layers that share a matrix A"),
            float_parameter("scaling", 0.1, 10.0, 1.0, "factor s on the update", log=True),
        ),
        mergeable=False,
    )

    def obstacle(self, component: Component, spec: ModelSpec) -> str | None:  # noqa: ARG002
        if spec.output != "labels":
            return (
                "peft's lily weighs its matrices by the mean over all tokens of a batch, so that "
                "what is written would follow from what comes after it"
            )
        return None

    def keeps_together(self, component: Component) -> str | None:  # noqa: ARG002 - always
        return (
            "lily weighs its matrices by the mean over all rows of a batch, which is another one "
            "in each part of it"
        )

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        rank, experts = int(component.param("rank")), int(component.param("experts"))
        stride = int(component.param("stride"))
        total = 0
        for (_, n_in, n_out), n_layers in _sharing(self.info.select(component, spec)).items():
            n_a = -(-n_layers // stride)
            total += rank * (n_a * n_in + experts * n_out + n_layers * experts)
        return total

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> LilyConfig:
        chosen = {module.name for module in modules}
        places = {_place(module) for module in modules}
        # peft shares between modules that one target name ends, so the targets are such endings
        # and what else they end is excluded.
        others = [m.name for m in context.spec.modules if m.name not in chosen]
        return LilyConfig(
            r=int(component.param("rank")),
            num_B=int(component.param("experts")),
            stride_A=int(component.param("stride")),
            scaling=float(component.param("scaling")),
            exclude_modules=[name for name in others if name.endswith(tuple(places))],
            **{**common(modules, context), "target_modules": sorted(places)},
        )


def _sharing(modules: Iterable[ModuleSpec]) -> dict[tuple[str, int, int], int]:
    """Return how many modules share by place and shape."""
    groups: dict[tuple[str, int, int], int] = {}
    for module in modules:
        key = (_place(module), module.in_features, module.out_features)
        groups[key] = groups.get(key, 0) + 1
    return groups


def _place(module: ModuleSpec) -> str:
    """Return what is left of a module's name after the number of its layer."""
    return re.split(r"\.\d+\.", module.name, maxsplit=1)[1]
