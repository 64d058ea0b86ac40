"""`OptunaSpace`: a search space within a budget, for objectives that are written for Optuna."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna import Trial, TrialPruned
from optuna.distributions import BaseDistribution

from autopeft.cost.candidates import CandidateSpace
from autopeft.errors import SpaceError
from autopeft.space.configuration import Configuration
from autopeft.space.hyperparameter import Assignment
from autopeft.study.strategies.candidate_domain import CandidateDomain
from autopeft.study.strategies.local_search import Point
from autopeft.study.strategies.start import start_points
from autopeft.trials.distributions import (
    distribution,
    distributions_of,
    optuna_values,
    point_of,
    suggest_point,
)


class OptunaSpace:
    """The points of a search space that a model takes within a budget, as Optuna's parameters.

    Attributes:
        candidates: The points.
        distributions: All parameters by name; which of them a point has follows from its choices.
    """

    def __init__(self, candidates: CandidateSpace) -> None:
        self.candidates = candidates
        self.distributions: dict[str, BaseDistribution] = {}
        for h in candidates.space.hyperparameters:
            self.distributions.update(distribution(h))
        self._domain = CandidateDomain(candidates)

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Ask a trial for a point and return its parameters.

        Raises:
            optuna.TrialPruned: If the point does not fit the budget, which `AutoPeftSampler` never
                suggests and other samplers may.
        """
        point = suggest_point(self.candidates.space, trial)
        if point is None or not self.candidates.fits(point):
            raise TrialPruned("The suggested point does not fit the budget.")
        return dict(trial.params)

    def configuration(self, params: Point) -> Configuration:
        """Return the configuration that parameters stand for, with all defaults filled in.

        Raises:
            SpaceError: If one of them is missing or outside its range; further ones are left out.
        """
        return self.candidates.configuration(self._point(params))

    def adapter_params(self, params: Point) -> int:
        """Return the number of adapter parameters, exactly and without a trial.

        Raises:
            SpaceError: If they are no point, as for `configuration`, or cannot be attached.
        """
        count = self.candidates.adapter_params(self._point(params))
        if count is None:
            raise SpaceError("What these parameters stand for cannot be attached to the model.")
        return count

    def holds(self, params: Point) -> bool:
        """Tell whether parameters are a whole point that fits."""
        try:
            return self.candidates.fits(self._point(params))
        except SpaceError:
            return False

    def active(self, params: Point) -> dict[str, Any]:
        """Return a point as it is: which parameters it has follows from its choices."""
        return dict(params)

    def row(self, params: Point) -> NDArray[np.float64]:
        """Return a point's features, shape (d,)."""
        return self._domain.row(self._point(params))

    def key(self, params: Point) -> str:
        """Return what tells a point from others: two points of one configuration are one."""
        return self._domain.key(self._point(params))

    def draw(self, seed: int) -> Iterator[dict[str, Any]]:
        """Yield fitting points of a scrambled Sobol sequence."""
        return (self._params(point) for point in self._domain.draw(seed))

    def start(self, seed: int) -> Iterator[dict[str, Any]]:
        """Yield what a search begins with: well-known points, then a Sobol sequence."""
        for points in start_points(self.candidates, seed).values():
            yield from map(self._params, points)
        yield from self.draw(seed)

    def neighbours(self, params: Point, rng: np.random.Generator) -> list[dict[str, Any]]:
        """Return fitting points that differ in one choice, switch or step."""
        found = self._domain.neighbours(self._point(params), rng)
        return [self._params(point) for point in found]

    def nearby(self, params: Point, rng: np.random.Generator, step: float) -> dict[str, Any] | None:
        """Return a fitting point that differs in all numbers by little, `None` if none fits."""
        found = self._domain.nearby(self._point(params), rng, step)
        return None if found is None else self._params(found)

    def _point(self, params: Point) -> Assignment:
        return point_of(self.candidates.space, params)

    def _params(self, point: Point) -> dict[str, Any]:
        return optuna_values(point, distributions_of(self.candidates.space, point))
