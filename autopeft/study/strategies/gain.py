"""How much a point is expected to improve on what a study has, by BoTorch."""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from botorch.acquisition import AcquisitionFunction
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.acquisition.multi_objective import logei
from botorch.acquisition.multi_objective.utils import prune_inferior_points_multi_objective
from botorch.exceptions import BotorchWarning
from botorch.generation.gen import gen_candidates_scipy
from botorch.models.model import Model
from botorch.sampling import SobolQMCNormalSampler
from botorch.utils.transforms import is_ensemble
from linear_operator.utils.warnings import NumericalWarning
from numpy.typing import NDArray

from autopeft.study.strategies.expected_volume import ExpectedVolume
from autopeft.study.strategies.outcome import Outcome, deviation
from autopeft.study.strategies.surrogate import (
    NUMERICAL_ERRORS,
    QualityWithCosts,
    fit_quality,
)
from autopeft.study.strategy import Surrogate

Matrix = NDArray[np.float64]

#: Points that are looked at closely, of those that a glance ranks first.
FINALISTS = 48
#: Samples of the posterior in all, shared among the members of an ensemble.
MC_SAMPLES = 64
#: Samples that tell which trials may be on the front. BoTorch takes 2,048, which takes longer than
#: all else that a gain needs, for trials that are on it less often than once in 256 samples.
PRUNING_SAMPLES = 256
CHUNK = 64
#: Values further below the lower quartile than so many interquartile ranges are moved there: one
#: disaster would otherwise be all that the surrogate explains.
OUTLIER = 3.0
#: Values beyond it, as some objectives return in place of an error, are taken for it: their
#: differences and squares would be infinite.
MOST = 1e150
CLIMB_ITERATIONS = 50


def fitted(rows: Matrix, measured: Matrix, surrogate: Surrogate, seed: int) -> Model:
    """Fit a model and keep what BoTorch warns of from the user.

    Args:
        rows: Points, shape (n, d), in [0, 1].
        measured: What was measured there, shape (n, k), all of it finite.
        surrogate: Kind of the model, as for `fit_quality`.
        seed: Of what the model draws.
    """
    with quiet(), _drawing_from(seed):
        return fit_quality(torch.from_numpy(rows), torch.from_numpy(measured), surrogate, seed)


class Gain:
    """Expected gain of hypervolume, or of the one objective, over what has been measured.

    Objectives that are known before a trial are exact, the others are modelled.
    """

    def __init__(
        self,
        model: Model,
        baseline: tuple[Matrix, Matrix],
        reference: Sequence[float],
        pending: tuple[Matrix, Matrix] | None = None,
        *,
        seed: int,
        outcome: Outcome | None = None,
    ) -> None:
        """Take what is known.

        Args:
            model: Of what is measured, larger is better.
            baseline: Points that were measured, shape (n, d), and what was known of them before,
                larger is better, shape (n, c).
            reference: Where hypervolume is measured from, one number for each objective, measured
                ones first.
            pending: Points that are being measured and what is known of them.
            seed: Of the samples of the posterior.
            outcome: What the one measured objective is that the model gives scores of, where
                others are known. By default the model gives the objective itself.
        """
        known = baseline[1].shape[1]
        outcome = outcome or Outcome.unchanged()
        joint = QualityWithCosts(model, known, outcome) if known else model
        self._model = model
        self._steps: ExpectedVolume | None = None
        if known and model.num_outputs == 1:
            parts = [baseline, pending] if pending else [baseline]
            rows, costs = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
            scores = torch.from_numpy(self._predicted(rows)[0])
            heights: Matrix = outcome.measured(scores).numpy()
            self._steps = ExpectedVolume(heights, costs, reference, outcome)
        inputs = _inputs(*baseline)
        samples = MC_SAMPLES // (math.prod(joint.batch_shape) if is_ensemble(joint) else 1)
        settings: dict[str, Any] = {
            "model": joint,
            "X_baseline": inputs,
            "sampler": SobolQMCNormalSampler(torch.Size([samples]), seed=seed),
            "X_pending": _inputs(*pending) if pending else None,
            "cache_root": False,
        }
        with quiet(), _drawing_from(seed):
            if len(reference) == 1:
                self._function: AcquisitionFunction = qLogNoisyExpectedImprovement(**settings)
            else:
                self._function = logei.qLogNoisyExpectedHypervolumeImprovement(
                    **settings | {"X_baseline": _on_front(joint, inputs, reference, seed)},
                    ref_point=list(reference),
                )

    def of(self, rows: Matrix, known: Matrix) -> Matrix:
        """Return the logarithm of the gain of each point, shape (n,)."""
        inputs = _inputs(rows, known).unsqueeze(1)
        with quiet(), torch.no_grad():
            values = torch.cat([self._function(chunk) for chunk in inputs.split(CHUNK)])
        result: Matrix = values.numpy()
        return result

    def glance(self, rows: Matrix, known: Matrix) -> Matrix | None:
        """Return about the gain of each point, shape (n,), at a hundredth of the time.

        What was measured is taken for what the model says, without its error. `None` if there is
        no such glance, because nothing is known or more than one objective is not.
        """
        if self._steps is None:
            return None
        return self._steps.of(*self._predicted(rows), known)

    def climb(self, row: Matrix, fixed: Sequence[int]) -> Matrix:
        """Return the row that is best in the neighbourhood of one; nothing must be known.

        Args:
            row: Where to start, shape (d,); it is returned where the gain has no gradient, as may
                be right beside points that were measured.
            fixed: Columns that stay as they are.
        """
        if len(fixed) == len(row):
            return row
        start = torch.from_numpy(row)[None, None]
        # BoTorch insists on telling of searches along a line that end early; the point is good.
        with quiet(), warnings.catch_warnings(record=True):
            try:
                best, _ = gen_candidates_scipy(
                    start,
                    self._function,
                    0.0,
                    1.0,
                    options={"maxiter": CLIMB_ITERATIONS},
                    fixed_features={i: float(row[i]) for i in fixed},
                )
            except NUMERICAL_ERRORS:
                return row
        result: Matrix = best.detach()[0, 0].numpy()
        return result

    def _predicted(self, rows: Matrix) -> tuple[Matrix, Matrix]:
        """Return mean and standard deviation of what the model gives, one output, (n,) each."""
        with quiet(), torch.no_grad():
            posterior: Any = self._model.posterior(torch.from_numpy(rows))
            mean, variance = posterior.mean.squeeze(-1), posterior.variance.squeeze(-1)
        if is_ensemble(self._model):
            # Those of the mixture.
            variance = variance.mean(dim=0) + mean.var(dim=0, correction=0)
            mean = mean.mean(dim=0)
        return mean.numpy(), variance.sqrt().numpy()


