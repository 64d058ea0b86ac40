"""What an Optuna study wants, as numbers of which more is better."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from autopeft.study.pareto import ranks
from autopeft.study.strategies.activity import Params
from autopeft.study.strategies.columns import Columns
from autopeft.study.strategies.gain import Gain, Matrix

#: Value of a known objective at a point.
KnownObjective = Callable[[Params], float]
#: What must not be above 0 at a point.
Constraints = Callable[[Params], Sequence[float]]

POOL = 512
STARTS = 4
ROUNDS = 4
#: Points of the pool around each of the best trials, and how far away they are.
NEARBY, NEARBY_STEPS = 4, (0.1, 0.03)
#: Best trials that the pool has points around.
BEST = 8


class Goal:
    """The objectives of a study, some of them known, and the constraints of its points."""

    def __init__(
        self,
        columns: Columns,
        directions: Sequence[StudyDirection],
        known: Mapping[int, KnownObjective],
        constraints: Constraints | None,
    ) -> None:
        """Take the parts.

        Args:
            columns: The parameters.
            directions: Which way each objective is better.
            known: The objectives that are known without a trial, by their number.
            constraints: What must not be above 0 at a point.
        """
        self._columns = columns
        self._signs = np.array([1.0 if d == StudyDirection.MAXIMIZE else -1.0 for d in directions])
        self._known = dict(known)
        self._measured = [i for i in range(len(self._signs)) if i not in self._known]
        self._constraints = constraints

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
        gain = Gain(
            self._rows(points),
            values[:, self._measured],
            self._known_of(points),
            (self._rows(pending), self._known_of(pending)) if pending else None,
            seed=int(rng.integers(2**31)),
        )
        order = ranks(-np.nan_to_num(values, nan=-np.inf)).argsort(kind="stable")
        around = [points[i] for i in order[:BEST]]
        pool = self._untried(self._pool(around, rng), tried)
        if not pool:
            return None
        best = self._ranked(gain, pool)[:STARTS]
        for _ in range(ROUNDS):
            near = [n for _, p in best for n in self._columns.neighbours(p, rng)]
            better = self._ranked(gain, self._untried(near, tried))
            joined = sorted([*best, *better], key=lambda item: -item[0])[:STARTS]
            if joined[0][0] <= best[0][0]:
                break
            best = joined
        return self._climbed(gain, best, tried)

    def _pool(self, around: Sequence[Params], rng: np.random.Generator) -> list[dict[str, Any]]:
        drawn = self._columns.draw(int(rng.integers(2**31)))
        pool = [next(drawn) for _ in range(POOL)]
        for point in around:
            pool += self._columns.neighbours(point, rng)
            pool += [
                self._columns.nearby(point, rng, step)
                for step in NEARBY_STEPS
                for _ in range(NEARBY)
            ]
        return pool

    def _untried(self, points: Sequence[dict[str, Any]], tried: set[str]) -> list[dict[str, Any]]:
        by_key = {self._columns.key(point): point for point in points}
        kept = [point for key, point in by_key.items() if key not in tried]
        if self._constraints is None:
            return kept
        violations = [self.violation(point) for point in kept]
        least = min(violations, default=0.0)
        # Where nothing keeps the constraints, what is nearest to that.
        return [p for p, v in zip(kept, violations, strict=True) if v <= max(least, 0.0)]

    def _ranked(
        self, gain: Gain, points: Sequence[dict[str, Any]]
    ) -> list[tuple[float, dict[str, Any]]]:
        if not points:
            return []
        values = gain.of(self._rows(points), self._known_of(points))
        found = zip(values.tolist(), points, strict=True)
        return sorted(found, key=lambda item: -item[0])

    def _climbed(
        self, gain: Gain, best: Sequence[tuple[float, dict[str, Any]]], tried: set[str]
    ) -> dict[str, Any]:
        """Follow the gradient along the numbers of the best points; known functions have none."""
        if self._known or self._constraints is not None:
            return best[0][1]
        climbed = []
        for _, point in best:
            fixed = self._columns.fixed(point)
            row = gain.climb(self._columns.row(point), fixed)
            climbed.append(self._columns.moved(point, row))
        found = self._ranked(gain, self._untried(climbed, tried))
        return max([*best, *found], key=lambda item: item[0])[1]

    def _rows(self, points: Sequence[Params]) -> Matrix:
        return np.stack([self._columns.row(point) for point in points])

    def _known_of(self, points: Sequence[Params]) -> Matrix:
        """Return the known objectives of points, larger is better, shape (n, c)."""
        columns = [
            [self._signs[number] * function(point) for point in points]
            for number, function in sorted(self._known.items())
        ]
        return np.array(columns, dtype=float).reshape(len(columns), len(points)).T
