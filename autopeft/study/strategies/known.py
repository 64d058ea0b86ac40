"""Known objectives of many points: exactly, or at a glance where that takes too long."""

from collections.abc import Callable, Sequence

import numpy as np

from autopeft.space.hyperparameter import Assignment
from autopeft.study.objective import Objective
from autopeft.study.strategies.candidate_domain import CandidateDomain
from autopeft.trials.trial import TrialRecord

#: Natural values of the known objectives of a point, in the order of the objectives.
KnownValues = Callable[[Assignment], list[float]]

#: Trials whose costs a guess follows.
NEAREST = 5


class KnownCosts:
    """The known objectives of points.

    Parameters are counted in no time; memory takes a pass over the model. To rank the hundreds of
    points of a pool it is guessed from the trials that are nearest; what is chosen in the end is
    chosen by its exact value.

    Attributes:
        slow: Whether any of them takes long.
    """

    def __init__(
        self,
        domain: CandidateDomain,
        objectives: Sequence[Objective],
        values: KnownValues,
    ) -> None:
        """Take what computes them.

        Args:
            domain: What may be tried, and where points are near each other.
            objectives: What is improved.
            values: Returns the exact values of a point.
        """
        self._domain = domain
        self._known = [o for o in objectives if o.known]
        self.exact = values
        self.slow = any(o.slow for o in self._known)

    def guessed(
        self, points: Sequence[Assignment], records: Sequence[TrialRecord]
    ) -> list[list[float]]:
        """Return the values of points, those that take long as mean of the nearest trials'.

        Args:
            points: The points.
            records: Trials, whose costs are known.
        """
        if not self.slow:
            return [self.exact(point) for point in points]
        places = np.stack([self._domain.row(record.assignment) for record in records])
        costs = np.array([[o.cost(record.cost) for o in self._known] for record in records])
        found = []
        for point in points:
            distances = np.linalg.norm(places - self._domain.row(point), axis=1)
            near = distances.argsort(kind="stable")[:NEAREST]
            weights = 1.0 / (distances[near] + 1e-3)
            guess = (weights @ costs[near] / weights.sum()).tolist()
            count = float(self._domain.space.adapter_params(point) or 0)
            pairs = zip(self._known, guess, strict=True)
            found.append([value if o.slow else count for o, value in pairs])
        return found