def reference_of(values: Matrix) -> list[float]:
    """Return where hypervolume is measured from if nobody has said so.

    It is the worst of all trials in each objective, less a tenth of the range. The worst of the
    front alone (Ishibuchi et al. 2011) lies so near that what would make the front longer gains
    nothing: with it, searches ended with a hypervolume of 0.93 where they have 0.99 with this.

    Args:
        values: All objectives of the trials, larger is better, shape (n, m).
    """
    worst, best = values.min(axis=0), values.max(axis=0)
    point: list[float] = (worst - 0.1 * np.where(best > worst, best - worst, 1.0)).tolist()
    return point


def without_outliers(measured: Matrix) -> Matrix:
    """Return values, larger is better, with those that are not finite or far too low moved up.

    Args:
        measured: Shape (n, k).
    """
    columns = []
    for column in np.where(np.isfinite(measured), measured.clip(-MOST, MOST), measured).T:
        finite = column[np.isfinite(column)]
        low, high = np.percentile(finite, [25, 75]) if len(finite) else (0.0, 0.0)
        floor = finite.min(initial=math.inf)
        floor = max(low - OUTLIER * (high - low), floor) if high > low else floor
        floor = floor if math.isfinite(floor) else 0.0
        ceiling = finite.max(initial=floor)
        columns.append(np.clip(np.nan_to_num(column, nan=floor, posinf=math.inf), floor, ceiling))
    return np.stack(columns, axis=1)


@dataclass(frozen=True, slots=True)
class Scale:
    """What makes the columns of some values have mean 0 and standard deviation 1.

    Attributes:
        center: Mean of each column, shape (c,).
        spread: Standard deviation of each column, 1 where all its values are equal, shape (c,).
    """

    center: Matrix
    spread: Matrix

    @classmethod
    def of(cls, values: Matrix) -> "Scale":
        """Return the scale of values of shape (n, c)."""
        return cls(values.mean(axis=0), deviation(values))

    def __call__(self, values: Matrix) -> Matrix:
        """Return values of shape (..., c) on this scale."""
        scaled: Matrix = (values - self.center) / self.spread
        return scaled


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what BoTorch warns of in the course of a search from the user."""
    with warnings.catch_warnings():
        for category in (BotorchWarning, NumericalWarning):
            warnings.simplefilter("ignore", category)
        yield


@contextmanager
def _drawing_from(seed: int) -> Iterator[None]:
    """Give BoTorch a seed where it draws from torch's own, so that equal trials give equal points.

    It does so when it prunes trials, and when a fit has to begin again.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _inputs(rows: Matrix, known: Matrix) -> torch.Tensor:
    """Return rows with their costs behind them, smaller is better."""
    return torch.from_numpy(np.concatenate([rows, -known], axis=1))


def _on_front(
    model: Model, inputs: torch.Tensor, reference: Sequence[float], seed: int
) -> torch.Tensor:
    """Return the inputs that may be on the front: others bound no gain."""
    with _drawing_from(seed):
        kept: torch.Tensor = prune_inferior_points_multi_objective(
            model, inputs, torch.tensor(reference, dtype=inputs.dtype), num_samples=PRUNING_SAMPLES
        )
    return kept
