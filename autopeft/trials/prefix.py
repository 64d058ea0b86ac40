"""`FrozenPrefix`: the layers below the lowest one that a trial changes, computed once a row."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from autopeft.models.spec import layers_of
from autopeft.trials.batches import EncodedSplit, sorted_batches
from autopeft.trials.disk_cache import CacheError, DiskCache
from autopeft.trials.kept_states import Batch, KeptStates

logger = logging.getLogger(__name__)

#: Largest difference of outputs, as a share of the largest of them, that rounding explains.
ROUNDING = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}


class FrozenPrefix:
    """The first layers of a model, which a trial does not change.

    They work without dropout, whether their outputs are kept or not, so that what a row gives
    there is the same in every epoch and every trial. Where there is room on the disk it is
    computed once, and steps begin above it.

    Attributes:
        depth: Number of these layers; with 0 nothing is different from plain training.
    """

    def __init__(self, model: PreTrainedModel, depth: int, key: str, cache: DiskCache) -> None:
        """Take the layers of a model.

        Args:
            model: The base model, with or without something attached above the layers.
            depth: Number of layers.
            key: Digest of all that the states follow from, except for the rows.
            cache: Where states are kept.
        """
        self.depth = depth
        self._model = model
        self._layers = layers_of(model)
        self._key = key
        self._cache = cache
        self._n_parts = 0  # of what a layer returns, if that is a tuple
        self._files: dict[int, KeptStates | None] = {}
        self._usable: bool | None = False if depth == 0 or not cache.limit else None

    def set_training(self, model: nn.Module) -> None:
        """Put a model into training mode, its first layers and what comes before them not.

        Args:
            model: The base model with what is attached to it.
        """
        model.train()
        if self.depth:
            self._model.base_model.eval()
            for layer in layers_of(self._model)[self.depth :]:  # something may stand around them
                layer.train()

    @contextmanager
    def skipped(self, split: EncodedSplit, rows: Sequence[int]) -> Iterator[None]:
        """Let the model's forward on these rows begin above the layers, if that can be.

        Args:
            split: Where the rows are from.
            rows: Numbers of the rows, in the order of the batch.
        """
        file = self._file(split)
        if file is None:
            yield
            return
        states = file.read(rows, self._states)
        with self._giving(states):
            yield

    def _file(self, split: EncodedSplit) -> KeptStates | None:
        if self._usable is None:
            self._usable = self._works(split)
        if not self._usable:
            return None
        if id(split) not in self._files:
            self._files[id(split)] = self._open(split)
        return self._files[id(split)]

    def _open(self, split: EncodedSplit) -> KeptStates | None:
        device = next(self._model.parameters()).device
        (example,) = sorted_batches(split, 1)[-1:]
        states = self._states(split.inputs(example, device))
        try:
            return KeptStates(self._cache, self._key, split, states)
        except CacheError as error:
            logger.warning(
                "the states below layer %d are computed in every step: %s", self.depth, error
            )
            return None

    def _states(self, inputs: Batch) -> torch.Tensor:
        """Return what comes out of the layers, shape (rows, tokens, width)."""
        return self._hidden(self._outputs(inputs))

    def _outputs(self, inputs: Batch) -> Any:
        """Run the model as far as the layers go and return what the last of them returns."""
        found: list[Any] = []

        def stop(*_: object) -> None:
            raise _ReachedError

        hooks = [self._layers[self.depth - 1].register_forward_hook(lambda *a: found.append(a[2]))]
        # Not at the layer itself: some models go through the same one several times.
        if self.depth < len(self._layers):
            hooks.append(self._layers[self.depth].register_forward_pre_hook(stop))
        else:
            hooks.append(self._model.base_model.register_forward_hook(stop))
        try:
            # The hook ends the forward where the states are there: what is above is not wanted.
            with suppress(_ReachedError), torch.no_grad():
                self._model(**inputs)
        finally:
            for hook in hooks:
                hook.remove()
        return found[-1]

    def _hidden(self, output: Any) -> torch.Tensor:
        hidden: torch.Tensor = output[0] if self._n_parts else output
        return hidden

    def _shaped(self, hidden: torch.Tensor) -> Any:
        """Return hidden states as a layer does; other parts, such as attention, are left out."""
        return (hidden, *[None] * (self._n_parts - 1)) if self._n_parts else hidden

    @contextmanager
    def _giving(self, states: torch.Tensor) -> Iterator[None]:
        """Let the last of the layers return these states, and the others do nothing."""
        below = self._layers[: self.depth]
        try:
            for layer in below[:-1]:
                layer.forward = lambda *a, **k: self._shaped(a[0] if a else k["hidden_states"])
            below[-1].forward = lambda *_, **__: self._shaped(states)
            yield
        finally:
            for layer in below:
                layer.__dict__.pop("forward", None)

    def _works(self, split: EncodedSplit) -> bool:
        """Tell whether the model can begin above the layers; try it on rows of all lengths."""
        device = next(self._model.parameters()).device
        ordered = [i for batch in sorted_batches(split, 1) for i in batch]
        rows = [ordered[i * (len(ordered) - 1) // 3] for i in range(4)]
        inputs = split.inputs(rows, device)
        modes = {module: module.training for module in self._model.modules()}
        self._model.eval()
        try:
            reason = self._difference(split, rows, inputs)
        finally:
            for module, training in modes.items():
                module.training = training
        if reason:
            logger.warning(
                "%s models compute all layers in every step: %s",
                self._model.config.model_type,
                reason,
            )
        return reason is None

    def _logits(self, split: EncodedSplit, inputs: Batch) -> torch.Tensor:
        """Return what is given for rows, or for the tokens of rows that are no filling."""
        logits: torch.Tensor = self._model(**inputs).logits
        return logits[inputs["attention_mask"] > 0] if split.output == "next_tokens" else logits

    def _difference(self, split: EncodedSplit, rows: list[int], inputs: Batch) -> str | None:
        """Return what is different above states that were computed row by row, if anything."""
        output = self._outputs(inputs)
        self._n_parts = len(output) if isinstance(output, tuple) else 0
        hidden = self._hidden(output)
        if hidden.shape[:2] != inputs["input_ids"].shape:
            return "the states of the layers are not one a token"
        alone = torch.zeros_like(hidden)
        for place, row in enumerate(rows):
            single = self._states(split.inputs([row], hidden.device))[0]
            alone[place, : len(single)] = single
        with torch.no_grad():
            plain = self._logits(split, inputs)
            try:
                with self._giving(alone):
                    begun_above = self._logits(split, inputs)
            except (TypeError, ValueError, AttributeError, RuntimeError) as error:
                return f"a layer needs more than hidden states ({error})"
        difference = (plain - begun_above).abs().max()
        if bool(difference <= ROUNDING[_arithmetic(hidden)] * plain.abs().max()):
            return None
        return "a layer's output for a row follows from more than the hidden states below it"


def _arithmetic(states: torch.Tensor) -> torch.dtype:
    """Return the type that the layers compute in, whatever they give."""
    device = states.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states.dtype


class _ReachedError(Exception):
    """The forward has come to the first layer that is not wanted."""
