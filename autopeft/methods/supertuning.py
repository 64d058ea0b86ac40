"""SuperTuning (peft 0.21; arXiv 2607.09287): the entries of largest or smallest magnitude train."""

from peft import SupertuningConfig

from autopeft.methods.library import LibraryMethod, common
from autopeft.methods.method import (
    AttachContext,
    MethodInfo,
    choice_parameter,
    float_parameter,
)
from autopeft.models.spec import ModelSpec, ModuleSpec
from autopeft.space.configuration import Component
from autopeft.space.targets import GROUPS


class SuperTuning(LibraryMethod):
    """W' = W + S, S zero but at the share `density` of entries that is largest or smallest."""

    info = MethodInfo(
        name="supertuning",
        family="sparse",
        about="Sparse update at the entries of largest or smallest magnitude.",
        default_learning_rate=3e-3,
        default_targets=GROUPS["attn.qv"],
        kinds=GROUPS["linear"],
        module_types=("linear",),
        parameters=(
            float_parameter("density", 1e-4, 0.5, 0.01, "share of entries that train", log=True),
            choice_parameter("magnitude", ("largest", "smallest"), "largest", "which entries"),
        ),
        mergeable=True,
    )

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        modules = self.info.select(component, spec)
        # As peft computes it: floor(entries * (1 - sparsity)).
        sparsity = _sparsity(component, modules)
        return sum(int(m.in_features * m.out_features * (1 - sparsity)) for m in modules)

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> SupertuningConfig:
        return SupertuningConfig(
            sparsity=_sparsity(component, modules),
            select_top=component.param("magnitude") == "largest",
            **common(modules, context),
        )


def _sparsity(component: Component, modules: list[ModuleSpec]) -> float:
    """Return the share that stays zero; at least one entry of every matrix trains."""
    smallest = min((m.in_features * m.out_features for m in modules), default=1)
    return 1 - max(float(component.param("density")), 1.5 / smallest)
