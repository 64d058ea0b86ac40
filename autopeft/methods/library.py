"""Methods that the library `peft` has: shared by every method file that uses it."""

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from peft import PeftConfig
from transformers import PreTrainedModel

from autopeft.methods.method import AttachContext, Attachment, PeftMethod
from autopeft.methods.peft_attachment import PeftAttachment
from autopeft.models.spec import ModelSpec, ModuleSpec, Output
from autopeft.space.configuration import Component

#: What peft calls the tasks.
_TASK_TYPES: Mapping[Output, str] = {
    "labels": "SEQ_CLS",
    "next_tokens": "CAUSAL_LM",
    "target_tokens": "SEQ_2_SEQ_LM",
}


class LibraryMethod(PeftMethod):
    """A method of the library: its facts, its count, its config."""

    def changes_base(self, component: Component) -> bool:  # noqa: ARG002 - most do not
        """Tell whether attaching changes the frozen weights themselves."""
        return False

    @abstractmethod
    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> PeftConfig:
        """Return the library's config; `common` holds what all of them take."""

    def attach(
        self, model: PreTrainedModel, component: Component, context: AttachContext
    ) -> Attachment:
        modules = self.info.select(component, context.spec)
        keep = [module.name for module in modules] if self.changes_base(component) else []
        return PeftAttachment(model, self.config(component, modules, context), keep)


class PerModuleMethod(LibraryMethod):
    """A method of the library whose parameters are a sum over modules."""

    @abstractmethod
    def count_module(self, component: Component, module: ModuleSpec) -> int:
        """Return the number of parameters that the component trains for one module."""

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        return sum(self.count_module(component, m) for m in self.info.select(component, spec))


def common(modules: list[ModuleSpec], context: AttachContext) -> dict[str, Any]:
    """Return the arguments that every config of the library takes.

    Full module paths, which the library matches exactly, say layers and kinds in one list; the
    modules of the task head train beside the adapter and are saved with it.
    """
    spec = context.spec
    return {
        "task_type": task_type(spec),
        "target_modules": [module.name for module in modules],
        "modules_to_save": list(spec.head_modules),
    }


def task_type(spec: ModelSpec) -> str | None:
    """Return peft's name of a model's task.

    For a classifier peft looks for a head of its own accord, and hands on token ids alone: where
    the head is somebody else's business, or images are read, it gets no task.
    """
    if spec.output == "labels" and not (spec.head_modules and spec.reads == "tokens"):
        return None
    return _TASK_TYPES[spec.output]


def transposed(modules: list[ModuleSpec]) -> dict[str, Any]:
    """Return the argument of configs that know GPT-2's transposed Conv1D."""
    return {"fan_in_fan_out": any(module.type == "conv1d" for module in modules)}


def refuse_scaled(method: str, modules: list[ModuleSpec], spec: ModelSpec) -> str | None:
    """Return why peft's module cannot stand for one that multiplies its output, if one does."""
    if any(module.scaled for module in modules):
        return (
            f"{spec.family} multiplies its word embeddings by a constant, which peft's {method} "
            "leaves out of what it adds"
        )
    return None


def largest_divisor(sizes: Iterable[int], most: int) -> int:
    """Return the largest number up to `most` that divides all sizes.

    Blocks must divide the widths of all chosen modules: a size between is taken down to one that
    does.
    """
    common_divisor = math.gcd(*sizes)
    return next(d for d in range(min(most, common_divisor), 0, -1) if common_divisor % d == 0)


def inputs(modules: list[ModuleSpec]) -> list[int]:
    """Return the input widths of modules."""
    return [module.in_features for module in modules]


def widths(modules: list[ModuleSpec]) -> list[int]:
    """Return all widths of modules, inputs and outputs."""
    return [width for module in modules for width in (module.in_features, module.out_features)]
