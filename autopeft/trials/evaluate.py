"""One trial from its spec to its result: the only place that catches every exception."""

import contextlib
import logging
import shutil
import time
import traceback
from pathlib import Path

import torch

from autopeft.errors import AutopeftError
from autopeft.trials.engine import Engine
from autopeft.trials.measuring import DivergedError
from autopeft.trials.training import TrialRun
from autopeft.trials.trial import RungReport, TrialResult, TrialSpec, TrialStatus

logger = logging.getLogger(__name__)


class TrialExecution:
    """Runs one trial rung by rung; whatever goes wrong in it becomes a failed result.

    A checkpoint is written after every rung but the last, and a trial that finds one goes on
    from it: so a trial survives the loss of its worker, or of the whole search. It first reports
    the checkpoint's rung again, because nobody may have heard of it.
    """

    def __init__(self, engine: Engine, spec: TrialSpec, folder: Path) -> None:
        """Attach the trial's configuration.

        Args:
            engine: The worker's engine.
            spec: The trial.
            folder: Folder of the trial, made when it is needed.
        """
        self._engine = engine
        self._spec = spec
        self._folder = folder
        self._checkpoint = folder / "checkpoint"
        self._run: TrialRun | None = None
        self._seconds = 0.0
        if engine.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(engine.device)

    def advance(self) -> RungReport | TrialResult:
        """Train to the next rung; return its report, or the result of a trial that failed."""
        began = time.perf_counter()
        try:
            if self._run is None:
                self._run = self._start()
                if self._run.reported:
                    self._seconds = self._run.reported.seconds
                    return self._run.reported
            keep = self._folder if self._engine.parallel.writes else None
            report = self._run.advance(keep)
            self._seconds = report.seconds
            if not report.last and self._engine.parallel.writes:
                self._run.save_checkpoint(self._checkpoint)
            return report
        except Exception as error:  # noqa: BLE001 - one bad trial never ends a search
            self._seconds += time.perf_counter() - began
            result = self._failure(error)
            if self._run is None:  # it broke while attaching: who knows what is left of the base
                self._engine.reload()
            self.close()
            return result

    def finish(self) -> TrialResult:
        """Write the trained adapter and return the result of a complete trial."""
        assert self._run is not None
        try:
            if self._engine.parallel.writes:
                self._run.save_adapter(self._folder / "adapter")
        except Exception as error:  # noqa: BLE001 - a full disk, say: the search goes on
            result = self._failure(error)
        else:
            result = TrialResult(
                status=TrialStatus.COMPLETE,
                seconds=self._seconds,
                measured_memory_bytes=self._measured_memory(),
            )
        self.close()
        return result

    def save(self, folder: Path) -> None:
        """Write a checkpoint of the trial, at the rung where it is."""
        if self._run is not None:
            self._run.save_checkpoint(folder)

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint."""
        if self._run is None:
            self._run = TrialRun(self._engine, self._spec)
        self._run.load_checkpoint(folder)

    def close(self) -> None:
        """Detach the configuration and drop the checkpoint; safe to call twice."""
        if self._run is not None:
            self._run.close()
            self._run = None
        if not self._engine.parallel.writes:
            return
        shutil.rmtree(self._checkpoint, ignore_errors=True)
        if not (self._folder / "adapter").is_dir():  # what a mean would be joined with is not there
            shutil.rmtree(self._folder / "kept", ignore_errors=True)
        with contextlib.suppress(OSError):  # a trial that left nothing leaves no folder
            self._folder.rmdir()

    def leave(self) -> None:
        """Detach the configuration but keep the checkpoint, for a search that will go on."""
        if self._run is not None:
            self._run.close()
            self._run = None

    def _start(self) -> TrialRun:
        run = TrialRun(self._engine, self._spec)
        if (self._checkpoint / "state.pt").is_file():
            run.load_checkpoint(self._checkpoint)
        return run

    def _failure(self, error: Exception) -> TrialResult:
        status = _status_of(error)
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        logger.warning("trial %d failed (%s): %s", self._spec.number, status.value, reason)
        return TrialResult(
            status=status,
            reason=reason,
            traceback="".join(traceback.format_exception(error)),
            seconds=self._seconds,
            measured_memory_bytes=self._measured_memory(),
        )

    def _measured_memory(self) -> int | None:
        if self._engine.device.type != "cuda":
            return None
        return int(torch.cuda.max_memory_allocated(self._engine.device))


def _status_of(error: Exception) -> TrialStatus:
    if isinstance(error, DivergedError):
        return TrialStatus.NAN
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return TrialStatus.OOM_GPU
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):
        return TrialStatus.OOM_HOST
    if isinstance(error, AutopeftError):
        return TrialStatus.INVALID
    return TrialStatus.CRASH
