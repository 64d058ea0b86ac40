"""Our own blocks: modules put into a model in the place of others, and the way back."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from autopeft.methods.adapter_files import write_adapter
from autopeft.methods.method import AttachContext, Attachment, PeftMethod
from autopeft.models.spec import ModelSpec, backbone_name
from autopeft.space.configuration import Component


class InsertedMethod(PeftMethod):
    """A method that peft lacks: it puts modules of its own into the model."""

    @abstractmethod
    def insert(self, model: PreTrainedModel, component: Component, spec: ModelSpec) -> "Insertion":
        """Put the modules in; nothing of the base is trained or changed."""

    def exported(self, component: Component) -> Component:
        """Return the component that reads what `Insertion.exported` gives to be written."""
        return component

    def attach(
        self, model: PreTrainedModel, component: Component, context: AttachContext
    ) -> Attachment:
        insertion = self.insert(model, component, context.spec)
        return InsertedAttachment(
            model, insertion, replace(context, components=(self.exported(component),))
        )


class Reparametrised(nn.Module, ABC):
    """A module that trains more numbers than it takes to predict with it."""

    @abstractmethod
    def folded(self) -> dict[str, torch.Tensor]:
        """Return the tensors of the plain module that computes the same, by their names in it."""


class Insertion:
    """Modules in the places of others.

    Attributes:
        modules: What was put in, by the name of its place.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        modules: Mapping[str, nn.Module],
        hooks: Sequence[RemovableHandle] = (),
    ) -> None:
        """Put modules in; those of the model that had their places are kept for `remove`.

        Args:
            model: The model.
            modules: What to put in, by the name of its place.
            hooks: What was hooked into the model for them, taken out with them.
        """
        self.modules = dict(modules)
        self._hooks = tuple(hooks)
        self._originals = {name: _child(model, name) for name in modules}
        for name, module in self.modules.items():
            _put(model, name, module)
        for parameter in self.parameters():  # a base in 16 bits computes with nothing else
            parameter.data = parameter.data.to(model.dtype)

    def parameters(self) -> list[nn.Parameter]:
        """Return what the inserted modules train, each once."""
        own: dict[int, nn.Parameter] = {}
        for module in self.modules.values():
            # An inserted module holds the one that it wraps; that one's weights stay frozen.
            wrapped = {id(p) for p in getattr(module, "base_layer", nn.Identity()).parameters()}
            own.update({id(p): p for p in module.parameters() if id(p) not in wrapped})
        return list(own.values())

    def exported(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the model's trained tensors as they are to be written: the folded ones folded."""
        written = dict(tensors)
        for place, module in self.modules.items():
            if isinstance(module, Reparametrised):
                written = {n: t for n, t in written.items() if not n.startswith(f"{place}.")}
                written.update({f"{place}.{n}": t for n, t in module.folded().items()})
        return written

    def remove(self, model: PreTrainedModel) -> None:
        """Put the model's own modules back."""
        for hook in self._hooks:
            hook.remove()
        for name, original in self._originals.items():
            if original is None:
                parent, _, child = name.rpartition(".")
                delattr(model.get_submodule(parent), child)
            else:
                _put(model, name, original)


class Wrapper(nn.Module):
    """A module around one of the model's own; whoever asks for its weight gets that one's."""

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__()
        self.base_layer = base_layer

    @property
    def weight(self) -> nn.Parameter:
        """Weight of the wrapped module: T5 looks at its type."""
        weight: nn.Parameter = self.base_layer.weight  # type: ignore[assignment]  # torch types it loosely
        return weight


class StandIn(Wrapper, ABC):
    """Shapes of a module of peft's that `meta` cannot build; it holds and keeps what that does."""

    @abstractmethod
    def stored_beside(self) -> list[torch.Tensor]:
        """Return what peft writes beside what trains."""


class InputReader(Wrapper):
    """One of the model's modules; it lets another one see its input."""

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__(base_layer)
        self.memory: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.memory[:] = [x]
        result: torch.Tensor = self.base_layer(x)
        return result


class InsertedAttachment(Attachment):
    """One of our own methods, attached alone."""

    def __init__(
        self, model: PreTrainedModel, insertion: Insertion, context: AttachContext
    ) -> None:
        self._model = model
        self._insertion = insertion
        self._context = context
        train_head(model, context.spec)

    @property
    def model(self) -> nn.Module:
        return self._model

    def save(self, folder: Path) -> None:
        write_adapter(folder, self._context, self._insertion.exported(dict(self.trainable())))

    def detach(self) -> PreTrainedModel:
        self._insertion.remove(self._model)
        self._model.requires_grad_(requires_grad=False)
        return self._model


def train_head(model: nn.Module, spec: ModelSpec) -> None:
    """Let the task head train."""
    for name in spec.head_modules:
        model.get_submodule(name).requires_grad_(requires_grad=True)


def reading_stack(model: PreTrainedModel) -> str:
    """Return the name of the stack of layers that reads the input.

    The encoder or the backbone; or the decoder in it, which OPT's head that writes calls directly.
    """
    name = backbone_name(model)
    part = "encoder" if model.config.is_encoder_decoder else "decoder"
    if not hasattr(model.get_submodule(name), part):
        return name
    return f"{name}.{part}" if name else part


def _child(model: nn.Module, name: str) -> nn.Module | None:
    parent, _, child = name.rpartition(".")
    found: nn.Module | None = getattr(model.get_submodule(parent), child, None)
    return found


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)
