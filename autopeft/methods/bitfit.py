"""BitFit (Ben Zaken et al. 2021, arXiv 2106.10199): the biases train, through peft's BEFT."""

from typing import Any

from peft import BeftConfig
from transformers import PreTrainedModel

from autopeft.methods.library import LibraryMethod, common
from autopeft.methods.method import AttachContext, Attachment, MethodInfo
from autopeft.methods.peft_attachment import PeftAttachment
from autopeft.models.spec import ModelSpec, ModuleSpec
from autopeft.space.configuration import Component
from autopeft.space.targets import GROUPS


class BitFit(LibraryMethod):
    """y = W x + (b + d) of linear modules, d zero at the start; b itself of normalisations.

    Training d is training b. The paper's BitFit is that of `linear+norm.all`. The norms are left
    out unless they are named: within the layers, a shift of a norm's output can be written as
    shifts of the biases of the linear modules that read it (and, for a norm after the residual
    sum, of the next one that is added to it).

    peft's BEFT knows linear modules alone. A norm is one of its modules to save instead: a copy of
    which the bias trains here and the weight does not, so a file also has the norm's weight.
    """

    info = MethodInfo(
        name="bitfit",
        family="selective",
        about="Trains the biases of linear modules, and of normalisations where they are named.",
        default_learning_rate=3e-3,
        default_targets=GROUPS["linear"],
        kinds=(*GROUPS["linear"], *GROUPS["norm.all"]),
        module_types=("linear", "norm"),
        parameters=(),
        mergeable=True,
        maskable=True,
        unmasked=("modules_to_save",),  # the norms' own biases: zero would silence what was there
        target_choices=("linear", "attn", "mlp", "attn.q+mlp.up"),
    )

    def obstacle(self, component: Component, spec: ModelSpec) -> str | None:
        modules = self.info.select(component, spec)
        if all(m.type == "norm" for m in modules):
            return "bitfit trains biases of norms beside those of linear modules, and finds none"
        if any(m.type == "norm" and not m.has_bias for m in modules):
            return f"bitfit finds normalisations of {spec.family} that have no bias"
        return None

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        return sum(m.out_features for m in self.info.select(component, spec))

    def count_unmasked(self, component: Component, spec: ModelSpec) -> int:
        modules = self.info.select(component, spec)
        return sum(m.out_features for m in modules if m.type == "norm")

    def attach(
        self, model: PreTrainedModel, component: Component, context: AttachContext
    ) -> Attachment:
        modules = self.info.select(component, context.spec)
        attachment = PeftAttachment(model, self.config(component, modules, context))
        for module in modules:
            if module.type == "norm":
                wrapper: Any = model.get_submodule(module.name)
                wrapper.modules_to_save["default"].weight.requires_grad = False
        return attachment

    def config(
        self,
        component: Component,  # noqa: ARG002 - no hyperparameters
        modules: list[ModuleSpec],
        context: AttachContext,
    ) -> BeftConfig:
        arguments = common([m for m in modules if m.type == "linear"], context)
        arguments["modules_to_save"] += [m.name for m in modules if m.type == "norm"]
        return BeftConfig(**arguments)
