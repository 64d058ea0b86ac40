"""(IA)3 (Liu et al. 2022, arXiv 2205.05638): learned scales on activations."""

from peft import IA3Config
from transformers import PreTrainedModel

from autopeft.methods.method import AttachContext, Attachment, MethodInfo, PeftMethod
from autopeft.methods.peft_attachment import (
    TASK_TYPE,
    PeftAttachment,
    head_modules,
    module_names,
    needs_transpose,
)
from autopeft.models.spec import ModelSpec, ModuleSpec
from autopeft.space.configuration import Component
from autopeft.space.targets import GROUPS


class Ia3(PeftMethod):
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
    )

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        return sum(
            m.in_features if _scales_input(m) else m.out_features
            for m in self.info.select(component, spec)
        )

    def attach(
        self, model: PreTrainedModel, component: Component, context: AttachContext
    ) -> Attachment:
        modules = self.info.select(component, context.spec)
        config = IA3Config(
            task_type=TASK_TYPE,
            target_modules=module_names(modules),
            feedforward_modules=module_names([m for m in modules if _scales_input(m)]),
            modules_to_save=head_modules(context),
            fan_in_fan_out=needs_transpose(modules),
        )
        return PeftAttachment(model, config)


def _scales_input(module: ModuleSpec) -> bool:
    return module.kind == "mlp.down"
