"""bf16 autocast on the `meta` device, which torch has for real devices alone."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch.overrides import TorchFunctionMode

Device = Literal["cpu", "cuda"]

#: What is computed in the shorter type, by its name in torch (ATen/autocast_mode.h).
_SHORTER = frozenset(
    {
        *("linear", "matmul", "__matmul__", "__rmatmul__", "einsum", "bmm", "mm", "mv"),
        *("addmm", "addmv", "addr", "addbmm", "baddbmm", "chain_matmul", "multi_dot", "vecdot"),
        *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d"),
        *("conv_transpose3d", "conv_tbc", "prelu", "scaled_dot_product_attention"),
    }
)
_LOSSES = {
    *("cross_entropy", "nll_loss", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"),
    *("kl_div", "binary_cross_entropy_with_logits", "cosine_embedding_loss"),
}
#: What is computed in float32.
_FLOAT32: dict[Device, frozenset[str]] = {
    "cpu": frozenset(
        {*_LOSSES, "prod", "cdist", "trace", "quantile", "inv", "qr", "solve"}
        | {f"{inverse}{kind}" for inverse in ("", "i") for kind in ("fft", "fft2", "fftn")}
        | {f"{inverse}r{kind}" for inverse in ("", "i") for kind in ("fft", "fft2", "fftn")}
    ),
    "cuda": frozenset(
        {
            *_LOSSES,
            *("layer_norm", "rms_norm", "group_norm", "softmax", "log_softmax", "softplus"),
            *("exp", "expm1", "log", "log10", "log2", "log1p", "reciprocal", "rsqrt", "pow"),
            *("__pow__", "__rpow__", "acos", "asin", "cosh", "sinh", "tan", "erfinv"),
            *("cosine_similarity", "cdist", "dist", "pdist", "renorm", "logsumexp"),
            *("prod", "cumprod", "cumsum", "sum", "norm", "vector_norm", "matrix_norm"),
        }
    ),
}


class MetaAutocast(TorchFunctionMode):
    """Casts what autocast to bf16 casts, where it casts it, so that autograd keeps the same.

    As in torch, a parameter that trains is cast once, and a frozen one wherever it is used.
    """

    def __init__(self, device: Device) -> None:
        """Take the device whose rules are followed: they differ, in norms and softmax above all."""
        super().__init__()
        self._float32 = _FLOAT32[device]
        self._casts: dict[int, torch.Tensor] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _SHORTER:
            dtype = torch.bfloat16
        elif name in self._float32:
            dtype = torch.float32
        else:
            return func(*args, **kwargs)
        return func(*self._cast(args, dtype), **self._cast(kwargs, dtype))

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)  # type: ignore[no-untyped-call]  # torch's
        self._casts.clear()

    def _cast(self, value: Any, dtype: torch.dtype) -> Any:
        if isinstance(value, torch.Tensor):
            return self._cast_tensor(value, dtype)
        if isinstance(value, tuple | list):
            return type(value)(self._cast(item, dtype) for item in value)
        if isinstance(value, dict):
            return {name: self._cast(item, dtype) for name, item in value.items()}
        return value

    def _cast_tensor(self, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        if not tensor.is_floating_point() or tensor.dtype in {dtype, torch.float64}:
            return tensor
        if not (tensor.requires_grad and tensor.is_leaf and dtype == torch.bfloat16):
            return tensor.to(dtype)
        if id(tensor) not in self._casts:
            self._casts[id(tensor)] = tensor.to(dtype)
        return self._casts[id(tensor)]
