"""Trained tokens among the inputs: prompt tuning and P-tuning.

Lester et al. 2021 (arXiv 2104.08691), Liu et al. 2021 (arXiv 2103.10385). peft's own put the tokens
first, where encoders' heads look for [CLS], and classifiers over decoders, which find their last
token by its number, then read another one. Here the tokens go behind the first one, and what leaves
the layers is what belongs to the input's own tokens, so that no head sees the others.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from autopeft.errors import SpaceError
from autopeft.methods.inserted import (
    InsertedMethod,
    Insertion,
    Reparametrised,
    reading_stack,
)
from autopeft.methods.method import MethodInfo, int_parameter
from autopeft.models.spec import ModelSpec
from autopeft.space.configuration import Component

CHILD = "prompt"


class TrainedTokens(InsertedMethod):
    """What both have in common: `length` more tokens, for models that read words."""

    def obstacle(self, component: Component, spec: ModelSpec) -> str | None:  # noqa: ARG002
        return None if spec.embedding_size else f"{spec.family} has no embeddings of words"

    def added_tokens(self, component: Component) -> int:
        return int(component.param("length"))


class PromptTuning(TrainedTokens):
    """l trained embeddings behind that of the first token; they start as random words."""

    info = MethodInfo(
        name="prompt_tuning",
        family="prompt",
        about="Trained tokens among those of the input.",
        default_learning_rate=3e-2,
        default_targets=("backbone",),
        kinds=("backbone",),
        module_types=(),
        parameters=(int_parameter("length", 1, 256, 16, "trained tokens l", log=True),),
        mergeable=False,
        starts_at_base=False,
        target_choices=("backbone",),
    )

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        return int(component.param("length")) * _width(spec)

    def insert(self, model: PreTrainedModel, component: Component, spec: ModelSpec) -> Insertion:
        words: Any = model.get_input_embeddings()
        chosen = torch.randint(len(words.weight), (int(component.param("length")),))
        prompt = Prompt(words.weight.detach()[chosen.to(words.weight.device)].clone())
        return PromptInsertion(model, prompt, spec)


class PTuning(TrainedTokens):
    """l embeddings W_3 f(W_2 f(W_1 e + b_1) + b_2) + b_3 of trained vectors e, f = ReLU.

    The network of peft's `PromptEncoder`; it is needed for the training alone.
    """

    info = MethodInfo(
        name="p_tuning",
        family="prompt",
        about="Tokens that a small network makes while training, among those of the input.",
        default_learning_rate=1e-3,
        default_targets=("backbone",),
        kinds=("backbone",),
        module_types=(),
        parameters=(
            int_parameter("length", 1, 256, 16, "tokens l", log=True),
            int_parameter("width", 8, 1024, 128, "hidden width of the network", log=True),
        ),
        mergeable=False,
        starts_at_base=False,
        target_choices=("backbone",),
    )

    def exported(self, component: Component) -> Component:
        params = (("length", component.param("length")),)
        return replace(component, method=PromptTuning.info.name, params=params)

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        length, width = int(component.param("length")), int(component.param("width"))
        d = _width(spec)
        return length * d + width * (d + 1) + width * (width + 1) + d * (width + 1)

    def insert(self, model: PreTrainedModel, component: Component, spec: ModelSpec) -> Insertion:
        length, width = int(component.param("length")), int(component.param("width"))
        network = PromptNetwork(length, _width(spec), width)
        return PromptInsertion(model, network.to(next(model.parameters()).device), spec)


class Prompt(nn.Module):
    """Trained embeddings (l, d)."""

    def __init__(self, embeddings: torch.Tensor) -> None:
        super().__init__()
        self.embeddings = nn.Parameter(embeddings)

    def forward(self) -> torch.Tensor:
        return self.embeddings


class PromptNetwork(Reparametrised):
    """Embeddings (l, d) as a network makes them."""

    def __init__(self, length: int, d: int, width: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(length, d))
        self.network = nn.Sequential(
            *(nn.Linear(d, width), nn.ReLU()),
            *(nn.Linear(width, width), nn.ReLU()),
            nn.Linear(width, d),
        )

    def forward(self) -> torch.Tensor:
        made: torch.Tensor = self.network(self.vectors)
        return made

    def folded(self) -> dict[str, torch.Tensor]:
        return {"embeddings": self()}


class PromptInsertion(Insertion):
    """A prompt in the stack of layers that reads the text, and the hooks that put it there."""

    def __init__(self, model: PreTrainedModel, prompt: nn.Module, spec: ModelSpec) -> None:
        name = reading_stack(model)
        stack = model.get_submodule(name)
        lengthen = _lengthen(prompt, model.get_input_embeddings(), spec)
        hooks = [
            # First of all, so that the gates of other components see the longer mask.
            stack.register_forward_pre_hook(lengthen, with_kwargs=True, prepend=True),
            stack.register_forward_hook(_shorten),
        ]
        super().__init__(model, {f"{name}.{CHILD}": prompt}, hooks)


def _width(spec: ModelSpec) -> int:
    assert spec.embedding_size is not None  # others are refused
    return spec.embedding_size


def _lengthen(
    prompt: nn.Module, words: nn.Module, spec: ModelSpec
) -> Callable[..., tuple[tuple[Any, ...], dict[str, Any]]]:
    """Return a hook that makes the inputs of a stack longer by the prompt."""

    def hook(
        stack: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        ids = args[0] if args else kwargs["input_ids"]
        trained = prompt()
        length = len(trained)
        if spec.max_length is not None and ids.shape[1] + length > spec.max_length:
            raise SpaceError(
                f"Inputs of {ids.shape[1]} tokens and {length} trained ones are more than the "
                f"{spec.max_length} that {spec.family} takes: shorten one of them."
            )
        embedded = words(ids)
        inserted = trained.to(embedded.dtype).expand(len(ids), -1, -1)
        longer = {**kwargs, "inputs_embeds": _behind_first(embedded, inserted, dim=1)}
        longer.pop("input_ids", None)
        for name in ("attention_mask", "token_type_ids"):
            if kwargs.get(name) is not None:
                longer[name] = _extended(kwargs[name], length, seen=name == "attention_mask")
        stack.n_trained_tokens = length  # for the hook on the output
        return (None, *args[1:]) if args else (), longer

    return hook


def _shorten(stack: Any, _inputs: Any, output: Any) -> None:
    """Take the prompt's states out of a stack's output."""
    states = output.last_hidden_state
    output.last_hidden_state = torch.cat(
        [states[:, :1], states[:, 1 + stack.n_trained_tokens :]], dim=1
    )


def _behind_first(values: torch.Tensor, inserted: torch.Tensor, dim: int) -> torch.Tensor:
    first, rest = values.split([1, values.shape[dim] - 1], dim=dim)
    return torch.cat([first, inserted, rest], dim=dim)


def _extended(values: torch.Tensor, length: int, *, seen: bool) -> torch.Tensor:
    """Return token types (batch, n), or a mask of that shape or (batch, 1, n, n), extended.

    The trained tokens are seen by all; their type is 0.
    """
    for dim in (-1,) if values.dim() == 2 else (-1, -2):
        shape = list(values.shape)
        shape[dim] = length
        values = _behind_first(values, values.new_full(shape, seen), dim=values.dim() + dim)
    return values
