"""`DeviceGroup`: the processes of several devices, asked together and ended together."""

import multiprocessing
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from autopeft.errors import StudyError
from autopeft.runners.device_process import READY, SetupFailed, work
from autopeft.trials.data_parallel import DataParallel
from autopeft.trials.engine import Workload
from autopeft.trials.trial import TrialResult

#: Seconds that the others have to answer when one has failed. They may wait for its gradients,
#: which will not come; a process that ended is noticed at once.
GRACE = 5.0


class ProcessLostError(Exception):
    """A process ended without an answer."""


class DeviceGroup:
    """One process a device.

    They are started when they are first asked, and again after they had to be ended. None of them
    outlives the `with` block, whatever ends it.

    Attributes:
        size: Number of devices.
    """

    def __init__(self, workload: Workload, size: int) -> None:
        """Take the workload; nothing is started yet.

        Args:
            workload: Model, task and data.
            size: Number of devices.
        """
        self.size = size
        self._workload = workload
        self._processes: list[multiprocessing.process.BaseProcess] = []
        self._connections: list[Connection] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._asked = False

    def __enter__(self) -> Self:
        """Return the group."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all processes."""
        self.end()

    @property
    def answers(self) -> bool:
        """Whether the processes run and wait to be asked."""
        return bool(self._processes) and not self._asked

    def ask(self, name: str, *arguments: Any) -> dict[int, Any]:
        """Ask all processes for the same and return what they answer, in the order of arrival.

        Where one answers that it failed and others do not answer, because they wait for it, all
        are ended; the answers are those that came.

        Args:
            name: What to do: `begin`, or a method of `TrialExecution`.
            arguments: What it takes.

        Raises:
            StudyError: If a process cannot load the model.
            ProcessLostError: If a process ended; so have then all others.
        """
        if not self._processes:
            self._start()
        self._asked = True
        for rank, connection in enumerate(self._connections):
            try:
                connection.send((name, arguments))
            except OSError as error:
                raise self._lost(rank) from error
        answers = self._collect()
        if len(answers) < self.size:
            self.end()
        self._asked = False
        return answers

    def end(self) -> None:
        """End all processes at once; safe to call twice."""
        waiting = self.answers
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            if waiting:  # they see that nothing will be asked any more
                process.join(GRACE)
            process.kill()
        for process in self._processes:
            process.join()
        self._processes, self._connections, self._asked = [], [], False
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _start(self) -> None:
        # A fresh interpreter each: CUDA does not survive a fork.
        context = multiprocessing.get_context("spawn")
        self._folder = tempfile.TemporaryDirectory(prefix="autopeft-devices-")
        meeting_place = str(Path(self._folder.name) / "meeting")
        self._asked = True
        for rank in range(self.size):
            ours, theirs = context.Pipe()
            parallel = DataParallel(rank=rank, size=self.size)
            arguments = (parallel, self._workload, meeting_place, theirs)
            process = context.Process(target=work, args=arguments, daemon=True)
            with _interrupts_held_back():
                process.start()
            self._processes.append(process)
            self._connections.append(ours)
            theirs.close()  # or the end of the process would not be seen
        try:
            answers = self._collect()
        except ProcessLostError as error:
            raise StudyError(f"The model could not be loaded: {error}.") from error
        self._asked = False
        failed = {r: a for r, a in answers.items() if a != READY}
        if failed:
            rank, answer = next(iter(failed.items()))
            self.end()
            raise StudyError(f"Device {rank} could not be set up: {answer.reason}")

    def _collect(self) -> dict[int, Any]:
        """Return the answers by rank, all of them unless one tells of a failure."""
        answers: dict[int, Any] = {}
        patience = None
        while len(answers) < self.size:
            waited = {c: r for r, c in enumerate(self._connections) if r not in answers}
            ready = wait(list(waited), patience)
            if not ready:
                break
            for connection in ready:
                assert isinstance(connection, Connection)
                rank = waited[connection]
                answers[rank] = self._received(rank, connection)
                if has_failed(answers[rank]):
                    patience = GRACE
        return answers

    def _received(self, rank: int, connection: Connection) -> Any:
        try:
            return connection.recv()
        except (EOFError, OSError) as error:
            raise self._lost(rank) from error

    def _lost(self, rank: int) -> ProcessLostError:
        """End all processes, and return what became of the one that no longer answers."""
        process = self._processes[rank]
        process.join(GRACE)
        how = _how(process.exitcode)
        self.end()
        return ProcessLostError(f"the process of device {rank} {how}")


def has_failed(answer: Any) -> bool:
    """Tell whether an answer is that of a process that could not do what it was asked."""
    if isinstance(answer, TrialResult):
        return answer.status.failed
    return isinstance(answer, SetupFailed)


def _how(code: int | None) -> str:
    if code is None:
        return "does not answer"
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Start processes that no Ctrl-C reaches, not even while they import; it comes to this one.

    A new process inherits what its parent has blocked.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # it unblocks the signal where it is started
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
