"""How far a search follows earlier ones: as far as they rank its own trials better than it does.

What sources expect is the mean that the search's own Gaussian process starts from; the process
then models what is left. Each source counts by two numbers. The first is how much quality a step
on its scale is worth here, a regression that begins at one standard deviation. The second is its
weight: how often the trials that are left out, one after the other, are ranked best with this
source, as in RGPE (Feurer, Letham and Bakshy 2018, arXiv 1802.02219). A source that does not rank
them better than none in most of the draws has no weight, so many useless ones cannot add up.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import torch
from botorch.models.model import Model
from botorch.posteriors import Posterior
from gpytorch.distributions import MultivariateNormal
from numpy.typing import NDArray
from torch import Tensor

from autopeft.study.strategies.gain import fitted
from autopeft.study.strategies.left_out import LeftOut
from autopeft.study.strategy import Surrogate

Matrix = NDArray[np.float64]

#: Draws of what is predicted for trials that are left out.
DRAWS = 512
#: Measurements that sources are weighed by: the time grows with their cube.
MOST_MEASUREMENTS = 400
#: As many trials of this study weigh as much as the guess that sources are as good here as there.
GUESS_WEIGHT = 2.0


class Transferred(Model):
    """A model of quality whose mean starts from what sources expect.

    The last columns of its input are what the sources expect.
    """

    def __init__(self, rest: Model, slopes: Matrix) -> None:
        """Take the parts.

        Args:
            rest: Model of what the sources do not explain.
            slopes: What a step of each source is worth in quality, shape (k,).
        """
        super().__init__()
        self.rest = rest
        self.slopes = torch.from_numpy(slopes)
        self._is_ensemble = rest._is_ensemble  # noqa: SLF001 - BoTorch asks each model for it

    @property
    def num_outputs(self) -> int:
        """Quality alone."""
        return int(self.rest.num_outputs)

    @property
    def batch_shape(self) -> torch.Size:
        """Batch shape of the Gaussian process."""
        return self.rest.batch_shape

    def posterior(
        self,
        X: Tensor,
        output_indices: list[int] | None = None,  # noqa: ARG002 - there is one output
        observation_noise: bool | Tensor = False,  # noqa: FBT001, FBT002, ARG002 - BoTorch's signature
        posterior_transform: Callable[[Posterior], Posterior] | None = None,
        **_: Any,
    ) -> Posterior:
        """Return the posterior at X of shape (batch, q, d + k): (batch, q, 1)."""
        n_sources = len(self.slopes)
        start = X[..., -n_sources:] @ self.slopes.to(X)
        if self._is_ensemble:
            start = start.unsqueeze(-2)  # before the points of a batch
        rest: Any = self.rest.posterior(X[..., :-n_sources])
        normal = rest.distribution
        moved = MultivariateNormal(normal.mean + start, normal.lazy_covariance_matrix)
        # A posterior of the same kind: samplers do not see through two layers of transforms.
        posterior = type(rest)(moved)
        return posterior_transform(posterior) if posterior_transform else posterior


def fitted_from(
    rows: Matrix,
    n_sources: int,
    measured: Matrix,
    trials: Sequence[Hashable],
    surrogate: Surrogate,
    seed: int,
) -> Transferred:
    """Fit a model of quality that starts from what sources expect.

    Args:
        rows: The points in [0, 1], then what each source expects of them, shape (n, d + k).
        n_sources: How many sources there are, k.
        measured: Their qualities, shape (n, 1), larger is better.
        trials: What was measured of one configuration has one entry here, shape (n,).
        surrogate: Kind of the model of what is left.
        seed: Of the draws.
    """
    rows, sources = rows[:, :-n_sources], rows[:, -n_sources:]
    kept = _thinned(trials)
    left_out = LeftOut(rows[kept], measured[kept, 0], [trials[i] for i in kept])
    slopes = slopes_of(left_out, sources[kept], seed)
    return Transferred(fitted(rows, measured - sources @ slopes[:, None], surrogate, seed), slopes)


def slopes_of(left_out: LeftOut, sources: Matrix, seed: int) -> Matrix:
    """Return what a step of each source is worth in quality, shape (k,); 0 for useless ones.

    Args:
        left_out: The study's trials as they predict each other.
        sources: What each source expects of all measurements, shape (n, k).
        seed: Of the draws.
    """
    noise = np.random.default_rng(seed).standard_normal((DRAWS, len(left_out.truth)))
    losses = []
    for start in (None, *sources.T):
        mean, deviation = left_out.predicted(start, GUESS_WEIGHT)
        losses.append(_misranked(mean + deviation * noise, left_out.truth))
    worth = np.array([left_out.slope(source, GUESS_WEIGHT) for source in sources.T])
    slopes: Matrix = _weights(np.stack(losses)) * worth * left_out.deviation
    return slopes


def _thinned(trials: Sequence[Hashable]) -> list[int]:
    """Return the measurements that sources are weighed by: all, or the last of each trial."""
    if len(trials) <= MOST_MEASUREMENTS:
        return list(range(len(trials)))
    last = {name: i for i, name in enumerate(trials)}
    return sorted(last.values())[-MOST_MEASUREMENTS:]


def _weights(losses: Matrix) -> Matrix:
    """Return the weights of sources, shape (k,).

    Args:
        losses: Wrongly ranked pairs in each draw, shape (1 + k, draws): first without a source.
    """
    without, others = losses[0], losses[1:]
    helps = (others < without).mean(axis=1) > (others > without).mean(axis=1)
    losses = np.where(np.append(True, helps)[:, None], losses, np.inf)
    best = losses == losses.min(axis=0)
    result: Matrix = (best / best.sum(axis=0)).mean(axis=1)[1:]
    return result


def _misranked(predicted: Matrix, truth: Matrix) -> Matrix:
    """Return how many pairs are in the wrong order, shape (draws,)."""
    ahead = predicted[:, :, None] < predicted[:, None, :]
    really = truth[:, None] < truth[None, :]
    result: Matrix = (ahead != really).sum(axis=(1, 2)).astype(float)
    return result
