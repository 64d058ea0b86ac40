"""Training memory of a configuration, counted on the `meta` device without weights or a GPU."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from transformers import PreTrainedModel

from autopeft.cost.forward import forward
from autopeft.methods.composite import on_meta
from autopeft.methods.method import AttachContext
from autopeft.models.spec import ModelSpec
from autopeft.space.configuration import Configuration

#: float32 weights, gradients and the two moments of Adam.
BYTES_PER_WEIGHT = 4
BYTES_PER_GRADIENT = 4
BYTES_PER_ADAM_STATE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """Bytes that a float32 training step holds at its peak, by part.

    Transient buffers (the inputs and outputs of the kernel that runs) are not in it.

    Attributes:
        weights: Base, head and adapter.
        gradients: Of what trains.
        optimizer: AdamW's two moments of what trains, and density masks.
        activations: Tensors that autograd keeps for the backward pass, each storage once.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """Sum of the parts."""
        return self.weights + self.gradients + self.optimizer + self.activations


def estimate_memory(
    configuration: Configuration,
    spec: ModelSpec,
    meta_model: Callable[[], PreTrainedModel],
    *,
    n_adapter_params: int,
    mask_bytes: int = 0,
    seq_length: int,
) -> MemoryEstimate:
    """Return the training memory of a configuration.

    Args:
        configuration: What is trained; the examples of one forward are used.
        spec: Structure of the model.
        meta_model: Builds a fresh model with its task head on the `meta` device.
        n_adapter_params: Adapter parameters that train: the tensors are dense, pruned or not.
        mask_bytes: What density masks hold.
        seq_length: Tokens of every row of the batch; a model of images has its own size.
    """
    context = AttachContext(spec=spec, total_steps=100, seed=0)
    base = meta_model().requires_grad_(requires_grad=False)
    model = on_meta(base, configuration.components, context)
    activations = saved_bytes(model.train(), configuration.training.rows_at_once, seq_length)
    trainable = n_adapter_params + spec.head_params
    held = spec.base_params + spec.head_params
    if configuration.method != "full":  # the adapter's weights come on top of the base
        held += n_adapter_params
    return MemoryEstimate(
        weights=held * BYTES_PER_WEIGHT,
        gradients=trainable * BYTES_PER_GRADIENT,
        optimizer=trainable * BYTES_PER_ADAM_STATE + mask_bytes,
        activations=activations,
    )


def memory_of(model: nn.Module, batch_size: int, seq_length: int) -> MemoryEstimate:
    """Return the training memory of a model with whatever is attached to it.

    Args:
        model: A transformers model with an adapter of peft, on `meta`.
        batch_size: Rows of the batch.
        seq_length: Tokens of every row; a model of images has its own size.
    """
    # peft keeps a copy of the head that does not train; it is small, and left out as in ours.
    held = sum(p.numel() for n, p in model.named_parameters() if ".original_module." not in n)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return MemoryEstimate(
        weights=held * BYTES_PER_WEIGHT,
        gradients=trainable * BYTES_PER_GRADIENT,
        optimizer=trainable * BYTES_PER_ADAM_STATE,
        activations=saved_bytes(model.train(), batch_size, seq_length),
    )


def saved_bytes(model: nn.Module, batch_size: int, seq_length: int) -> int:
    """Return the bytes that autograd keeps for the backward pass of one forward.

    Every storage counts once; the model's own parameters do not count.

    Args:
        model: A transformers model, plain or with an adapter, on any device.
        batch_size: Rows of the batch.
        seq_length: Tokens of every row; a model of images has its own size.
    """
    parameters = {_storage_key(p) for p in model.parameters()}
    storages: dict[int, int] = {}
    kept: list[torch.Tensor] = []  # keeps storages alive, so that no key is used twice

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        parts = [tensor]
        if tensor.layout == torch.sparse_coo:
            parts = [tensor._indices(), tensor._values()]  # noqa: SLF001 - torch's accessors for
            # tensors that were not coalesced
        for part in parts:
            kept.append(part)
            if _storage_key(part) not in parameters:
                storages[_storage_key(part)] = part.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        forward(model, batch_size, seq_length)
    return sum(storages.values())


def _storage_key(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - the storage's identity; meta has no address
