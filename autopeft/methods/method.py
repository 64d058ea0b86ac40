"""The interfaces of a PEFT method: what it is, what it costs in parameters, how it attaches."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from transformers import PreTrainedModel

from autopeft.models.spec import ModelSpec, ModuleSpec, ModuleType
from autopeft.space.configuration import Component, Value
from autopeft.space.hyperparameter import Choice, FloatRange, Hyperparameter, IntRange

#: Families, in the order in which methods are listed.
FAMILIES = (
    *("low-rank", "shared-basis", "orthogonal", "spectral", "scaling", "selective", "sparse"),
    *("adapter", "prompt", "full"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodParameter:
    """A hyperparameter of a method.

    Attributes:
        domain: Values that the method takes; its name is the key in a component.
        default: Value when a configuration file leaves it out.
        about: One line for the user.
        searched: The part of the domain that `everything` searches; `None` for all of it.
    """

    domain: Hyperparameter
    default: Value
    about: str
    searched: Hyperparameter | None = None


def int_parameter(  # noqa: PLR0913 - the parts of a range
    name: str,
    low: int,
    high: int,
    default: int,
    about: str,
    *,
    log: bool = False,
    searched_to: int | None = None,
) -> MethodParameter:
    """Return an integer hyperparameter, searched up to `searched_to` where that is given."""
    domain = IntRange(name=name, field=name, low=low, high=high, log=log)
    searched = replace(domain, high=searched_to) if searched_to else None
    return MethodParameter(domain=domain, default=default, about=about, searched=searched)


def float_parameter(
    name: str, low: float, high: float, default: float, about: str, *, log: bool = False
) -> MethodParameter:
    """Return a continuous hyperparameter."""
    domain = FloatRange(name=name, field=name, low=low, high=high, log=log)
    return MethodParameter(domain=domain, default=default, about=about)


def choice_parameter(
    name: str, choices: tuple[Value, ...], default: Value, about: str
) -> MethodParameter:
    """Return a categorical hyperparameter."""
    domain = Choice(name=name, field=name, choices=choices)
    return MethodParameter(domain=domain, default=default, about=about)


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodInfo:
    """What a user can know of a method without a model.

    Attributes:
        name: Registered name.
        family: Kind of method, one of `FAMILIES`.
        about: One line for the user.
        default_learning_rate: Peak learning rate that the searched multiple scales.
        default_targets: Targets when a configuration file leaves them out.
        target_choices: Targets worth searching.
        starts_at_base: Whether a fresh adapter leaves the model's output as it is.
        kinds: Module kinds that it can change.
        module_types: Types of module that it can change.
        parameters: Its hyperparameters.
        mergeable: Whether the trained adapter can be folded into the weights.
        maskable: Whether a density mask can prune it: what it adds to the model is made of sums
            and products of its parameters, so that a zero takes terms away and does nothing else.
            Factors that stand at 1 when they do nothing, rotations, logits and the model's own
            weights are not of that kind, and a method with a density of its own needs no mask.
        unmasked: Parts of the names of tensors that no mask prunes, because zero is not nothing
            there.
        not_beside: Methods that cannot be attached to the same model, whatever their places.
        converts_to_lora: Whether peft's `convert_to_lora` can make a LoRA of the trained adapter;
            of word embeddings it never can.
        goes_alone: Whether it changes a model by itself, rather than what a component of peft
            does to the same modules.
    """

    name: str
    family: str
    about: str
    default_learning_rate: float
    default_targets: tuple[str, ...]
    kinds: tuple[str, ...]
    module_types: tuple[ModuleType, ...]
    parameters: tuple[MethodParameter, ...]
    mergeable: bool
    maskable: bool = False
    unmasked: tuple[str, ...] = ()
    not_beside: tuple[str, ...] = ()
    converts_to_lora: bool = False
    goes_alone: bool = True
    starts_at_base: bool = True
    target_choices: tuple[str, ...] = ("attn.qv", "attn", "mlp", "linear")

    def dimensions(self) -> tuple[Hyperparameter, ...]:
        """Return the method's own dimensions of a search space, active for it alone."""
        when = (("method", (self.name,)),)
        targets = Choice(
            name=f"{self.name}_targets", field="targets", choices=self.target_choices, when=when
        )
        own = (
            replace(p.searched or p.domain, name=f"{self.name}_{p.domain.name}", when=when)
            for p in self.parameters
        )
        return (*own, targets)

    def select(self, component: Component, spec: ModelSpec) -> list[ModuleSpec]:
        """Return the modules of the model that a component of this method changes."""
        kinds = [kind for kind in component.targets if kind in self.kinds]
        chosen = spec.select(kinds, component.layers)
        return [module for module in chosen if module.type in self.module_types]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachContext:
    """What a method needs beside its component.

    Attributes:
        spec: Structure of the model.
        total_steps: Optimiser steps of a full training, for methods with a schedule.
        seed: For methods that draw at random which weights they train.
        components: All components that are attached, to be written with the adapter.
        batches: Returns a few batches of the training rows, for a start that depends on data;
            `None` where the values do not matter: on `meta`, and before saved ones are loaded.
    """

    spec: ModelSpec
    total_steps: int
    seed: int
    components: tuple[Component, ...] = ()
    batches: Callable[[], Iterable[Mapping[str, torch.Tensor]]] | None = None


