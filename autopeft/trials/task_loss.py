"""The loss of the task, without what a method adds to it for the optimiser."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def task_loss(base: nn.Module) -> Iterator[list[float]]:
    """Collect the losses that a base model gives, before anything around it adds to them.

    AdaLoRA adds how far its factors are from orthogonal, KaSA two penalties of its own: trials of
    different methods can be compared by the task's loss alone.

    Args:
        base: The base model, with or without something attached.
    """
    forward, losses = base.forward, list[float]()

    @functools.wraps(forward)
    def watched(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        loss = getattr(output, "loss", None)
        if isinstance(loss, torch.Tensor):
            losses.append(float(loss.detach()))
        return output

    base.forward = watched
    try:
        yield losses
    finally:
        del base.forward
