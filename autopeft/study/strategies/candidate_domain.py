"""The points of a search space within the budget, as a strategy looks for them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autopeft.cost.candidates import CandidateSpace
from autopeft.cost.remembered import Remembered
from autopeft.space.configuration import Value
from autopeft.space.hyperparameter import FloatRange, IntRange
from autopeft.study.strategies.drawing import sobol_points
from autopeft.study.strategies.features import Features
from autopeft.study.strategies.local_search import Point

#: Points of a Sobol sequence to look at, most of which fit.
DRAWS = 1024
#: Points whose features and digests are kept: those of the trials, and of the latest pools.
KEPT = 2**13


class CandidateDomain:
    """Fitting points of a space; two points of one configuration are one."""

    def __init__(self, space: CandidateSpace) -> None:
        self.space = space
        self._features = Features(space)
        #: A point is looked at several times in an ask, and a trial's in every one.
        self._seen = Remembered(self._look, KEPT)

    def row(self, point: Point) -> NDArray[np.float64]:
        """Return the features of a point, shape (d,); not to be written to."""
        return self._seen(tuple(point.items()))[0]

    def key(self, point: Point) -> str:
        """Return the digest of the point's configuration."""
        return self._seen(tuple(point.items()))[1]

    def draw(self, seed: int) -> Iterator[dict[str, Any]]:
        """Yield fitting points of a scrambled Sobol sequence."""
        places = sobol_points(self.space.space.dimension, seed)
        for _ in range(DRAWS):
            point = self.space.at(next(places))
            if point is not None:
                yield point

    def neighbours(self, point: Point, rng: np.random.Generator) -> list[dict[str, Any]]:
        """Return fitting points that differ in one choice, switch or step."""
        return self.space.neighbours(point, rng)

    def nearby(self, point: Point, rng: np.random.Generator, step: float) -> dict[str, Any] | None:
        """Return a fitting point that differs in all numbers by little, `None` if none fits."""
        changed = dict(point)
        for h in self.space.space.hyperparameters:
            if h.name in point and isinstance(h, FloatRange | IntRange):
                place = h.to_unit(point[h.name])[0] + step * rng.standard_normal()
                changed[h.name] = h.from_unit([float(np.clip(place, 0.0, 1.0))])
        return self.space.shrunk(changed)

    def _look(self, items: tuple[tuple[str, Value], ...]) -> tuple[NDArray[np.float64], str]:
        """Return the features and the digest of a point."""
        point = dict(items)
        row = self._features.row(point)
        row.flags.writeable = False
        return row, self.space.configuration(point).digest
