"""The scale that quality is modelled on: half-way from its own to that of its ranks.

A Gaussian process takes what it models to be normal. Qualities are not: many configurations
learn nothing in a short training, a few learn all there is. Beside these few all others look
alike, and that one of them could be better still is out of the question. Normal scores of the
ranks, as in Gaussian copulas (Salinas, Shen and Perrone 2020, arXiv 1909.13595), know
nothing of how far apart two qualities are. The mean of both scales keeps some of each.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata
from torch import Tensor

Matrix = NDArray[np.float64]

#: Share of the ranks in the scale.
RANKS = 0.5
#: Beyond the best and the worst the scale goes on as it does in this share of the values there.
TAIL = 0.25


@dataclass(frozen=True)
class Outcome:
    """A scale as a line that rises from knot to knot and goes on beyond both ends.

    Attributes:
        scores: Knots on the model's scale, rising, shape (k,).
        values: What was measured there, rising, shape (k,).
        rises: Rise of values for a step of scores, larger than 0, shape (k + 1,): below the first
            knot, between knots, above the last.
    """

    scores: Matrix
    values: Matrix
    rises: Matrix

    @classmethod
    def of(cls, measured: Matrix) -> "Outcome":
        """Return the scale of what was measured, all of it finite, shape (n,)."""
        spread = float(deviation(measured))
        ranks = ndtri((rankdata(measured) - 0.375) / (len(measured) + 0.25))  # Blom's plotting
        scores = RANKS * ranks + (1 - RANKS) * (measured - measured.mean()) / spread
        values, places = np.unique(measured, return_index=True)
        return cls._through(scores[places], values, spread)

    @classmethod
    def unchanged(cls) -> "Outcome":
        """Return the scale on which values are as they are."""
        return cls._through(np.zeros(1), np.zeros(1), 1.0)

    @classmethod
    def _through(cls, scores: Matrix, values: Matrix, spread: float) -> "Outcome":
        if len(values) == 1:
            return cls(scores, values, np.full(2, spread))
        n = max(int(TAIL * len(values)), 1)
        low = (values[n] - values[0]) / (scores[n] - scores[0])
        high = (values[-1] - values[-1 - n]) / (scores[-1] - scores[-1 - n])
        return cls(scores, values, np.array([low, *(np.diff(values) / np.diff(scores)), high]))

    def scored(self, values: Matrix) -> Matrix:
        """Return values of any shape on the model's scale."""
        piece = np.searchsorted(self.values, values)
        knot = np.maximum(piece - 1, 0)
        result: Matrix = self.scores[knot] + (values - self.values[knot]) / self.rises[piece]
        return result

    def measured(self, scores: Tensor) -> Tensor:
        """Return scores of the model, of any shape, as values that would be measured."""
        knots, values, rises = self._tensors
        piece = torch.searchsorted(knots, scores.detach().contiguous())
        knot = (piece - 1).clamp_min(0)
        return values[knot] + rises[piece] * (scores - knots[knot])

    def excess(self, mean: Matrix, deviation: Matrix, heights: Matrix) -> Matrix:
        """Return what a value is expected to rise above some heights, shape (n, h).

        The integral, over all values above a height, of the chance to be above them.

        Args:
            mean: Of the normal distribution of the value's score, shape (n,).
            deviation: Its standard deviation, shape (n,).
            heights: Values, shape (h,).
        """
        at_knots = _above(mean, deviation, self.scores)
        # From each knot on: what is gained in the pieces behind it; nothing is gained at infinity.
        pieces = self.rises[1:] * (at_knots - np.pad(at_knots[:, 1:], ((0, 0), (0, 1))))
        behind = np.cumsum(pieces[:, ::-1], axis=1)[:, ::-1]
        ends = np.pad(behind, ((0, 0), (0, 1)))
        starts = np.pad(at_knots, ((0, 0), (0, 1)))
        piece = np.searchsorted(self.values, heights)
        here = _above(mean, deviation, self.scored(heights)) - starts[:, piece]
        result: Matrix = ends[:, piece] + self.rises[piece] * here
        return result

    @cached_property
    def _tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        knots, values, rises = map(torch.from_numpy, (self.scores, self.values, self.rises))
        return knots, values, rises


def deviation(values: Matrix) -> Matrix:
    """Return the standard deviations of values of shape (n, ...), 1 where all are equal.

    The squares of numbers as small as 1e-200 would be 0, of numbers as large as 1e200 infinite.
    """
    # By a power of two, which rounds nothing.
    unit = np.ldexp(1.0, np.frexp(np.abs(values).max(axis=0, initial=0.0))[1] - 1)
    # Of equal values the deviation may come out as a rounding error.
    equal = np.ptp(values / unit, axis=0) == 0
    result: Matrix = np.where(equal, 1.0, (values / unit).std(axis=0) * unit)
    return result


def _above(mean: Matrix, deviation: Matrix, thresholds: Matrix) -> Matrix:
    """Return what normal variables are expected to rise above thresholds, shape (n, t)."""
    spread = np.maximum(deviation, 1e-12)[:, None]
    distance = (mean[:, None] - thresholds) / spread
    density = np.exp(-0.5 * distance**2) / np.sqrt(2 * np.pi)
    result: Matrix = spread * (density + distance * ndtr(distance))
    return result
