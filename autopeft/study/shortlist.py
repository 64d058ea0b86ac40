"""All trials a little, the better ones more, and only a short list to the end."""

from collections.abc import Sequence
from dataclasses import dataclass

from autopeft.study.evidence import rung_evidence
from autopeft.study.pareto import front
from autopeft.study.rungs import full_trainings, kept_of
from autopeft.study.standing import Comparison
from autopeft.trials.trial import TrialRecord, TrialStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What becomes of the trials that pause.

    Attributes:
        go_on: Numbers of those that go on, the best first.
        drop: Numbers of those that end here.
    """

    go_on: tuple[int, ...] = ()
    drop: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortlist:
    """Trials pause at every rung, until all have reached it; then the best go on.

    At each rung a share goes on (`GOING_ON`), and at least `LEAST_KEPT`, in the order of
    non-dominated rank, then hypervolume contribution; from the last rung before the end also all
    that nothing dominates there. All is decided from the records, in one step for a rung, so it
    depends neither on the order in which workers report nor on interruptions.

    Attributes:
        comparison: What is compared.
    """

    comparison: Comparison

    def choose(self, records: Sequence[TrialRecord]) -> Choice:
        """Choose among the paused trials of the lowest rung, when no trial is to be started.

        Nobody is chosen while trials are still on the way to that rung.
        """
        paused = [r for r in records if r.status is TrialStatus.PAUSED]
        if not paused:
            return Choice()
        reached = min(len(r.reports) for r in paused)
        if any(r.result is None and len(r.reports) < reached for r in records):
            return Choice()
        rung = reached - 1
        field = [r for r in records if len(r.reports) > rung]
        signal = rung_evidence(records, rung, self.comparison).signal
        points = self.comparison.points(field, rung, signal)
        n_rungs = len(paused[0].spec.rungs)
        kept = kept_of(len(field), rung, n_rungs)
        if reached + 1 == n_rungs:
            kept = max(kept, len(front(points)))
        best = [field[i].number for i in self.comparison.best(points, kept)]
        here = {r.number for r in paused if len(r.reports) == reached}
        return Choice(
            go_on=tuple(number for number in best if number in here),
            drop=tuple(sorted(here.difference(best))),
        )


def work_for_list(records: Sequence[TrialRecord], shares: Sequence[float]) -> float:
    """Return the seconds of training that one more trial, and then the short list, will take.

    Of the trials that have not ended as large a part goes on as of all; a training lasts as long
    as those parts of one that were trained. 0 before anything was trained.

    Args:
        records: The trials so far, repeats left out.
        shares: Shares of a full training after which trials report.
    """
    trained = sum(r.fidelity for r in records)
    if not trained:
        return 0.0
    going = [r for r in records if not r.status.ended]
    n_trials = len(records) + 1
    whole = full_trainings("shortlist", n_trials, shares)[0]
    due = whole * (len(going) + 1) / n_trials - sum(r.fidelity for r in going)
    return due * sum(r.seconds for r in records) / trained
