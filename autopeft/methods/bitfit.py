"""BitFit (Ben Zaken et al. 2021, arXiv 2106.10199) on the linear modules, through peft's BEFT."""

from peft import BeftConfig

from autopeft.methods.library import LibraryMethod, common
from autopeft.methods.method import AttachContext, MethodInfo
from autopeft.models.spec import ModelSpec, ModuleSpec
from autopeft.space.configuration import Component
from autopeft.space.targets import GROUPS


class BitFit(LibraryMethod):
    """y = W x + (b + d), with d zero at the start: training d is training the bias b.

    The norms' biases are left out: within the layers, a shift of a norm's output can be written
    as shifts of the biases of the linear modules that read it (and, for a norm after the residual
    sum, of the next one that is added to it). `ssf` with its shift alone trains those as well.
    """

    info = MethodInfo(
        name="bitfit",
        family="selective",
        about="Trains the biases of linear modules.",
        default_learning_rate=3e-3,
        default_targets=GROUPS["linear"],
        kinds=GROUPS["linear"],
        module_types=("linear",),
        parameters=(),
        mergeable=True,
        maskable=True,
        target_choices=("linear", "attn", "mlp", "attn.q+mlp.up"),
    )

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        return sum(m.out_features for m in self.info.select(component, spec))

    def config(
        self,
        component: Component,  # noqa: ARG002 - no hyperparameters
        modules: list[ModuleSpec],
        context: AttachContext,
    ) -> BeftConfig:
        return BeftConfig(**common(modules, context))
