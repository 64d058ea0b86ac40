"""What the machine's devices allow: workers, memory and precision."""

import logging
import os
from typing import TYPE_CHECKING

from autopeft.api.request import SearchRequest
from autopeft.cost.memory_limit import n_bytes, shown_bytes
from autopeft.errors import RequestError
from autopeft.methods.registry import get_method
from autopeft.runners.share import USABLE, trials_a_gpu

if TYPE_CHECKING:
    from autopeft.cost.options import StepOptions
    from autopeft.space.configuration import Configuration

logger = logging.getLogger(__name__)


def n_workers(request: SearchRequest) -> int:
    """Return how many trials run at a time: as asked, or one a GPU, at least 1.

    Where each is spread over several devices, that is one.
    """
    import torch

    if request.devices > 1:
        return 1
    return request.workers or max(1, torch.cuda.device_count())


def all_devices() -> int:
    """Return how many GPUs this process sees, 1 without any."""
    import torch

    return max(1, torch.cuda.device_count())


def check_devices(devices: int, configuration: "Configuration") -> None:
    """Say why a training cannot be spread over so many devices, before anything is written.

    Raises:
        RequestError: If this machine has fewer, or a method of the configuration learns from
            what rows have in common that go through the model together.
    """
    if devices == 1:
        return
    import torch

    n_gpus, n_cores = torch.cuda.device_count(), os.cpu_count() or 1
    if n_gpus and devices > n_gpus:
        raise RequestError(f"--devices {devices} are too many: this machine has {n_gpus} GPUs.")
    if not n_gpus and devices > n_cores:
        raise RequestError(
            f"--devices {devices} are too many: this machine has no GPU, and {n_cores} cores for "
            "processes."
        )
    for component in configuration.components:
        if reason := get_method(component.method).keeps_together(component):
            raise RequestError(f"{reason}: train it with --devices 1.")


def gpu_memory() -> int | None:
    """Return the bytes of this machine's smallest GPU, `None` without one."""
    import torch

    devices = range(torch.cuda.device_count())
    return min((torch.cuda.get_device_properties(i).total_memory for i in devices), default=None)


def memory_limit(request: SearchRequest) -> tuple[str, int] | None:
    """Return the most predicted memory of a trial: its name for the user, and bytes.

    Raises:
        RequestError: If the limit that is asked for cannot be read.
    """
    if request.max_memory is not None:
        return f"--max-memory {request.max_memory}", n_bytes(request.max_memory)
    import torch

    own = default_memory(n_workers(request), torch.cuda.device_count(), gpu_memory())
    if own is None:
        return None
    return f"the {shown_bytes(own)} that a trial has on this GPU", own


def default_memory(n_workers: int, n_gpus: int, memory: int | None) -> int | None:
    """Return the most bytes of a trial where the user sets no limit.

    Args:
        n_workers: Trials at a time.
        n_gpus: GPUs of this machine.
        memory: Bytes of the smallest of them, `None` without one: there is no limit on a CPU.
    """
    if memory is None:
        return None
    return int(USABLE * memory / trials_a_gpu(n_workers, n_gpus))


def step_options(request: SearchRequest) -> "StepOptions":
    """Return how trials make their steps, as far as memory goes: as on this machine's device."""
    from autopeft.cost.options import StepOptions
    from autopeft.trials.engine import pick_device
    from autopeft.trials.precision import choose_dtype

    device = pick_device()
    if device.type != "cuda" or choose_dtype(request.precision, device).itemsize == 4:
        # A CPU that computes in bf16 is predicted as in float32, so that costs are the same on all
        # CPUs: its activations are smaller, but it keeps bf16 copies of weights that are frozen.
        return StepOptions(devices=request.devices)
    return StepOptions(dtype="bf16-mixed", devices=request.devices)


def check_precision(request: SearchRequest) -> None:
    """Say what is wrong with the precision that is asked for, before anything is written.

    On a cluster that is left to the workers, which may have devices that this machine has not.

    Raises:
        RequestError: If fp16 is asked for without a GPU.
    """
    if request.ray_address is not None or request.precision in {"auto", "float32"}:
        return
    from autopeft.trials.engine import pick_device
    from autopeft.trials.precision import choose_dtype, has_bf16_units

    device = pick_device()
    choose_dtype(request.precision, device)
    if device.type == "cpu" and not has_bf16_units():
        logger.warning(
            "This CPU has no units for bf16 and takes far longer than in float32: "
            "--precision auto takes the faster"
        )
