"""The arithmetic of a worker: float32, or a shorter type under autocast where that is faster."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from autopeft.errors import RequestError

MAX_GRAD_NORM = 1.0
_DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def has_bf16_units() -> bool:
    """Tell whether this CPU computes in bf16 itself, as the CPU says.

    Those that do take about half the time of float32; the others convert every number and take up
    to 60 times as long. To time a product would not do: beside other work it comes out otherwise,
    and with it the numbers of a search.
    """
    found = torch.cpu.get_capabilities()
    return any(has for name, has in found.items() if name.rpartition("_")[-1] == "bf16")


def choose_dtype(
    precision: str, device: torch.device, has_units: Callable[[], bool] = has_bf16_units
) -> torch.dtype:
    """Return what to compute in.

    Args:
        precision: `auto`, `float32`, `bf16` or `fp16`.
        device: Where trials run.
        has_units: Tells whether this CPU computes in bf16 itself; asked for `auto` alone.

    Raises:
        RequestError: If fp16 is asked for on a CPU.
    """
    if precision == "fp16" and device.type != "cuda":
        raise RequestError(
            "--precision fp16 needs a GPU, and there is none here: use float32, bf16 or auto."
        )
    if precision != "auto":
        return _DTYPES[precision]
    if device.type == "cuda":
        # Older GPUs emulate bf16, which is slower than float32.
        pays = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        pays = has_units()
    return torch.bfloat16 if pays else torch.float32


class Arithmetic:
    """Forward, backward and optimiser step of one trial in a dtype.

    Weights and their gradients stay in float32. The gradients of fp16 would vanish below its
    smallest numbers, so its loss is scaled; a step whose gradients overflow is left out.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        """Take what to compute in, and where."""
        self._dtype = dtype
        self._device = device
        self._scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
        # A process without rows of the first batch has no loss that would set the scale up.
        self._scaler.scale(torch.zeros((), device=device))

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context of a forward."""
        if self._dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self._device.type, dtype=self._dtype)

    def autocast_to_evaluate(self) -> AbstractContextManager[Any]:
        """Return the context of an evaluation: a CPU evaluates in float32.

        So the quality that is recorded is, to the last row, that of the exported adapter.
        """
        return nullcontext() if self._device.type == "cpu" else self.autocast()

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of a loss to those that are there."""
        self._scaler.scale(loss).backward()

    def step(
        self, optimizer: torch.optim.Optimizer, parameters: Iterable[torch.nn.Parameter]
    ) -> None:
        """Clip the gradients to a norm of 1 and take an optimiser step."""
        self._scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(parameters, MAX_GRAD_NORM)
        self._scaler.step(optimizer)
        self._scaler.update()

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must hold; nothing where the loss is not scaled."""
        return self._scaler.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        if state:
            self._scaler.load_state_dict(state)
