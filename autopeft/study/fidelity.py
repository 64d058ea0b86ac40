"""Early stopping: which trials go on from a rung, and which are stopped there."""

from collections.abc import Sequence
from dataclasses import dataclass

from autopeft.study.evidence import rung_evidence
from autopeft.study.pareto import front
from autopeft.study.rungs import bracket, kept_at_least
from autopeft.study.standing import Comparison
from autopeft.trials.ports import Decision
from autopeft.trials.trial import TrialRecord

#: How much of the doubt about a trial's place counts in its favour.
LENIENCY = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class SuccessiveHalving:
    """Decides at a rung whether a trial goes on.

    A trial goes on if it is among the best share 1/eta of all trials that have reached the rung,
    by non-dominated rank, then by hypervolume contribution within a rank; a trial that nothing
    at the rung dominates always goes on, because the cheap end of the front would be lost
    otherwise. Decisions are asynchronous: nobody waits for a rung to fill (ASHA, Li et al. 2020,
    arXiv 1810.05934, in its stopping form).

    Trials are compared by the signal that ranks them like the end (`rung_evidence`), and none is
    stopped where no signal does. The trial is given the benefit of a part of the doubt: what is
    stopped by chance is lost.

    Attributes:
        comparison: What is compared.
        brackets: Whether some trials are not stopped at the first rung, or at any (Hyperband).
    """

    comparison: Comparison
    brackets: bool = False

    def decide(self, records: Sequence[TrialRecord], number: int, rung: int) -> Decision:
        """Decide on the trial `number`, whose report at `rung` is among the records."""
        if self.brackets and rung < bracket(number):
            return Decision.CONTINUE
        evidence = rung_evidence(records, rung, self.comparison)
        if not evidence.trusted:
            return Decision.CONTINUE
        reached = [r for r in records if len(r.reports) > rung and not r.status.failed]
        here = [record.number for record in reached].index(number)
        points = self.comparison.points(reached, rung, evidence.signal)
        points[here, 0] -= LENIENCY * evidence.doubt
        if here in front(points):
            return Decision.CONTINUE
        best = self.comparison.best(points, kept_at_least(len(reached)))
        return Decision.CONTINUE if here in best else Decision.STOP
