"""Masks over what an adapter trains: pruned while it trains, exactly as sparse as asked at the end.

Gradual magnitude pruning is Zhu and Gupta 2017 (arXiv 1710.01878), the smoothed sensitivity
|w dL/dw| that of AdaLoRA (arXiv 2303.10512, equations 8 and 9, without the uncertainty).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel

from autopeft.methods.density import MaskSettings, apportion, mask_settings, share_to_prune
from autopeft.methods.method import Attachment
from autopeft.methods.registry import get_method
from autopeft.space.configuration import Component

#: Weight of the past in the smoothed sensitivity, AdaLoRA's.
SMOOTHING = 0.85
#: How often at most a whole training prunes. Between two times the masks are kept up, which is
#: much cheaper than ranking.
_TIMES = 50
_STATE = "mask/"


class Mask:
    """The mask of one component.

    Entries are ranked within their tensor, each tensor keeping its share of the budget. One
    ranking over all of them would compare what has no common scale: B of a LoRA starts at zero and
    A does not, so all of B would go first, and with it the update and the gradients of A.

    What is pruned stays pruned. Its gradient is zero too, so that it does not count where the
    norm of the gradients is clipped.
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], settings: MaskSettings, total_steps: int
    ) -> None:
        """Take the parameters of a component, all of them still there.

        Args:
            parameters: What is pruned, by names that do not change from run to run.
            settings: How much of it, and when.
            total_steps: Optimiser steps of a full training.
        """
        self._parameters = dict(parameters)
        self._settings = settings
        self._total_steps = total_steps
        self._every = max(1, total_steps // _TIMES)
        sizes = [p.numel() for p in self._parameters.values()]
        left = apportion(settings.n_left(sum(sizes)), sizes)
        self._left = dict(zip(self._parameters, left, strict=True))
        self._pruned: dict[str, torch.Tensor] = {}
        self._scores: dict[str, torch.Tensor] = {}
        self._finished = False
        for name, parameter in self._parameters.items():
            pruned = torch.zeros(parameter.shape, dtype=torch.bool, device=parameter.device)
            self._pruned[name] = pruned
            if settings.criterion == "sensitivity":
                self._scores[name] = torch.zeros(parameter.shape, device=parameter.device)
            parameter.register_hook(partial(_without, pruned))

    @torch.no_grad()
    def after_optimizer_step(self, step: int) -> None:
        """Prune what the schedule asks for after step `step` (from 1), gradients still there."""
        if not self._finished:
            progress = step / self._total_steps
            self._update_scores()
            if progress >= self._settings.end or step % self._every == 0:
                self._prune(share_to_prune(progress, self._settings.start, self._settings.end))
        for name, parameter in self._parameters.items():
            # The optimiser's momentum goes on moving what is pruned.
            parameter.masked_fill_(self._pruned[name], 0.0)

    def state(self) -> dict[str, torch.Tensor]:
        """Return what a checkpoint needs, by name."""
        state = {f"pruned/{name}": pruned for name, pruned in self._pruned.items()}
        return state | {f"score/{name}": score for name, score in self._scores.items()}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state` returned; entries of other masks are left alone."""
        for name, pruned in self._pruned.items():
            pruned.copy_(state[f"pruned/{name}"])
        for name, score in self._scores.items():
            score.copy_(state[f"score/{name}"])
        self._finished = all(
            int(pruned.sum()) == pruned.numel() - self._left[name]
            for name, pruned in self._pruned.items()
        )

    def _update_scores(self) -> None:
        for name, score in self._scores.items():
            parameter = self._parameters[name]
            assert parameter.grad is not None
            score.mul_(SMOOTHING).add_((parameter * parameter.grad).abs(), alpha=1 - SMOOTHING)

    def _prune(self, share: float) -> None:
        """Prune all but what every tensor keeps at the end and `share` of the difference."""
        self._finished = True
        for name, pruned in self._pruned.items():
            left = self._left[name]
            keep = left + int((pruned.numel() - left) * share)
            self._finished &= keep == left
            values = self._scores.get(name, self._parameters[name].abs())
            ranked = values.masked_fill(pruned, -1.0).flatten()
            # A stable order: of two equal entries the earlier one is kept, on every device.
            order = torch.argsort(ranked, descending=True, stable=True)
            pruned.view(-1)[order[keep:]] = True


class MaskedAttachment(Attachment):
    """An attachment whose components, or some of them, are pruned while they train."""

    def __init__(self, attachment: Attachment, masks: Sequence[Mask]) -> None:
        self._attachment = attachment
        self._masks = tuple(masks)

    @property
    def model(self) -> nn.Module:
        return self._attachment.model

    def after_optimizer_step(self, step: int) -> None:
        self._attachment.after_optimizer_step(step)
        for mask in self._masks:
            mask.after_optimizer_step(step)

    def rate_multiple(self, parameter: nn.Parameter) -> float:
        return self._attachment.rate_multiple(parameter)

    def extra_state(self) -> dict[str, torch.Tensor]:
        state = self._attachment.extra_state()
        for mask in self._masks:
            state |= {f"{_STATE}{name}": tensor for name, tensor in mask.state().items()}
        return state

    def load_extra_state(self, state: dict[str, torch.Tensor]) -> None:
        ours = {n.removeprefix(_STATE): t for n, t in state.items() if n.startswith(_STATE)}
        self._attachment.load_extra_state(
            {n: t for n, t in state.items() if not n.startswith(_STATE)}
        )
        for mask in self._masks:
            mask.load_state(ours)

    def save(self, folder: Path) -> None:
        self._attachment.save(folder)

    def detach(self) -> PreTrainedModel:
        return self._attachment.detach()


def masked(
    attachment: Attachment,
    parts: Sequence[tuple[Component, Sequence[nn.Parameter]]],
    total_steps: int,
) -> Attachment:
    """Return an attachment that prunes the components that ask for it.

    Args:
        attachment: All components, attached.
        parts: Every component with the parameters that it trains.
        total_steps: Optimiser steps of a full training.

    Returns:
        The attachment itself if no component is pruned.
    """
    names = {id(parameter): name for name, parameter in attachment.trainable()}
    masks = []
    for component, parameters in parts:
        info = get_method(component.method).info
        settings = mask_settings(component, info)
        if settings is not None:
            named = {names[id(parameter)]: parameter for parameter in parameters}
            pruned = {n: p for n, p in named.items() if not any(u in n for u in info.unmasked)}
            masks.append(Mask(pruned, settings, total_steps))
    return MaskedAttachment(attachment, masks) if masks else attachment


def _without(pruned: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    return gradient.masked_fill(pruned, 0.0)
