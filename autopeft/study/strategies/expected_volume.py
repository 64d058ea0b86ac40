"""Expected gain of hypervolume where all objectives but one are known: a sum, nothing is sampled.

Over each place of the known objectives the front has a height; a point gains what it is expected
to rise above the heights of all places that it reaches. Heights change from step to step only, so
that the integral is a sum over the steps of expected improvements, each times its width. It is
what is left of the expected hypervolume improvement (Emmerich, Deutz and Klinkenberg 2011) where
all coordinates but one are sure.
"""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autopeft.study.pareto import front
from autopeft.study.strategies.outcome import Outcome

Matrix = NDArray[np.float64]


#: Steps of the front that are looked at, at most.
MOST_STEPS = 4096


class ExpectedVolume:
    """Expected gain over a front whose heights are taken to be sure.

    The steps are as many as members of the front for each known objective, multiplied; of more
    than `MOST_STEPS` some are left out, evenly, which takes the front for lower than it is there.
    """

    def __init__(
        self, heights: Matrix, known: Matrix, reference: Sequence[float], outcome: Outcome
    ) -> None:
        """Take the points that have been measured; larger is better everywhere.

        Args:
            heights: What the unknown objective is taken to be there, shape (n,).
            known: The known objectives there, shape (n, c).
            reference: Where hypervolume is measured from: the unknown objective, the known ones.
            outcome: The scale on which the unknown objective is normal.
        """
        floor, *corner = reference
        self._outcome = outcome
        on_front = front(-np.column_stack([heights, known]))
        heights, known = heights[on_front], known[on_front]
        self._edges = [
            np.append(_thinned(np.unique(np.maximum(column, low)), known.shape[1]), np.inf)
            for column, low in zip(known.T, corner, strict=True)
        ]
        # What is best of the points that reach a step; steps begin at the reference.
        self._edges = [
            edges if edges[0] == low else np.insert(edges, 0, low)
            for edges, low in zip(self._edges, corner, strict=True)
        ]
        tops = itertools.product(*(edges[1:] for edges in self._edges))
        self._heights = np.array(
            [max(heights[(known >= top).all(axis=1)], default=floor) for top in tops]
        )
        self._heights = np.maximum(self._heights, floor)

    def of(self, mean: Matrix, deviation: Matrix, known: Matrix) -> Matrix:
        """Return the expected gain of points, shape (n,).

        Args:
            mean: Of the unknown objective on the model's scale, shape (n,).
            deviation: Its standard deviation, shape (n,).
            known: The known objectives, shape (n, c).
        """
        widths = np.ones((len(mean), 1))
        for edges, column in zip(self._edges, known.T, strict=True):
            along = np.clip(np.minimum(edges[1:], column[:, None]) - edges[:-1], 0.0, None)
            widths = (widths[:, :, None] * along[:, None, :]).reshape(len(mean), -1)
        improvement = self._outcome.excess(mean, deviation, self._heights)
        result: Matrix = (widths * improvement).sum(axis=1)
        return result


def _thinned(edges: Matrix, dimensions: int) -> Matrix:
    """Return edges of one dimension, evenly thinned to its share of `MOST_STEPS`."""
    most = int(MOST_STEPS ** (1 / dimensions))
    if len(edges) <= most:
        return edges
    kept: Matrix = edges[np.linspace(0, len(edges) - 1, most).round().astype(int)]
    return kept
