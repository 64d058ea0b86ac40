"""LayerNorm tuning (Zhao et al. 2023, arXiv 2312.11420): the norms' own weights train."""

from peft import LNTuningConfig
from transformers import PreTrainedModel

from autopeft.methods.method import AttachContext, Attachment, MethodInfo, PeftMethod
from autopeft.methods.peft_attachment import (
    TASK_TYPE,
    PeftAttachment,
    head_modules,
    module_names,
)
from autopeft.models.spec import ModelSpec
from autopeft.space.configuration import Component
from autopeft.space.targets import GROUPS


class LnTuning(PeftMethod):
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
    )

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        return sum(m.n_parameters for m in self.info.select(component, spec))

    def attach(
        self, model: PreTrainedModel, component: Component, context: AttachContext
    ) -> Attachment:
        modules = self.info.select(component, context.spec)
        config = LNTuningConfig(
            task_type=TASK_TYPE,
            target_modules=module_names(modules),
            modules_to_save=head_modules(context),
        )
        return PeftAttachment(model, config)
