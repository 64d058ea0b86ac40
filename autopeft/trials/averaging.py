"""`AveragedWeights`: what a trial is judged by at a rung, while its learning rate is still high.

Weights swing around where they are going as long as the learning rate has not come down. The mean
over the latest steps is near what the decay would lead to (Izmailov et al. 2018, arXiv 1803.05407;
Hägele et al. 2024, arXiv 2405.18392, for schedules that are cut short).
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

#: Most steps that a mean is taken over; they are spread evenly over the last half.
MAX_STEPS = 16
#: With fewer steps than this in the last half there is no mean: at the very beginning weights go
#: one way, and their mean is behind them.
MIN_STEPS = 8


class AveragedWeights:
    """The mean of what trains over the last half of the steps before a rung.

    Very early, with fewer than `MIN_STEPS` steps, it is the weights themselves. It is kept in the
    host's memory: what a GPU must hold stays what was predicted.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], done: int, until: int) -> None:
        """Take what is averaged.

        Args:
            parameters: What trains.
            done: Optimiser steps done so far.
            until: Optimiser steps at the rung, from the start of the training.
        """
        self._parameters = tuple(parameters)
        self._first = max(done, until // 2) + 1
        self._until = until
        n_steps = until - self._first + 1
        self._every = math.ceil(n_steps / MAX_STEPS)
        self._enough = n_steps >= MIN_STEPS
        self._means: list[torch.Tensor] = []
        self._count = 0

    @torch.no_grad()
    def add(self, step: int) -> None:
        """Take the weights after step `step` (from 1) into the mean, if it is one to take."""
        if not self._enough or step < self._first or (self._until - step) % self._every:
            return
        self._count += 1
        if not self._means:
            self._means = [p.detach().to("cpu", torch.float32, copy=True) for p in self._parameters]
            return
        for mean, parameter in zip(self._means, self._parameters, strict=True):
            mean.lerp_(parameter.detach().to("cpu", torch.float32), 1 / self._count)

    @contextmanager
    @torch.no_grad()
    def in_place(self) -> Iterator[None]:
        """Let the parameters have their means, and then again what they had.

        What is exactly zero stays so: a mask has pruned it.
        """
        if not self._means:
            yield
            return
        own = [p.detach().to("cpu", copy=True) for p in self._parameters]
        for mean, parameter in zip(self._means, self._parameters, strict=True):
            parameter.copy_(mean.to(parameter.device).masked_fill(parameter == 0, 0.0))
        try:
            yield
        finally:
            for value, parameter in zip(own, self._parameters, strict=True):
                parameter.copy_(value)
