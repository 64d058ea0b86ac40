"""(IA)3 (Liu et al. 2022, arXiv 2205.05638): learned scales on activations."""

from peft import IA3Config

from autopeft.methods.library import LibraryMethod, common, transposed
from autopeft.methods.method import AttachContext, MethodInfo
from autopeft.models.spec import ModelSpec, ModuleSpec
from autopeft.space.configuration import Component
from autopeft.space.targets import GROUPS


class Ia3(LibraryMethod):
    """y = l * (W x + b), with l all ones at the start; for `mlp.down` the input is scaled."""

    info = MethodInfo(
        name="ia3",
        family="scaling",
        about="One learned scale a feature of keys, values and feed-forward activations.",
        default_learning_rate=5e-3,
        default_targets=GROUPS["ia3"],
        kinds=GROUPS["linear"],
        module_types=("linear", "conv1d"),
        parameters=(),
        mergeable=True,
        target_choices=("ia3", "attn.kv", "mlp.down"),
    )

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        return sum(
            m.in_features if _scales_input(m) else m.out_features
            for m in self.info.select(component, spec)
        )

    def config(
        self,
        component: Component,  # noqa: ARG002 - no hyperparameters
        modules: list[ModuleSpec],
        context: AttachContext,
    ) -> IA3Config:
        return IA3Config(
            feedforward_modules=[m.name for m in modules if _scales_input(m)],
            **common(modules, context),
            **transposed(modules),
        )


def _scales_input(module: ModuleSpec) -> bool:
    return module.kind == "mlp.down"
