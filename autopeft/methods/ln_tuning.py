"""LayerNorm tuning (Zhao et al. 2023, arXiv 2312.11420): the norms' own weights train."""

from peft import LNTuningConfig

from autopeft.methods.library import LibraryMethod, common
from autopeft.methods.method import AttachContext, MethodInfo
from autopeft.models.spec import ModelSpec, ModuleSpec
from autopeft.space.configuration import Component
from autopeft.space.targets import GROUPS


class LnTuning(LibraryMethod):
    """Weights and biases of the chosen normalisations."""

    info = MethodInfo(
        name="ln_tuning",
        family="selective",
        about="Trains the normalisations' own weights and biases.",
        default_learning_rate=3e-3,
        default_targets=GROUPS["norm"],
        kinds=GROUPS["norm.all"],
        module_types=("norm",),
        parameters=(),
        mergeable=True,
        target_choices=("norm", "norm.attn", "norm.mlp", "norm.all"),
    )

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        return sum(m.n_parameters for m in self.info.select(component, spec))

    def config(
        self,
        component: Component,  # noqa: ARG002 - no hyperparameters
        modules: list[ModuleSpec],
        context: AttachContext,
    ) -> LNTuningConfig:
        return LNTuningConfig(**common(modules, context))
