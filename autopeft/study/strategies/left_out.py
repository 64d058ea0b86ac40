"""What the trials of a study say of each other: each predicted from the rest, in closed form."""

import itertools
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

#: Lengths over which quality changes, and noise beside it, to choose from.
LENGTHS = (0.5, 1.0, 2.0, 4.0)
NOISES = (0.01, 0.1, 0.3, 1.0, 3.0)
#: The most standard deviations that a step of a start may be worth.
STEEPEST = 2.0


class LeftOut:
    """The trials of a study, each as the others predict it.

    A Gaussian process with one length for all columns predicts, and two of its numbers alone are
    chosen by the data. The surrogate of a search has a length for each column; fitted to some
    dozens of trials it finds a function in anything, and predicts the very trials that it was
    fitted to too well: with qualities that were shuffled, the correlation is 0.5 to 0.8. All rungs
    and repeats of a configuration are left out together; what is predicted is the last of them.

    Attributes:
        truth: What was measured of each, standardised, shape (t,).
        deviation: The standard deviation that is 1 here.
    """

    def __init__(self, rows: Matrix, measured: Matrix, trials: Sequence[Hashable]) -> None:
        """Take measurements.

        Args:
            rows: The points, shape (n, d), in [0, 1].
            measured: What was measured there, shape (n,).
            trials: Equal entries for what was measured of one configuration, shape (n,).
        """
        self.deviation = float(measured.std()) or 1.0
        self._measured = (measured - measured.mean()) / self.deviation
        order = {name: i for i, name in enumerate(dict.fromkeys(trials))}
        names = np.array([order[name] for name in trials])
        self._groups = [np.flatnonzero(names == n) for n in range(len(order))]
        self._last = np.array([group[-1] for group in self._groups])
        self.truth = self._measured[self._last]
        distances = np.linalg.norm(rows[:, None] - rows[None], axis=2)
        self._precisions = [
            _inverse(_matern(distances / length) + noise * np.eye(len(rows)))
            for length, noise in itertools.product(LENGTHS, NOISES)
        ]
        self._volumes = [-float(np.linalg.slogdet(p)[1]) for p in self._precisions]

    def predicted(self, start: Matrix | None = None, weight: float = 1.0) -> tuple[Matrix, Matrix]:
        """Return mean and standard deviation of the prediction of each trial, shape (t,) each.

        Args:
            start: What the mean of the process starts from, shape (n,); `None` for a constant. It
                is scaled by a regression on the trials that are not left out.
            weight: As many trials weigh as much as the guess that this scale is 1.
        """
        whole = self._measured if start is None else self._rest(start, self.slope(start, weight))
        precision, variance = self._most_probable(whole)
        means, deviations = [], []
        for i, group in enumerate(self._groups):
            rest = whole
            if start is not None:
                rest = self._rest(start, self.slope(start, weight, without=i))
            inverse = _inverse(precision[np.ix_(group, group)])
            error = inverse @ (precision @ _centred(rest, precision))[group]
            means.append(self.truth[i] - error[-1])
            deviations.append(np.sqrt(variance * inverse[-1, -1]))
        return np.array(means), np.array(deviations)

    def slope(self, start: Matrix, weight: float = 1.0, without: int | None = None) -> float:
        """Return how many standard deviations a step of `start` is worth, by regression.

        Args:
            start: As for `predicted`.
            weight: As for `predicted`.
            without: Position of a trial that is left out.
        """
        kept = self._last if without is None else np.delete(self._last, without)
        x, y = (values[kept] - values[kept].mean() for values in (start, self._measured))
        return float(np.clip((x @ y + weight) / (x @ x + weight), 0.0, STEEPEST))

    def _rest(self, start: Matrix, slope: float) -> Matrix:
        rest: Matrix = self._measured - slope * start
        return rest

    def _most_probable(self, rest: Matrix) -> tuple[Matrix, float]:
        """Return the most probable precision of values, shape (n, n), and their variance."""
        n, found = len(rest), []
        for precision, volume in zip(self._precisions, self._volumes, strict=True):
            centred = _centred(rest, precision)
            variance = max(float(centred @ precision @ centred) / n, 1e-12)
            found.append((n * np.log(variance) + volume, variance))
        best = min(range(len(found)), key=lambda i: found[i][0])
        return self._precisions[best], found[best][1]


def _centred(values: Matrix, precision: Matrix) -> Matrix:
    """Return values less their mean, as far as they are independent."""
    weights = precision.sum(axis=0)
    centred: Matrix = values - weights @ values / weights.sum()
    return centred


def _inverse(matrix: Matrix) -> Matrix:
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def _matern(distances: Matrix) -> Matrix:
    """Return Matern's correlation (5/2) at distances in lengths."""
    r = np.sqrt(5) * distances
    correlation: Matrix = (1 + r + r**2 / 3) * np.exp(-r)
    return correlation
