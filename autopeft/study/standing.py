"""How trials that reached the same rung compare: by what the rung tells of the end, and by cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autopeft.study.objective import QUALITY_POSITION, Objective, ReferencePoint
from autopeft.study.pareto import contributions, ranks
from autopeft.study.signals import RungEvidence, signal_ranks
from autopeft.trials.trial import TrialRecord

#: Standard deviation of shares that are spread evenly over 0-1.
_SPREAD = 1 / math.sqrt(12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What trials are compared by.

    Attributes:
        objectives: What is improved; quality first.
        reference: Scales of the costs, and the corner that contributions are measured from.
    """

    objectives: tuple[Objective, ...]
    reference: ReferencePoint

    def points(
        self, reached: Sequence[TrialRecord], rung: int, evidence: RungEvidence
    ) -> NDArray[np.float64]:
        """Return trials as points to compare, shape (n, objectives); smaller is better.

        Quality is replaced by the place of the trial's signal among all, evenly spread between
        the best and the reference: what is known of the signal is that its *order* resembles the
        end's, so its order alone is used. A loss needs no scale then, and accuracies that have
        hardly left chance still tell apart.
        """
        signals = signal_ranks([r.reports[rung] for r in reached], reached[0].quality_metric)
        shares = 1.0 - signals[evidence.signal] / (len(reached) + 1)
        rows = []
        for record, share in zip(reached, shares, strict=True):
            known = [o.minimised(o.cost(record.cost)) for o in self.objectives if o.known]
            costs = self.reference.scaled([0.0, *known])[1:]
            rows.append([QUALITY_POSITION * share, *costs])
        return np.array(rows)

    def places(self, points: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return how many points are before each point of shape (n, objectives).

        Those of a lower non-dominated rank are; within a rank, those without which the
        hypervolume of the rank would lose more.
        """
        rank = ranks(points)
        result = np.searchsorted(np.sort(rank), rank)
        for level in range(int(rank.max()) + 1):
            peers = np.flatnonzero(rank == level)
            lost = contributions(points[peers], self.reference.position)
            result[peers] += (lost[None, :] > lost[:, None]).sum(axis=1)
        return result


def doubt(evidence: RungEvidence) -> float:
    """Return by how much the end's place may differ from the signal's, as a share of the trials.

    The standard deviation that is left of evenly spread places once the signal is known.
    """
    return _SPREAD * math.sqrt(max(0.0, 1.0 - evidence.correlation**2))
