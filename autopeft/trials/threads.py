"""How many of a machine's cores torch computes with."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def asked_threads() -> int | None:
    """Return the most threads that `OMP_NUM_THREADS` allows, `None` if it names no number."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) or None if first.isdecimal() else None


@dataclass(frozen=True)
class ThreadShare:
    """A worker's share of its machine's cores: more threads than cores are far slower.

    Attributes:
        n_workers: Workers that share the cores.
        most: The most threads that the user allows. It is read where the share is made, because
            Ray sets `OMP_NUM_THREADS` for its workers where the user did not.
    """

    n_workers: int = 1
    most: int | None = field(default_factory=asked_threads)

    def take(self) -> None:
        """Let torch compute with so many threads in this process."""
        share = max(1, available_cores() // self.n_workers)
        torch.set_num_threads(min(share, self.most or share))


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread for a while.

    With matrices of a hundred rows threads mostly wait for each other, and on a busy machine they
    wait for long.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
