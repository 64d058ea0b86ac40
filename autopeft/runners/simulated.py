"""Trials that are looked up instead of trained: a search over a table of recorded trainings."""

import heapq
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

from autopeft.errors import StudyError
from autopeft.trials.ports import Decision, NoTrial, TrialSource
from autopeft.trials.trial import RungReport, TrialResult, TrialSpec, TrialStatus

#: What trainings reported, by the digest of their configuration and their seed.
Curves = Mapping[tuple[str, int], Sequence[RungReport]]

#: How far a recorded share of a training may be from a rung: a report comes after a whole step.
TOLERANCE = 0.02


class SimulatedClock:
    """A clock that a `SimulatedRunner` moves on."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        """Return the simulated seconds so far."""
        return self.seconds


class SimulatedRunner:
    """Replays recorded trainings, in the order in which workers would report.

    Attributes:
        clock: The simulated time.
    """

    def __init__(self, curves: Curves, workers: int = 1) -> None:
        """Take the recorded trainings.

        Args:
            curves: What each training reported; all rungs that the study asks for must be there.
            workers: Trials at a time.
        """
        self._curves = curves
        self._workers = workers
        #: How many reports a paused trial has made.
        self._made: dict[int, int] = {}
        self.clock = SimulatedClock()

    def run(self, source: TrialSource) -> None:
        """Run trials until the source has no more.

        Raises:
            StudyError: If a trial asks for a training or a rung that was not recorded.
        """
        order = itertools.count()
        # When the next report comes, a number that breaks ties, the trial, its reports to come.
        events: list[tuple[float, int, TrialSpec, list[RungReport]]] = []

        def fill() -> None:
            while len(events) < self._workers:
                spec = source.next_trial()
                if isinstance(spec, NoTrial):
                    return
                reports = recorded(self._curves, spec)
                made = self._made.get(spec.number, 0)
                trained = reports[made - 1].seconds if made else 0.0
                reports = reports[made:]
                first = self.clock.seconds + reports[0].seconds - trained
                heapq.heappush(events, (first, next(order), spec, reports))

        fill()
        while events:
            self.clock.seconds, _, spec, (report, *rest) = heapq.heappop(events)
            decision = source.report(spec.number, report)
            if rest and decision is Decision.CONTINUE:
                due = self.clock.seconds + rest[0].seconds - report.seconds
                heapq.heappush(events, (due, next(order), spec, rest))
                continue
            if decision is Decision.PAUSE:
                self._made[spec.number] = report.rung + 1
                fill()
                continue
            status = TrialStatus.COMPLETE if report.last else TrialStatus.STOPPED
            source.finish(spec.number, TrialResult(status=status, seconds=report.seconds))
            fill()


def recorded(curves: Curves, spec: TrialSpec) -> list[RungReport]:
    """Return what the training that a trial asks for reported at its rungs.

    Raises:
        StudyError: If the training or one of the rungs was not recorded.
    """
    key = (spec.configuration.digest, spec.seed)
    if key not in curves:
        raise StudyError(
            f"Trial {spec.number} asks for a training that was not recorded (seed {spec.seed}, "
            f"{spec.configuration.method})."
        )
    found = []
    for rung, share in enumerate(spec.rungs):
        near = min(curves[key], key=lambda report: abs(report.fidelity - share))
        if abs(near.fidelity - share) > TOLERANCE:
            raise StudyError(f"No report at {share:.3g} of a training was recorded.")
        found.append(replace(near, rung=rung, last=rung == len(spec.rungs) - 1))
    return found
