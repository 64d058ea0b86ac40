"""Known objectives of many points: exactly, or at a glance where that takes too long."""

from collections.abc import Callable, Sequence

import numpy as np

from autopeft.cost.candidates import CandidateSpace
from autopeft.space.hyperparameter import Assignment
from autopeft.study.objective import Objective
from autopeft.study.strategies.features import Features
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
        space: CandidateSpace,
        objectives: Sequence[Objective],
        values: KnownValues,
        features: Features,
    ) -> None:
        """Take what computes them.

        Args:
            space: What may be tried.
            objectives: What is improved.
            values: Returns the exact values of a point.
            features: Where points are near each other.
        """
        self._space = space
        self._known = [o for o in objectives if o.known]
        self._features = features
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
        places = np.stack([self._features.row(record.assignment) for record in records])
        costs = np.array([[o.cost(record.cost) for o in self._known] for record in records])
        found = []
        for point in points:
            distances = np.linalg.norm(places - self._features.row(point), axis=1)
            near = distances.argsort(kind="stable")[:NEAREST]
            weights = 1.0 / (distances[near] + 1e-3)
            guess = (weights @ costs[near] / weights.sum()).tolist()
            count = float(self._space.adapter_params(point) or 0)
            pairs = zip(self._known, guess, strict=True)
            found.append([value if o.slow else count for o, value in pairs])
        return found
