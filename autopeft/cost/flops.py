"""Floating-point operations of torch's operators: two for a multiplication and an addition."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import (
    flop_registry,
    sdpa_backward_flop_count,
    sdpa_flop_count,
    shape_wrapper,
)


def flops_of(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """Return the operations of a call: of matrix products, convolutions and attention.

    Element-wise work and products of sparse matrices count nothing.

    Args:
        func: The operator, an overload of torch.
        args: Its arguments.
        kwargs: Its keyword arguments.
        out: What it returned.
    """
    formula = _FORMULAS.get(func._overloadpacket)  # noqa: SLF001 - torch's name for it
    return 0 if formula is None else int(formula(*args, **kwargs, out_val=out))


def _attention(query: Any, key: Any, value: Any, *_shapes: Any, **_more: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def _attention_backward(
    gradient: Any, query: Any, key: Any, value: Any, *_shapes: Any, **_more: Any
) -> int:
    return int(sdpa_backward_flop_count(gradient, query, key, value))


_aten = torch.ops.aten
#: Formulas of the shapes of attention's kernel for CPUs, which torch leaves out.
ATTENTION = {
    _aten._scaled_dot_product_flash_attention_for_cpu: _attention,  # noqa: SLF001 - torch's name
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,  # noqa: SLF001
}
_FORMULAS = {**flop_registry, **{op: shape_wrapper(f) for op, f in ATTENTION.items()}}
