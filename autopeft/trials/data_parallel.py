"""`DataParallel`: the processes that train a trial together, each on its share of every batch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import distributed, nn

T = TypeVar("T")

#: Gradients go from device to device in pieces of about so many bytes: one by one the small ones
#: of adapters take longer, and all at once they are held twice.
BUCKET_BYTES = 2**25


@dataclass(frozen=True, slots=True, kw_only=True)
class DataParallel:
    """This process among those that train a trial together; by default it is alone.

    Each has the whole model and takes its share of a batch's rows. As its losses are weighted by
    their share of the batch's labels, the gradients of all are summed, not averaged: a step is
    that of one process up to rounding, however unevenly labels fall on shares. Every method is
    called by all processes alike, in the same order.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def writes(self) -> bool:
        """Whether this is the process that writes checkpoints and adapters."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Return what this process takes of a sequence; shares differ by at most one item.

        Rows of a batch are sorted by length: dealt out in turn, all shares are about as long.
        """
        return items[self.rank :: self.size]

    def gathered(self, value: T) -> list[T]:
        """Return the values of all processes, by rank."""
        if self.size == 1:
            return [value]
        values = [value] * self.size
        distributed.all_gather_object(values, value)
        return values

    @torch.no_grad()
    def agree(self, model: nn.Module) -> None:
        """Give the model the numbers that it has in the first process, frozen ones too.

        Seeds are the same everywhere, but devices may round a start that is computed, such as
        singular vectors, each in its own way.
        """
        if self.size == 1:
            return
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        for _, tensor in sorted(tensors.items()):
            first = tensor.detach().clone(memory_format=torch.contiguous_format)
            distributed.broadcast(first, 0)
            if not torch.equal(first, tensor):  # weights mapped from a file stay there
                tensor.copy_(first)

    def draw_apart(self, seed: int, step: int) -> None:
        """Let dropout fall differently here than in the other processes, from this step on.

        The first process goes on with the trial's own random state. That of the others follows
        from seed and step, so that a checkpoint need not hold it.
        """
        if self.rank > 0:
            entropy = np.random.SeedSequence([seed, step, self.rank])
            torch.manual_seed(int(entropy.generate_state(1, np.uint64)[0]))

    @torch.no_grad()
    def summed(self, parameters: Mapping[str, nn.Parameter], loss: float) -> float:
        """Sum the gradients of all processes at the parameters, and return the sum of the losses.

        A process without rows has no gradients, and a parameter that got none anywhere keeps
        none: the optimiser passes over it.
        """
        if self.size == 1:
            return loss
        trained = [parameter for _, parameter in sorted(parameters.items())]
        there = [parameter.grad is not None for parameter in trained]
        counts = torch.tensor([loss, *there], dtype=torch.float64, device=trained[0].device)
        distributed.all_reduce(counts)
        total, *anywhere = counts.tolist()
        gradients = [_gradient(p) for p, n in zip(trained, anywhere, strict=True) if n]
        for bucket in _buckets(gradients):
            joined = torch.cat([gradient.flatten() for gradient in bucket])
            distributed.all_reduce(joined)
            parts = joined.split([gradient.numel() for gradient in bucket])
            for gradient, part in zip(bucket, parts, strict=True):
                gradient.copy_(part.view_as(gradient))
        return float(total)


#: A process by itself.
ALONE = DataParallel()


def _gradient(parameter: nn.Parameter) -> torch.Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def _buckets(tensors: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Yield tensors of one type in their order, together until they are `BUCKET_BYTES`."""
    bucket: list[torch.Tensor] = []
    for tensor in tensors:
        held = sum(t.nbytes for t in bucket)
        if bucket and (held + tensor.nbytes > BUCKET_BYTES or bucket[0].dtype != tensor.dtype):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