def set_aside(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy to put back later; not on a GPU, whose memory is for training."""
    kept = tensor.detach()
    return kept.clone() if kept.is_meta else kept.to("cpu", copy=True)


class Attachment(ABC):
    """A configuration attached to a model: what trains, and the way back."""

    @property
    @abstractmethod
    def model(self) -> nn.Module:
        """The module to call, with the same inputs and outputs as the base model."""

    def after_optimizer_step(self, step: int) -> None:  # noqa: B027 - most have no schedule
        """Do what the method's schedule asks after step `step` (from 1), gradients still there."""

    def rate_multiple(self, parameter: nn.Parameter) -> float:  # noqa: ARG002 - most have one rate
        """Return what a trainable parameter's learning rate is multiplied by."""
        return 1.0

    def extra_state(self) -> dict[str, torch.Tensor]:
        """Return what beside the trainable parameters a checkpoint needs; nothing by default."""
        return {}

    def load_extra_state(self, state: dict[str, torch.Tensor]) -> None:  # noqa: B027 - as above
        """Restore what `extra_state` returned."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the adapter and the head in the library's own format, as safetensors."""

    @abstractmethod
    def detach(self) -> PreTrainedModel:
        """Return the base model with the weights that it had before, bit for bit.

        The task head keeps whatever the caller put there: it is reset by who owns the model.
        """

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the names and parameters that train, adapter and head."""
        return ((n, p) for n, p in self.model.named_parameters() if p.requires_grad)


class PeftMethod(ABC):
    """One PEFT method.

    Attributes:
        info: What can be known without a model.
        built_on: Device of the adapter's own tensors while costs are computed. A method that
            looks at indices that it draws needs `cpu`; what it builds is small.
    """

    info: MethodInfo
    built_on: Literal["meta", "cpu"] = "meta"

    def obstacle(self, component: Component, spec: ModelSpec) -> str | None:  # noqa: ARG002
        """Return why the component's choices do not go together or not with the model, if so.

        Kinds and types of modules are checked elsewhere; this is for what they do not tell.
        """
        return None

    @abstractmethod
    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        """Return the number of trainable adapter parameters, in closed form."""

    def stands_alone(self, component: Component) -> bool:  # noqa: ARG002 - most go together
        """Tell whether the component goes with no other one."""
        return False

    def keeps_together(self, component: Component) -> str | None:  # noqa: ARG002 - most do not
        """Return why the rows of a batch must go through the model together, if so.

        What is learned from a batch is else the sum of what is learned from its rows.
        """
        return None

    def stored_copies(self, component: Component) -> int:  # noqa: ARG002 - one by most
        """Return how many times as wide as they train low-rank factors are written."""
        return 1

    def added_tokens(self, component: Component) -> int:  # noqa: ARG002 - none by most
        """Return by how many tokens the component makes an input longer."""
        return 0

    def count_unmasked(self, component: Component, spec: ModelSpec) -> int:  # noqa: ARG002 - none
        """Return how many of them are in tensors that `info.unmasked` names."""
        return 0

    @abstractmethod
    def attach(
        self, model: PreTrainedModel, component: Component, context: AttachContext
    ) -> Attachment:
        """Attach the component; afterwards only the adapter and the head train."""

    def on_meta(
        self, model: PreTrainedModel, component: Component, context: AttachContext
    ) -> nn.Module:
        """Return a model on the `meta` device that saves for backward what a real one saves.

        A method that cannot be built on `meta` replaces this by a stand-in of the same shapes.
        """
        with torch.device(self.built_on):
            return self.attach(model, component, context).model.to("meta")
