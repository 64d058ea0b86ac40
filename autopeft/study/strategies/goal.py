"""What an Optuna study wants, as numbers of which more is better."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from autopeft.study.pareto import ranks
from autopeft.study.strategies.activity import Params
from autopeft.study.strategies.columns import Columns
from autopeft.study.strategies.gain import (
    FINALISTS,
    Gain,
    Matrix,
    fitted,
    reference_of,
    standardized,
    without_outliers,
)
from autopeft.study.strategies.local_search import Domain, Ranking, best_points
from autopeft.study.strategy import Surrogate

#: Value of a known objective at a point.
KnownObjective = Callable[[Params], float]
#: What must not be above 0 at a point.
Constraints = Callable[[Params], Sequence[float]]


class Goal:
    """The objectives of a study, some of them known, and the constraints of its points."""

    def __init__(
        self,
        domain: Domain,
        directions: Sequence[StudyDirection],
        known: Mapping[int, KnownObjective],
        constraints: Constraints | None,
        surrogate: Surrogate,
    ) -> None:
        """Take the parts.

        Args:
            domain: The points.
            directions: Which way each objective is better.
            known: The objectives that are known without a trial, by their number.
            constraints: What must not be above 0 at a point.
            surrogate: Kind of the model of what is measured.
        """
        self._domain = domain
        self._signs = np.array([1.0 if d == StudyDirection.MAXIMIZE else -1.0 for d in directions])
        self._known = dict(known)
        self._measured = [i for i in range(len(self._signs)) if i not in self._known]
        self._constraints = constraints
        self._surrogate = surrogate

    def violation(self, point: Params) -> float:
        """Return by how much a point breaks the constraints, 0 if it keeps them."""
        if self._constraints is None:
            return 0.0
        return sum(max(float(value), 0.0) for value in self._constraints(point))

    def best(
        self,
        points: Sequence[Params],
        trials: Sequence[FrozenTrial],
        pending: Sequence[Params],
        tried: set[str],
        rng: np.random.Generator,
    ) -> dict[str, Any] | None:
        """Return the point with the largest expected gain, `None` if there is none left.

        Args:
            points: Those of trials with values.
            trials: The trials, in the same order.
            pending: Points that are being tried.
            tried: Keys of points that are not wanted again.
            rng: Where points are drawn from.
        """
        values = self._signs * np.array([trial.values for trial in trials], dtype=float)
        gain, scale = self._gain(points, values, pending, int(rng.integers(2**31)))

        def ranked(candidates: Sequence[dict[str, Any]]) -> Ranking:
            found = self._untried(candidates, tried)
            if not found:
                return []
            rows, known = self._rows(found), scale(self._known_of(found))
            glance = gain.glance(rows, known)
            if glance is not None:
                best = (-glance).argsort(kind="stable")[:FINALISTS]
                rows, known, found = rows[best], known[best], [found[i] for i in best]
            gains = gain.of(rows, known)
            return sorted(zip(gains.tolist(), found, strict=True), key=lambda item: -item[0])

        order = ranks(-np.nan_to_num(values, nan=-np.inf)).argsort(kind="stable")
        best = best_points(self._domain, ranked, [points[i] for i in order], rng)
        if not best:
            return None
        if isinstance(self._domain, Columns) and not self._known and self._constraints is None:
            # Along numbers the gain has a gradient; known functions have none.
            climbed = [_climbed(self._domain, gain, point) for _, point in best]
            best = sorted([*best, *ranked(climbed)], key=lambda item: -item[0])
        return best[0][1]

    def _gain(
        self, points: Sequence[Params], values: Matrix, pending: Sequence[Params], seed: int
    ) -> tuple[Gain, Callable[[Matrix], Matrix]]:
        """Return the gain of further points, and what their known objectives go through."""
        known = self._known_of(points)
        mean, deviation = known.mean(axis=0), known.std(axis=0)
        deviation = np.where(deviation > 0, deviation, 1.0)

        def scale(of: Matrix) -> Matrix:
            result: Matrix = (of - mean) / deviation
            return result

        rows = self._rows(points)
        measured = standardized(without_outliers(values[:, self._measured]))
        gain = Gain(
            fitted(rows, measured, self._surrogate, seed),
            (rows, scale(known)),
            reference_of(np.concatenate([measured, scale(known)], axis=1)),
            (self._rows(pending), scale(self._known_of(pending))) if pending else None,
            seed=seed,
        )
        return gain, scale

    def _untried(self, points: Sequence[dict[str, Any]], tried: set[str]) -> list[dict[str, Any]]:
        by_key = {self._domain.key(point): point for point in points}
        kept = [point for key, point in by_key.items() if key not in tried]
        if self._constraints is None:
            return kept
        violations = [self.violation(point) for point in kept]
        least = min(violations, default=0.0)
        # Where nothing keeps the constraints, what is nearest to that.
        return [p for p, v in zip(kept, violations, strict=True) if v <= max(least, 0.0)]

    def _rows(self, points: Sequence[Params]) -> Matrix:
        return np.stack([self._domain.row(point) for point in points])

    def _known_of(self, points: Sequence[Params]) -> Matrix:
        """Return the known objectives of points, larger is better, shape (n, c)."""
        columns = [
            [self._signs[number] * function(point) for point in points]
            for number, function in sorted(self._known.items())
        ]
        return np.array(columns, dtype=float).reshape(len(columns), len(points)).T


def _climbed(columns: Columns, gain: Gain, point: Params) -> dict[str, Any]:
    row = gain.climb(columns.row(point), columns.fixed(point))
    return columns.moved(point, row)
