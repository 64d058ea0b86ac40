"""Trials one after the other in this process; nothing of Ray is imported."""

import logging
from collections.abc import Callable
from pathlib import Path

from autopeft.runners.carrying_out import carry_out
from autopeft.trials.engine import Engine, Workload, pick_device
from autopeft.trials.evaluate import TrialExecution
from autopeft.trials.ports import NoTrial, TrialSource
from autopeft.trials.threads import ThreadShare
from autopeft.trials.trial import TrialSpec

logger = logging.getLogger(__name__)


class LocalRunner:
    """Runs trials in this process, with all its cores."""

    def __init__(self, workload: Workload, trial_folder: Callable[[int], Path]) -> None:
        """Take the workload; the model is loaded when the first trial is there.

        Args:
            workload: Model, task and data.
            trial_folder: Folder of a trial by its number.
        """
        self._workload = workload
        self._trial_folder = trial_folder
        self._engine: Engine | None = None

    def run(self, source: TrialSource) -> None:
        """Run trials until the source has no more."""
        while isinstance(spec := source.next_trial(), TrialSpec):
            if self._engine is None:
                ThreadShare().take()
                self._engine = Engine(self._workload, pick_device())
            run_trial(self._engine, spec, self._trial_folder(spec.number), source)
        # One trial at a time: there is never another one to wait for.
        assert spec is NoTrial.FINISHED


def run_trial(engine: Engine, spec: TrialSpec, folder: Path, source: TrialSource) -> None:
    """Run one trial until it ends or pauses, telling the source of every rung."""
    carry_out(TrialExecution(engine, spec, folder), spec.number, source)
