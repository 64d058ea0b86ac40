"""Several components on one model (UniPELT, MAM adapter, AutoPEFT): peft's first, then our own."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel

from autopeft.methods.adapter_files import write_adapter
from autopeft.methods.inserted import InsertedMethod, Insertion, train_head
from autopeft.methods.library import LibraryMethod
from autopeft.methods.method import AttachContext, Attachment, PeftMethod
from autopeft.methods.registry import get_method
from autopeft.models.spec import ModelSpec
from autopeft.space.configuration import Component


class CompositeAttachment(Attachment):
    """Components attached one after the other; all that they train trains, and the head."""

    def __init__(
        self, model: PreTrainedModel, components: Sequence[Component], context: AttachContext
    ) -> None:
        """Attach the components.

        Args:
            model: The base model, frozen.
            components: None, one or more; methods of peft change different modules each.
            context: What else the methods need.
        """
        self._base = model
        self._context = context
        self._library: list[Attachment] = []
        self._own: list[Insertion] = []
        # The head is trained in place, once, rather than wrapped by each library method.
        bare = headless(context)
        #: Every component with what it trains.
        self.parts: list[tuple[Component, list[nn.Parameter]]] = []
        for method, component in in_order(components):
            if isinstance(method, InsertedMethod):
                self._own.append(method.insert(model, component, context.spec))
                trains = self._own[-1].parameters()
            else:
                self._library.append(method.attach(model, component, bare))
                # What an earlier component of peft trains can still be trainable.
                taken = {id(p) for _, earlier in self.parts for p in earlier}
                trains = [p for _, p in self._library[-1].trainable() if id(p) not in taken]
            self.parts.append((component, trains))
        mark_trainable(model, [p for _, trains in self.parts for p in trains], context)

    @property
    def model(self) -> nn.Module:
        # AdaLoRA adds a term to the loss in its own forward.
        return self._library[0].model if self._library else self._base

    def after_optimizer_step(self, step: int) -> None:
        for part in self._library:
            part.after_optimizer_step(step)

    def rate_multiple(self, parameter: nn.Parameter) -> float:
        return math.prod(part.rate_multiple(parameter) for part in self._library)

    def extra_state(self) -> dict[str, torch.Tensor]:
        return {
            f"{i}:{name}": tensor
            for i, part in enumerate(self._library)
            for name, tensor in part.extra_state().items()
        }

    def load_extra_state(self, state: dict[str, torch.Tensor]) -> None:
        for i, part in enumerate(self._library):
            prefix = f"{i}:"
            part.load_extra_state(
                {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
            )

    def save(self, folder: Path) -> None:
        tensors: dict[str, torch.Tensor] = {
            n: p for n, p in self._base.named_parameters() if p.requires_grad
        }
        for insertion in self._own:
            tensors = insertion.exported(tensors)
        components = tuple(
            method.exported(component) if isinstance(method, InsertedMethod) else component
            for method, component in in_order(self._context.components)
        )
        write_adapter(folder, replace(self._context, components=components), tensors)

    def detach(self) -> PreTrainedModel:
        for insertion in reversed(self._own):
            insertion.remove(self._base)
        for part in reversed(self._library):
            part.detach()
        self._base.requires_grad_(requires_grad=False)
        return self._base


def on_meta(
    model: PreTrainedModel, components: Sequence[Component], context: AttachContext
) -> nn.Module:
    """Return a model on `meta` with the components' shapes, as `PeftMethod.on_meta` does."""
    if len(components) == 1:
        return get_method(components[0].method).on_meta(model, components[0], context)
    trains: list[nn.Parameter] = []
    for method, component in in_order(components):
        before = {id(p) for p in model.parameters()}
        method.on_meta(model, component, headless(context))
        trains += [p for p in model.parameters() if id(p) not in before and p.requires_grad]
    mark_trainable(model, trains, context)
    return model


def in_order(components: Iterable[Component]) -> list[tuple[PeftMethod, Component]]:
    """Return methods and components in the order in which they attach: our own go around peft's."""
    pairs = [(get_method(c.method), c) for c in components]
    # What changes peft's modules goes right around them; the parallel adapter reads the block's
    # input and goes inside the serial one.
    return sorted(
        pairs,
        key=lambda p: (isinstance(p[0], InsertedMethod), p[0].info.goes_alone, p[0].info.name),
    )


def lacking(components: Sequence[Component], spec: ModelSpec) -> str | None:
    """Return why a component has none of peft's to go around where it needs one, if so."""
    held: set[str] = set()
    changed_base: dict[str, str] = {}
    for method, component in in_order(components):
        modules = [m.name for m in method.info.select(component, spec)]
        if isinstance(method, LibraryMethod):
            held.update(modules)
            if method.changes_base(component):
                changed_base |= dict.fromkeys(modules, component.method)
        elif not method.info.goes_alone:
            name = method.info.name
            for module in modules:
                if module not in held:
                    return (
                        f"{name} goes around what another component does with peft, and none "
                        f"changes '{module}'"
                    )
                if module in changed_base:
                    return (
                        f"{changed_base[module]} changes the weights of '{module}' themselves at "
                        f"its start, so that {name} cannot tell them from what is added"
                    )
    return None


def headless(context: AttachContext) -> AttachContext:
    """Return the context of a model whose head is somebody else's business."""
    return replace(context, spec=replace(context.spec, head_modules=()))


def mark_trainable(
    model: nn.Module, trains: Sequence[nn.Parameter], context: AttachContext
) -> None:
    """Let these parameters and the head train, and nothing else."""
    model.requires_grad_(requires_grad=False)
    for parameter in trains:
        parameter.requires_grad = True
    train_head(model, context.spec)
