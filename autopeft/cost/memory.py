"""Memory and operations of a training step, counted on `meta` without weights or a GPU."""

import gc
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from autopeft.cost.autocast import MetaAutocast
from autopeft.cost.forward import MetaForward, forward, unwrapped
from autopeft.cost.live import LiveBytes, dense_parts, storage_key
from autopeft.cost.options import (
    StepOptions,
    quantised,
    quantised_bytes,
    state_bytes,
    step_copies,
)
from autopeft.errors import RequestError
from autopeft.models.spec import ModelSpec


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
        loss: The logits and the loss; where text is written, also what lies between them and its
            gradients.
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


def prepared(base: PreTrainedModel, options: StepOptions) -> PreTrainedModel:
    """Return a frozen base model in the type and mode of a step, for something to be attached.

    Raises:
        RequestError: If the model has no gradient checkpointing.
    """
    dtype = options.base_dtype()
    base.to(dtype=dtype).requires_grad_(requires_grad=False)  # type: ignore[call-arg]  # transformers' decorator
    if options.gradient_checkpointing:
        if not base.supports_gradient_checkpointing:
            raise RequestError(
                f"transformers has no gradient checkpointing for {base.config.model_type} models: "
                "leave it out."
            )
        for module in base.modules():
            config: Any = getattr(module, "config", None)  # each part may have its own
            if getattr(config, "use_cache", False):
                config.use_cache = False  # or transformers says that it does this
        base.activation_checkpointing_enable(
            {
                "use_reentrant": False,
                "preserve_rng_state": False,  # kept on the CPU, whatever the device
                # Within the backward pass torch has left the mode that is on outside.
                "context_fn": lambda: (nullcontext(), as_on_device(options)),
            }
        )
    return base


@contextmanager
def as_on_device(options: StepOptions) -> Iterator[None]:
    """Let what is computed on `meta` be what a device computes."""
    with MetaForward(), autocast(options):
        yield


def autocast(options: StepOptions) -> AbstractContextManager[Any]:
    """Return the context of a forward on `meta`: bf16 autocast as on a GPU, or nothing."""
    return MetaAutocast("cuda") if options.dtype == "bf16-mixed" else nullcontext()


def step_cost(
    model: nn.Module,
    batch_size: int,
    seq_length: int,
    options: StepOptions | None = None,
    *,
    accumulates: bool = False,
    cast: AbstractContextManager[Any] | None = None,
) -> StepCost:
    """Return what a training step of a model costs with whatever is attached to it.

    Args:
        model: A transformers model with an adapter, in training mode; on `meta` nothing is
            computed, on another device the step is made.
        batch_size: Rows of the batch.
        seq_length: Tokens of every row; a model of images has its own size.
        options: How the step is made; the model is as `prepared` made it.
        accumulates: Whether gradients of an earlier part of the batch are there from the start.
        cast: Context of the forward; `None` takes what `options` ask for.
    """
    options = options or StepOptions()
    trained = [p for p in model.parameters() if p.requires_grad]
    n_trained = sum(p.numel() * p.element_size() for p in trained)
    held = held_tensors(model)
    live = LiveBytes(held)
    with _no_collection(), MetaForward(), live:
        for parameter in trained if accumulates else ():
            parameter.grad = torch.zeros_like(parameter)
            live.mark(parameter.grad, "gradients")
        _run(live, model, (batch_size, seq_length), cast or autocast(options))
    model.zero_grad()
    weights = sum(tensor.untyped_storage().nbytes() for tensor in held)
    fixed = {"weights": weights, "optimizer": state_bytes(options.optimizer, trained)}
    in_pass = MemoryEstimate(**fixed, **live.peak)
    after = MemoryEstimate(**fixed, **live.now)
    copies = step_copies(options.optimizer) * n_trained
    # All gradients are there, also those of a head that the pass leaves out.
    in_step = replace(after, gradients=n_trained, transient=after.transient + copies)
    return StepCost(memory=max(in_pass, in_step, key=lambda m: m.total), flops=live.flops)


def _run(
    live: LiveBytes,
    model: nn.Module,
    shape: tuple[int, int],
    cast: AbstractContextManager[Any],
) -> None:
    """Run forward and backward and say what is what, for a batch of (rows, tokens)."""
    hooks = [
        parameter.register_post_accumulate_grad_hook(
            lambda parameter: live.mark(parameter.grad, "gradients")
        )
        for parameter in model.parameters()
        if parameter.requires_grad
    ]
    words = unwrapped(model).get_output_embeddings()
    if words is not None:
        hooks += _hooks_of_loss(live, words)
    with cast:
        loss, logits = forward(model, *shape)
    live.begin("transient")
    live.mark(loss, "loss")
    live.mark(logits, "loss")
    del logits  # as a training loop lets go of them
    live.mark_rest("activations")
    if loss.requires_grad:  # not where the head alone trains and is left out
        live.begin("transient" if words is None else "loss")
        loss.backward()
    live.begin("transient")
    for hook in hooks:
        hook.remove()


def _hooks_of_loss(live: LiveBytes, words: nn.Module) -> list[RemovableHandle]:
    """Let what is made between the last states and the loss count as that, in both directions.

    With a number for each word these are many numbers, and most often the peak.

    Args:
        live: What counts.
        words: Makes the numbers for the words.
    """

    def made(_words: nn.Module, _states: Any, logits: torch.Tensor) -> None:
        if logits.requires_grad:
            logits.register_hook(lambda _gradient: live.begin("transient"))

    return [
        words.register_forward_pre_hook(lambda _words, _states: live.begin("loss")),
        words.register_forward_hook(made),
    ]


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python from looking for cycles: it takes a quarter of a pass and ends some of them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def with_base_bits(step: StepCost, spec: ModelSpec, options: StepOptions) -> StepCost:
    """Return a step on a base whose linear weights are quantised, by formula.

    The largest of them in the type of the computation is added to what comes and goes, because a
    product takes it so. Which of the two was the peak is not looked at again: a bound.

    Args:
        step: On the base as `options.dtype` has it.
        spec: The model.
        options: How the step is made.
    """
    if options.base_bits is None:
        return step
    modules = quantised(spec)
    sizes = [module.in_features * module.out_features for module in modules]
    plain = sum(sizes) * options.base_dtype().itemsize
    weights = step.memory.weights - plain + quantised_bytes(modules, options)
    transient = step.memory.transient
    if options.base_bits < 16:
        transient += max(sizes) * options.computes_in().itemsize
    return replace(step, memory=replace(step.memory, weights=weights, transient=transient))


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
