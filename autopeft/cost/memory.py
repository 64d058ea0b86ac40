"""Memory and operations of a training step, counted on `meta` without weights or a GPU."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from autopeft.cost.forward import MetaForward, forward
from autopeft.cost.live import LiveBytes, dense_parts, storage_key


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """Bytes that a training step holds at the moment when it holds most, by part.

    The moment is one of the forward and backward pass, or that of the optimiser's step. The
    inputs of the pass are among `activations`.

    Attributes:
        weights: Base, head and adapter, and whatever else the modules hold.
        gradients: Of what trains, as far as they are there at that moment.
        optimizer: States of what trains, and density masks.
        activations: What the forward leaves for the backward pass, as far as it is still there.
        loss: The logits and the loss.
        transient: What comes and goes: outputs of the running operator, gradients of activations,
            the optimiser's temporary copies.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    loss: int
    transient: int

    @property
    def total(self) -> int:
        """Sum of the parts."""
        return (
            self.weights
            + self.gradients
            + self.optimizer
            + self.activations
            + self.loss
            + self.transient
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCost:
    """What a training step costs.

    Attributes:
        memory: Bytes at its peak.
        flops: Floating-point operations of forward and backward.
    """

    memory: MemoryEstimate
    flops: int


def step_cost(
    model: nn.Module, batch_size: int, seq_length: int, *, mask_bytes: int = 0
) -> StepCost:
    """Return what a training step of a model costs with whatever is attached to it.

    Args:
        model: A transformers model with an adapter, in training mode; on `meta` nothing is
            computed, on another device the step is made.
        batch_size: Rows of the batch.
        seq_length: Tokens of every row; a model of images has its own size.
        mask_bytes: What density masks hold.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    n_trained = sum(p.numel() * p.element_size() for p in trained)
    held = held_tensors(model)
    live = LiveBytes(held)
    _run(live, model, trained, (batch_size, seq_length))
    weights = sum(tensor.untyped_storage().nbytes() for tensor in held)
    fixed = {"weights": weights, "optimizer": 2 * n_trained + mask_bytes}
    in_pass = MemoryEstimate(**fixed, **live.peak)
    after = MemoryEstimate(**fixed, **live.now)
    # The foreach kernels of torch's AdamW hold the square roots of all second moments.
    in_step = replace(after, transient=after.transient + n_trained)
    return StepCost(memory=max(in_pass, in_step, key=lambda m: m.total), flops=live.flops)


def _run(
    live: LiveBytes, model: nn.Module, trained: list[nn.Parameter], shape: tuple[int, int]
) -> None:
    """Run forward and backward under the eyes of `live`, for a batch of (rows, tokens)."""
    hooks = [
        parameter.register_post_accumulate_grad_hook(
            lambda parameter: live.mark(parameter.grad, "gradients")
        )
        for parameter in trained
    ]
    with MetaForward(), live:
        loss, logits = forward(model, *shape)
        live.mark(loss, "loss")
        live.mark(logits, "loss")
        del logits  # as a training loop lets go of them
        live.mark_rest("activations")
        if loss.requires_grad:  # not where the head alone trains and is left out
            loss.backward()
    for hook in hooks:
        hook.remove()
    model.zero_grad()


def held_tensors(model: nn.Module) -> list[torch.Tensor]:
    """Return what modules hold, every storage once: parameters, buffers, peft's indices and caches.

    What an attachment keeps aside to put the base back as it was is not among it.
    """
    found = (
        part
        for module in model.modules()
        for value in vars(module).values()
        for tensor in _tensors_in(value)
        for part in dense_parts(tensor)
    )
    return list({storage_key(tensor): tensor for tensor in found}.values())


def _tensors_in(value: Any, depth: int = 0) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif value and isinstance(value, dict | list) and depth < 2:
        for item in value.values() if isinstance(value, dict) else value:
            if isinstance(item, torch.Tensor | dict | list):
                yield from _tensors_in(item, depth + 1)
