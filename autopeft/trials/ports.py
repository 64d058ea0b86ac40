"""What the search and the runners know of each other: neither imports the other."""

import time
from enum import Enum, auto
from typing import Protocol

from autopeft.trials.trial import RungReport, TrialResult, TrialSpec


class Decision(Enum):
    """What becomes of a trial after a rung."""

    CONTINUE = auto()
    STOP = auto()
    #: The trial may go on later, from its checkpoint; it has been recorded as paused.
    PAUSE = auto()


class NoTrial(Enum):
    """Why there is no trial to run."""

    WAIT = auto()
    FINISHED = auto()


class TrialSource(Protocol):
    """Where a runner gets trials, and whom it tells what happened. Not thread-safe."""

    def next_trial(self) -> TrialSpec | NoTrial:
        """Return a trial to run, recorded before it is returned."""

    def report(self, number: int, report: RungReport) -> Decision:
        """Record a rung's measurements, then decide whether the trial goes on."""

    def finish(self, number: int, result: TrialResult) -> None:
        """Record how a trial ended."""


class Runner(Protocol):
    """Runs trials until their source has no more."""

    def run(self, source: TrialSource) -> None:
        """Run trials; returns when the source is finished, raises `KeyboardInterrupt` on Ctrl-C."""


class Clock(Protocol):
    """Tells the time, so that tests and simulations can set it."""

    def now(self) -> float:
        """Return seconds since some fixed moment."""


class SystemClock:
    """The clock of this machine."""

    def now(self) -> float:
        """Return seconds of a clock that never goes back."""
        return time.monotonic()
