"""`carry_out`: one trial from rung to rung, wherever it is executed."""

from typing import Protocol

from autopeft.trials.ports import Decision, TrialSource
from autopeft.trials.trial import RungReport, TrialResult, TrialStatus


class Execution(Protocol):
    """A trial on a worker, or on several that train it together: see `TrialExecution`."""

    def advance(self) -> RungReport | TrialResult:
        """Train to the next rung; return its report, or the result of a trial that failed."""

    def finish(self) -> TrialResult:
        """Write the trained adapter and return the result of a complete trial."""

    def close(self) -> None:
        """Detach the configuration and drop the checkpoint."""

    def leave(self) -> None:
        """Detach the configuration but keep the checkpoint, for a search that will go on."""


def carry_out(execution: Execution, number: int, source: TrialSource) -> None:
    """Run one trial until it ends or pauses, telling the source of every rung.

    Args:
        execution: The trial.
        number: Its number.
        source: What decides after every rung, and records.
    """
    try:
        while True:
            outcome = execution.advance()
            if isinstance(outcome, TrialResult):
                break
            decision = source.report(number, outcome)
            if outcome.last:
                outcome = execution.finish()
                break
            if decision is Decision.PAUSE:
                execution.leave()
                return
            if decision is Decision.STOP:
                execution.close()
                outcome = TrialResult(status=TrialStatus.STOPPED, seconds=outcome.seconds)
                break
    except BaseException:  # Ctrl-C, or the source gave up: a later search can go on from here
        execution.leave()
        raise
    source.finish(number, outcome)
