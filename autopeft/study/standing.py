"""How trials that reached the same rung compare: by what the rung tells of the end, and by cost."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autopeft.study.objective import QUALITY_POSITION, Objective, ReferencePoint
from autopeft.study.pareto import contributions, ranks
from autopeft.study.signals import signal_ranks
from autopeft.trials.trial import TrialRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What trials are compared by.

    Attributes:
        objectives: What is improved; quality first.
        reference: Scales of the costs, and the corner that contributions are measured from.
    """

    objectives: tuple[Objective, ...]
    reference: ReferencePoint

    def points(self, reached: Sequence[TrialRecord], rung: int, signal: str) -> NDArray[np.float64]:
        """Return trials as points to compare, shape (n, objectives); smaller is better.

        Quality is replaced by the place of the trial's signal among all, evenly spread between
        the best and the reference: what is known of the signal is that its *order* resembles the
        end's, so its order alone is used. A loss needs no scale then, and accuracies that have
        hardly left chance still tell apart.
        """
        curves = [r.reports[: rung + 1] for r in reached]
        signals = signal_ranks(curves, reached[0].quality_metric)
        shares = 1.0 - signals[signal] / (len(reached) + 1)
        rows = []
        for record, share in zip(reached, shares, strict=True):
            known = [o.minimised(o.cost(record.cost)) for o in self.objectives if o.known]
            costs = self.reference.scaled([0.0, *known])[1:]
            rows.append([QUALITY_POSITION * share, *costs])
        return np.array(rows)

    def best(self, points: NDArray[np.float64], number: int) -> list[int]:
        """Return the best of points of shape (n, objectives), best first.

        Those of a lower non-dominated rank are better; within a rank, those without which the
        hypervolume of the rank would lose more.
        """
        rank = ranks(points)
        chosen: list[int] = []
        for level in range(int(rank.max()) + 1):
            if len(chosen) >= number:
                break
            peers = np.flatnonzero(rank == level)
            lost = contributions(points[peers], self.reference.position)
            chosen += peers[np.argsort(-lost, kind="stable")].tolist()
        return chosen[:number]
