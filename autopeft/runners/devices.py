"""Trials one after the other, each spread over several devices of this machine; without Ray."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from autopeft.runners.carrying_out import carry_out
from autopeft.runners.device_group import DeviceGroup, ProcessLostError, has_failed
from autopeft.trials.engine import Workload
from autopeft.trials.ports import NoTrial, TrialSource
from autopeft.trials.trial import RungReport, TrialResult, TrialSpec, TrialStatus

logger = logging.getLogger(__name__)


class DevicesRunner:
    """Runs trials on several devices, all of them on each trial.

    This process trains nothing. It hands out trials, records what the first device reports and
    writes everything but checkpoints and adapters, which the first device writes.
    """

    def __init__(
        self, workload: Workload, trial_folder: Callable[[int], Path], n_devices: int
    ) -> None:
        """Take the workload; the model is loaded when the first trial is there.

        Args:
            workload: Model, task and data.
            trial_folder: Folder of a trial by its number.
            n_devices: How many devices; without GPUs as many processes on the CPU.
        """
        self._workload = workload
        self._trial_folder = trial_folder
        self._n_devices = n_devices

    def run(self, source: TrialSource) -> None:
        """Run trials until the source has no more."""
        with DeviceGroup(self._workload, self._n_devices) as group:
            while isinstance(spec := source.next_trial(), TrialSpec):
                execution = SharedExecution(group, spec, self._trial_folder(spec.number))
                carry_out(execution, spec.number, source)
        # One trial at a time: there is never another one to wait for.
        assert spec is NoTrial.FINISHED


class SharedExecution:
    """A trial on all devices of a group, as `TrialExecution` is one on a single device."""

    def __init__(self, group: DeviceGroup, spec: TrialSpec, folder: Path) -> None:
        """Take the trial, which begins when it is first asked to advance.

        Args:
            group: The processes.
            spec: The trial.
            folder: Folder of the trial, made when it is needed.
        """
        self._group = group
        self._spec = spec
        self._folder = folder
        self._begun = False

    def advance(self) -> RungReport | TrialResult:
        """Train to the next rung; return its report, or the result of a trial that failed."""
        return self._ask("advance")

    def finish(self) -> TrialResult:
        """Write the trained adapter and return the result of a complete trial."""
        result = self._ask("finish")
        assert isinstance(result, TrialResult)
        return result

    def close(self) -> None:
        """Detach the configuration and drop the checkpoint."""
        if self._group.answers:
            self._group.ask("close")

    def leave(self) -> None:
        """Detach the configuration but keep the checkpoint; devices that still train are ended."""
        if self._group.answers:
            self._group.ask("leave")
        else:
            self._group.end()

    def _ask(self, name: str) -> RungReport | TrialResult:
        try:
            if not self._begun:
                self._group.ask("begin", self._spec, self._folder)
                self._begun = True
            answers = self._group.ask(name)
        except ProcessLostError as error:
            return self._failed(TrialResult(status=TrialStatus.LOST, reason=str(error)))
        failures = {rank: answer for rank, answer in answers.items() if has_failed(answer)}
        if failures:
            rank, result = next(iter(failures.items()))
            # What happens to all of them alike, such as a loss that is no number, is of none.
            alike = len(failures) == self._group.size
            reason = result.reason if alike else f"device {rank}: {result.reason}"
            return self._failed(replace(result, reason=reason))
        first: RungReport | TrialResult = answers[0]
        if isinstance(first, TrialResult):
            memory = _most(answer.measured_memory_bytes for answer in answers.values())
            first = replace(first, measured_memory_bytes=memory)
        return first

    def _failed(self, result: TrialResult) -> TrialResult:
        logger.warning(
            "trial %d failed (%s): %s", self._spec.number, result.status.value, result.reason
        )
        return result


def _most(sizes: Iterable[int | None]) -> int | None:
    return max((size for size in sizes if size is not None), default=None)
