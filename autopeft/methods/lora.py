"""LoRA (Hu et al. 2021, arXiv 2106.09685) with its rsLoRA and DoRA variants."""

from peft import LoraConfig
from transformers import PreTrainedModel

from autopeft.methods.method import (
    AttachContext,
    Attachment,
    MethodInfo,
    MethodParameter,
    PeftMethod,
)
from autopeft.methods.peft_attachment import (
    TASK_TYPE,
    PeftAttachment,
    head_modules,
    module_names,
    needs_transpose,
)
from autopeft.models.spec import ModelSpec
from autopeft.space.configuration import Component
from autopeft.space.hyperparameter import Choice, FloatRange, IntRange
from autopeft.space.targets import GROUPS


class Lora(PeftMethod):
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
            MethodParameter(
                domain=IntRange(name="rank", field="rank", low=1, high=256, log=True),
                default=8,
                about="inner size r of the update",
            ),
            MethodParameter(
                domain=Choice(name="variant", field="variant", choices=("plain", "rslora", "dora")),
                default="plain",
                about="scaling and parametrisation",
            ),
            MethodParameter(
                domain=FloatRange(
                    name="alpha_over_rank", field="alpha_over_rank", low=0.25, high=16.0, log=True
                ),
                default=2.0,
                about="alpha as a multiple of the rank",
            ),
            MethodParameter(
                domain=FloatRange(name="dropout", field="dropout", low=0.0, high=0.5),
                default=0.0,
                about="dropout on the input of the update",
            ),
        ),
        mergeable=True,
    )

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        rank = int(component.param("rank"))
        modules = self.info.select(component, spec)
        total = sum(rank * (m.in_features + m.out_features) for m in modules)
        if component.param("variant") == "dora":
            total += sum(m.out_features for m in modules)
        return total

    def attach(
        self, model: PreTrainedModel, component: Component, context: AttachContext
    ) -> Attachment:
        modules = self.info.select(component, context.spec)
        rank = int(component.param("rank"))
        config = LoraConfig(
            task_type=TASK_TYPE,
            r=rank,
            # peft declares an int and takes any number.
            lora_alpha=float(component.param("alpha_over_rank")) * rank,  # type: ignore[arg-type]
            lora_dropout=float(component.param("dropout")),
            use_rslora=component.param("variant") == "rslora",
            use_dora=component.param("variant") == "dora",
            target_modules=module_names(modules),
            modules_to_save=head_modules(context),
            fan_in_fan_out=needs_transpose(modules),
        )
        return PeftAttachment(model, config)
