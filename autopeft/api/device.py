"""What the machine's devices allow: workers, memory and precision."""

import logging
from typing import TYPE_CHECKING

from autopeft.api.request import SearchRequest
from autopeft.cost.memory_limit import n_bytes, shown_bytes
from autopeft.runners.share import USABLE, trials_a_gpu

if TYPE_CHECKING:
    from autopeft.cost.options import StepOptions

logger = logging.getLogger(__name__)


def n_workers(request: SearchRequest) -> int:
    """Return how many trials run at a time: as asked, or one a GPU, at least 1."""
    import torch

    return request.workers or max(1, torch.cuda.device_count())


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
        return StepOptions()
    return StepOptions(dtype="bf16-mixed")


def check_precision(request: SearchRequest) -> None:
    """Say what is wrong with the precision that is asked for, before anything is written.

    On a cluster that is left to the workers, which may have devices that this machine has not.

    Raises:
        RequestError: If fp16 is asked for without a GPU.
    """
    if request.ray_address is not None or request.precision in {"auto", "float32"}:
        return
    from autopeft.trials.engine import pick_device
    from autopeft.trials.precision import bf16_slowdown, choose_dtype

    device = pick_device()
    choose_dtype(request.precision, device)
    if device.type == "cpu" and (slowdown := bf16_slowdown()) > 1:
        logger.warning(
            "bf16 is %.0f times slower than float32 on this CPU: --precision auto takes the faster",
            slowdown,
        )
