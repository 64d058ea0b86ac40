"""What an Optuna study wants, as numbers of which more is better."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from optuna.study import StudyDirection

from autopeft.study.pareto import ranks
from autopeft.study.strategies.activity import Params
from autopeft.study.strategies.columns import Columns
from autopeft.study.strategies.gain import (
    FINALISTS,
    Gain,
    Matrix,
    Scale,
    fitted,
    reference_of,
    without_outliers,
)
from autopeft.study.strategies.knowledge import Knowledge
from autopeft.study.strategies.local_search import Domain, Ranking, best_points
from autopeft.study.strategies.outcome import Outcome
from autopeft.study.strategy import Surrogate
from autopeft.trials.threads import one_thread


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """What the trials of a study show.

    Attributes:
        points: Those of trials with values.
        values: All objectives of theirs.
        setbacks: Points of trials that did not come to their end for a reason of their own.
        shown: What was seen of their objectives, NaN where nothing was.
        pending: Points that are being tried.
    """

    points: Sequence[Params]
    values: Sequence[Sequence[float]]
    setbacks: Sequence[Params]
    shown: Sequence[Sequence[float]]
    pending: Sequence[Params]


class Goal:
    """The objectives of a study, some of them known, and the constraints of its points."""

    def __init__(
        self,
        domain: Domain,
        directions: Sequence[StudyDirection],
        knowledge: Knowledge,
        surrogate: Surrogate,
    ) -> None:
        """Take the parts.

        Args:
            domain: The points.
            directions: Which way each objective is better.
            knowledge: What is known of points without a trial.
            surrogate: Kind of the model of what is measured.
        """
        self._domain = domain
        self._signs = np.array([1.0 if d == StudyDirection.MAXIMIZE else -1.0 for d in directions])
        self._knowledge = knowledge
        self._known = knowledge.objectives
        self._measured = [i for i in range(len(self._signs)) if i not in self._known]
        self._surrogate = surrogate

    def best(
        self, trials: Trials, tried: set[str], rng: np.random.Generator
    ) -> dict[str, Any] | None:
        """Return the point with the largest expected gain, `None` if there is none left.

        Args:
            trials: What the trials show.
            tried: Keys of points that are not wanted again.
            rng: Where points are drawn from.
        """
        with torch.device("cpu"), torch.enable_grad(), one_thread():
            return self._best(trials, tried, rng)

    def _best(
        self, trials: Trials, tried: set[str], rng: np.random.Generator
    ) -> dict[str, Any] | None:
        values = self._signs * np.array(trials.values, dtype=float)
        gain, scale = self._gain(trials, values, int(rng.integers(2**31)))

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
        best = best_points(self._domain, ranked, [trials.points[i] for i in order], rng)
        if not best:
            return None
        free = not self._known and not self._knowledge.constrains
        if isinstance(self._domain, Columns) and free:
            # Along numbers the gain has a gradient; known functions have none.
            climbed = [_climbed(self._domain, gain, point) for _, point in best]
            best = sorted([*best, *ranked(climbed)], key=lambda item: -item[0])
        return best[0][1]

    def _gain(self, trials: Trials, values: Matrix, seed: int) -> tuple[Gain, Scale]:
        """Return the gain of further points, and what their known objectives go through."""
        known = self._known_of(trials.points)
        shown = self._signs * np.array(trials.shown, dtype=float).reshape(-1, len(self._signs))
        # What broke counts as bad as the worst, but is no part of the front.
        every = without_outliers(np.concatenate([values, shown])[:, self._measured])
        of_known, of_measured = Scale.of(known), Scale.of(every)
        rows, measured = self._rows([*trials.points, *trials.setbacks]), of_measured(every)
        n, pending = len(trials.points), trials.pending
        told = self._knowledge.reference
        if told is None:
            reference = reference_of(np.concatenate([measured[:n], of_known(known)], axis=1))
        else:
            worst = self._signs * np.array(told)
            both = of_measured(worst[self._measured]), of_known(worst[self._known])
            reference = np.concatenate(both).tolist()
        outcome = Outcome.unchanged()
        if measured.shape[1] == 1 and self._known:
            outcome = Outcome.of(measured[:, 0])
        gain = Gain(
            fitted(rows, outcome.scored(measured), self._surrogate, seed),
            (rows[:n], of_known(known)),
            reference,
            (self._rows(pending), of_known(self._known_of(pending))) if pending else None,
            seed=seed,
            outcome=outcome,
        )
        return gain, of_known

    def _untried(self, points: Sequence[dict[str, Any]], tried: set[str]) -> list[dict[str, Any]]:
        by_key = {self._domain.key(point): point for point in points}
        kept = [point for key, point in by_key.items() if key not in tried]
        if not self._knowledge.constrains:
            return kept
        violations = [self._knowledge.violation(point) for point in kept]
        least = min(violations, default=0.0)
        # Where nothing keeps the constraints, what is nearest to that.
        return [p for p, v in zip(kept, violations, strict=True) if v <= max(least, 0.0)]

    def _rows(self, points: Sequence[Params]) -> Matrix:
        return np.stack([self._domain.row(point) for point in points])

    def _known_of(self, points: Sequence[Params]) -> Matrix:
        """Return the known objectives of points, larger is better, shape (n, c)."""
        values = np.array([self._knowledge.values(point) for point in points], dtype=float)
        known: Matrix = self._signs[self._known] * values.reshape(len(points), len(self._known))
        return known


def _climbed(columns: Columns, gain: Gain, point: Params) -> dict[str, Any]:
    row = gain.climb(columns.row(point), columns.fixed(point))
    return columns.moved(point, row)
