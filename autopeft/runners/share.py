"""How many trials go on a GPU at once."""

import math

#: Share of a GPU's memory that trials may be predicted to take. The rest is CUDA's own context,
#: what the allocator loses between blocks, and the error of a prediction.
USABLE = 0.9


def trials_a_gpu(n_workers: int, n_gpus: int) -> int:
    """Return how many trials each GPU must hold for all workers to run at once, at least 1."""
    return max(1, math.ceil(n_workers / max(1, n_gpus)))


def gpu_share(n_workers: int, n_gpus: int, need: int | None, memory: int | None) -> float:
    """Return the share of a GPU that a trial takes, 0 without GPUs.

    A share is 1 / n, so that n trials fill a GPU, and never less than the memory that a trial
    needs: workers for whom there is no room wait.

    Args:
        n_workers: Trials that the user wants at a time.
        n_gpus: GPUs of all machines together.
        need: Most bytes that a trial is predicted to take, `None` if that is not known.
        memory: Bytes of the smallest GPU, `None` if that is not known.
    """
    if n_gpus == 0:
        return 0.0
    wanted = trials_a_gpu(n_workers, n_gpus)
    if need is None or memory is None:
        return 1 / wanted
    room = math.floor(USABLE * memory / need)
    return 1 / max(1, min(wanted, room))
