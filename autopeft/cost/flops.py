"""Floating-point operations of a training step, counted on the `meta` device."""

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from autopeft.cost.forward import forward


def count_flops(model: nn.Module, batch_size: int, seq_length: int) -> int:
    """Return the floating-point operations of one forward and backward.

    Those of matrix products, convolutions and attention, two for a multiplication and an addition,
    as torch counts them; element-wise work, the optimiser and products of sparse matrices are not
    among them. Nothing is counted backwards below the lowest parameter that trains.

    Args:
        model: A transformers model, plain or with an adapter, on any device.
        batch_size: Rows of the batch.
        seq_length: Tokens of every row; a model of images has its own size.
    """
    with FlopCounterMode(display=False) as counter:
        forward(model, batch_size, seq_length).backward()
    return int(counter.get_total_flops())
