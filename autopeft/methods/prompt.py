"""Trained tokens among the inputs: prompt tuning and P-tuning.

Lester et al. 2021 (arXiv 2104.08691), Liu et al. 2021 (arXiv 2103.10385). peft's own put the tokens
first, where encoders' heads look for [CLS], and classifiers over decoders, which find their last
token by its number, then read another one. Here the tokens go behind the first one, and what leaves
the layers is what belongs to the input's own tokens, so that no head sees the others. A model that
writes text has no such head, and the tokens go first: in front of whatever fills rows on the left.
"""

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
#: What transformers calls the kept keys and values, from 5.24 on and before.
CACHES = ("cache", "past_key_values")


class TrainedTokens(InsertedMethod):
    """What both have in common: `length` more tokens, for models that read words."""

    def obstacle(self, component: Component, spec: ModelSpec) -> str | None:  # noqa: ARG002
        return None if spec.embedding_size else f"{spec.family} has no embeddings of words"

    def added_tokens(self, component: Component) -> int:
        return int(component.param("length"))


class PromptTuning(TrainedTokens):
    """l trained embeddings among those of the input; they start as random words."""

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
        self._prompt = prompt
        self._words = model.get_input_embeddings()
        self._spec = spec
        #: How many of the input's tokens stand before the trained ones.
        self._start = 1 if spec.output == "labels" else 0
        self._n_trained = 0  # of the last input
        hooks = [
            # First of all, so that the gates of other components see the longer mask.
            stack.register_forward_pre_hook(self._lengthen, with_kwargs=True, prepend=True),
            stack.register_forward_hook(self._shorten),
        ]
        super().__init__(model, {f"{name}.{CHILD}": prompt}, hooks)

    def _lengthen(
        self, _stack: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Make the inputs of the stack longer by the prompt."""
        ids = args[0] if args else kwargs["input_ids"]
        trained = self._prompt()
        longer = self._extended(kwargs, len(trained))
        if _has_begun(kwargs):  # what is kept of the text holds the prompt
            self._n_trained = 0
            return args, longer
        self._n_trained = len(trained)
        self._check_room(ids.shape[1])
        embedded = self._words(ids)
        inserted = trained.to(embedded.dtype).expand(len(ids), -1, -1)
        longer["inputs_embeds"] = _put_in(embedded, inserted, self._start, dim=1)
        longer.pop("input_ids", None)
        return (None, *args[1:]) if args else (), longer

    def _extended(self, kwargs: dict[str, Any], length: int) -> dict[str, Any]:
        """Return arguments with token types, masks and positions that fit the longer input.

        Masks are (batch, n) or (batch, 1, n, n). The trained tokens are seen by all; their type
        is 0.
        """
        longer, begun = dict(kwargs), _has_begun(kwargs)
        for name in ("attention_mask", "token_type_ids"):
            values = kwargs.get(name)
            if values is not None:
                for dim in (-1,) if begun or values.dim() == 2 else (-1, -2):
                    shape = list(values.shape)
                    shape[dim] = length
                    filler = values.new_full(shape, name == "attention_mask")
                    values = _put_in(values, filler, self._start, dim=values.dim() + dim)
                longer[name] = values
        positions = kwargs.get("position_ids")
        if positions is not None:
            first = torch.arange(length, device=positions.device).expand(len(positions), -1)
            own = positions + length
            longer["position_ids"] = own if begun else torch.cat([first, own], dim=1)
        return longer

    def _check_room(self, n_tokens: int) -> None:
        limit = self._spec.max_length
        if limit is not None and n_tokens + self._n_trained > limit:
            raise SpaceError(
                f"Inputs of {n_tokens} tokens and {self._n_trained} trained ones are more than "
                f"the {limit} that {self._spec.family} takes: shorten one of them."
            )

    def _shorten(self, _stack: nn.Module, _inputs: Any, output: Any) -> None:
        """Take the prompt's states out of the stack's output."""
        states = output.last_hidden_state
        rest = states[:, self._start + self._n_trained :]
        own = torch.cat([states[:, : self._start], rest], dim=1) if self._start else rest
        output.last_hidden_state = own


def _width(spec: ModelSpec) -> int:
    assert spec.embedding_size is not None  # others are refused
    return spec.embedding_size


def _has_begun(kwargs: dict[str, Any]) -> bool:
    """Tell whether keys and values are kept of tokens that come before the input."""
    named = (kwargs.get(name) for name in CACHES)
    return any(kept is not None and kept.get_seq_length() > 0 for kept in named)


def _put_in(values: torch.Tensor, inserted: torch.Tensor, start: int, dim: int) -> torch.Tensor:
    before, after = values.split([start, values.shape[dim] - start], dim=dim)
    return torch.cat([before, inserted, after], dim=dim)
