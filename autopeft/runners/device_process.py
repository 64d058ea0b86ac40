"""The process of one device: it does what it is asked, and ends with the one that asks."""

import logging
import multiprocessing
import os
import signal
import threading
import warnings
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from autopeft.errors import AutopeftError
from autopeft.trials.data_parallel import DataParallel
from autopeft.trials.engine import Engine, Workload, pick_device
from autopeft.trials.evaluate import TrialExecution
from autopeft.trials.threads import ThreadShare

#: What a process says when it has loaded the model.
READY = "ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupFailed:
    """Why a process cannot work.

    Attributes:
        reason: What happened, in one sentence.
    """

    reason: str


def work(
    parallel: DataParallel, workload: Workload, meeting_place: str, connection: Connection
) -> None:
    """Load the model, then carry out one request after the other until there are no more.

    Args:
        parallel: This process among the others.
        workload: Model, task and data.
        meeting_place: File through which the processes find each other.
        connection: Where requests come from, names of methods of `TrialExecution`, and where
            the answers go.
    """
    _follow_the_parent()
    _be_quiet(parallel)
    try:
        engine = _engine(parallel, workload, meeting_place)
    except Exception as error:  # noqa: BLE001 - the process that waits for this one says it
        connection.send(SetupFailed(reason=_sentence(error)))
        return
    connection.send(READY)
    execution: Any = None
    while True:
        try:
            name, arguments = connection.recv()
        except EOFError:
            break
        if name == "begin":
            execution = TrialExecution(engine, *arguments)
            connection.send(None)
        else:
            connection.send(getattr(execution, name)())
    distributed.destroy_process_group()


def _engine(parallel: DataParallel, workload: Workload, meeting_place: str) -> Engine:
    ThreadShare(parallel.size).take()
    device = pick_device(parallel.rank)
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.set_device(device)
    distributed.init_process_group(
        "nccl" if on_gpu else "gloo",
        init_method=Path(meeting_place).as_uri(),
        rank=parallel.rank,
        world_size=parallel.size,
    )
    return Engine(workload, device, parallel)


def _follow_the_parent() -> None:
    """Leave Ctrl-C to the process that started this one, and end when that one has ended.

    This one may be waiting for the others, where it would not notice.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_it() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_it, daemon=True).start()


def _be_quiet(parallel: DataParallel) -> None:
    """Let the first process alone warn; how a trial failed is said by the one that records it."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("autopeft.trials.evaluate").setLevel(logging.CRITICAL)
    if parallel.rank > 0:
        logging.disable(logging.CRITICAL)
        warnings.simplefilter("ignore")


def _sentence(error: Exception) -> str:
    first = str(error).strip().split("\n")[0]
    return first if isinstance(error, AutopeftError) else f"{type(error).__name__}: {first}"
