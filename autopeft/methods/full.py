"""Full fine-tuning: the reference that every PEFT method is compared with."""

from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel

from autopeft.methods.method import AttachContext, Attachment, MethodInfo, PeftMethod, set_aside
from autopeft.models.loading import quiet
from autopeft.models.spec import ModelSpec
from autopeft.space.configuration import Component


class FullFineTuning(PeftMethod):
    """All weights of the backbone train."""

    info = MethodInfo(
        name="full",
        family="full",
        about="Full fine-tuning of the backbone, the reference.",
        default_learning_rate=5e-5,
        default_targets=("backbone",),
        kinds=("backbone",),
        module_types=("linear", "conv1d", "norm"),
        parameters=(),
        mergeable=False,
        target_choices=("backbone",),
    )

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:  # noqa: ARG002 - all
        return spec.base_params

    def attach(
        self,
        model: PreTrainedModel,
        component: Component,  # noqa: ARG002 - everything trains, wherever it is
        context: AttachContext,  # noqa: ARG002
    ) -> Attachment:
        return FullAttachment(model)


class FullAttachment(Attachment):
    """The model itself, with a copy of the weights it came with."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._before = {name: set_aside(p) for name, p in model.named_parameters()}
        model.requires_grad_(requires_grad=True)

    @property
    def model(self) -> nn.Module:
        return self._model

    def save(self, folder: Path) -> None:
        with quiet():
            self._model.save_pretrained(str(folder))

    def detach(self) -> PreTrainedModel:
        with torch.no_grad():
            for name, parameter in self._model.named_parameters():
                parameter.copy_(self._before[name])
        self._model.requires_grad_(requires_grad=False)
        return self._model
