"""Early stopping: asynchronous successive halving over several objectives."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from autopeft.errors import RequestError
from autopeft.study.objective import Objective, ReferencePoint
from autopeft.study.pareto import contributions, ranks
from autopeft.trials.ports import Decision
from autopeft.trials.trial import TrialRecord

#: Ratio of the training at one rung to the one before, and one over the share that goes on.
ETA = 3


def rung_shares(fidelity: str, n_rungs: int = 2, eta: int = ETA) -> tuple[float, ...]:
    """Return the shares of a full training after which trials report.

    Args:
        fidelity: `none` (train every trial to the end) or `asha`.
        n_rungs: Number of rungs, the full training included.
        eta: Ratio of the training at one rung to the one before.

    Raises:
        RequestError: If the name is unknown.
    """
    if fidelity == "none":
        return (1.0,)
    if fidelity == "asha":
        return tuple(float(eta ** (i + 1 - n_rungs)) for i in range(n_rungs))
    raise RequestError(f"Unknown fidelity '{fidelity}': use 'asha' or 'none'.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SuccessiveHalving:
    """Decides at a rung whether a trial goes on.

    A trial goes on if it is among the best share 1/eta of all trials that have reached the rung,
    by non-dominated rank, then by hypervolume contribution within a rank; a trial that nothing
    at the rung dominates always goes on, because the cheap end of the front would be lost
    otherwise. Decisions are asynchronous: nobody waits for a rung to fill (ASHA, Li et al. 2020,
    arXiv 1810.05934, in its stopping form). The trial is given its quality plus one standard
    error: early in a training many differ by less than the validation rows can tell, and what is
    stopped by chance is lost.

    Attributes:
        objectives: What is compared.
        reference: For the contributions.
        error: Quality to its standard error.
        eta: One over the share that goes on.
    """

    objectives: tuple[Objective, ...]
    reference: ReferencePoint
    error: Callable[[float], float] = lambda _: 0.0
    eta: int = ETA

    def decide(self, records: Sequence[TrialRecord], number: int, rung: int) -> Decision:
        """Decide on the trial `number`, whose report at `rung` is among the records."""
        reached = [r for r in records if len(r.reports) > rung and not r.status.failed]
        here = [record.number for record in reached].index(number)
        values = np.array(
            [self._at_rung(record, rung, lenient=i == here) for i, record in enumerate(reached)]
        )
        rank = ranks(values)
        if rank[here] == 0:
            return Decision.CONTINUE
        kept = math.ceil(len(reached) / self.eta)
        better = int((rank < rank[here]).sum())
        peers = np.flatnonzero(rank == rank[here])
        share = contributions(values[peers], self.reference.position)
        place = better + int((share > share[peers.tolist().index(here)]).sum())
        return Decision.CONTINUE if place < kept else Decision.STOP

    def _at_rung(self, record: TrialRecord, rung: int, *, lenient: bool) -> np.ndarray:
        quality = record.reports[rung].metrics[record.quality_metric]
        if lenient:
            quality += self.error(quality)
        values = [o.minimised(o.cost(record.cost) if o.known else quality) for o in self.objectives]
        return self.reference.scaled(values)
