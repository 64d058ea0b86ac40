"""How much a point is expected to improve on what a study has, by BoTorch."""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from botorch.acquisition import AcquisitionFunction
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.acquisition.multi_objective import logei
from botorch.exceptions import BotorchWarning
from botorch.exceptions.errors import ModelFittingError, OptimizationGradientError
from botorch.generation.gen import gen_candidates_scipy
from botorch.sampling import SobolQMCNormalSampler
from botorch.utils.multi_objective.hypervolume import infer_reference_point
from botorch.utils.multi_objective.pareto import is_non_dominated
from linear_operator.utils.errors import NanError, NotPSDError
from linear_operator.utils.warnings import NumericalWarning
from numpy.typing import NDArray

from autopeft.study.strategies.surrogate import QualityWithCosts, fit_quality

Matrix = NDArray[np.float64]

#: What BoTorch raises where matrices have no inverse in floating-point numbers.
NUMERICAL_ERRORS = (ModelFittingError, NanError, NotPSDError, OptimizationGradientError)
MC_SAMPLES = 64
CHUNK = 64
#: Values further below the lower quartile than so many interquartile ranges are moved there: one
#: disaster would otherwise be all that the surrogate explains.
OUTLIER = 3.0
CLIMB_ITERATIONS = 50


class Gain:
    """Expected gain of hypervolume, or of the one objective, over what has been measured.

    Objectives that are known before a trial are exact, the others a Gaussian process each. The
    hypervolume's reference is the worst of the front in each objective, less a tenth of its range
    (Ishibuchi et al. 2011).
    """

    def __init__(
        self,
        rows: Matrix,
        measured: Matrix,
        known: Matrix,
        pending: tuple[Matrix, Matrix] | None = None,
        *,
        seed: int,
    ) -> None:
        """Fit.

        Args:
            rows: Points that were measured, shape (n, d).
            measured: What was measured there, larger is better, shape (n, k) with k at least 1.
            known: What was known of them before, larger is better, shape (n, c).
            pending: Points that are being measured and what is known of them.
            seed: Of the samples of the posterior.
        """
        torch.manual_seed(seed)
        self._known_scale = _scale(known)
        values = without_outliers(measured)
        mean, deviation = _scale(values)
        y = torch.from_numpy((values - mean) / deviation)
        x = torch.from_numpy(rows)
        baseline = torch.from_numpy(self._inputs(rows, known))
        with _quiet():
            fitted = fit_quality(x, y)
            n_known = known.shape[1]
            model = QualityWithCosts(fitted, n_known) if n_known else fitted
            waiting = torch.from_numpy(self._inputs(*pending)) if pending else None
            sampler = SobolQMCNormalSampler(torch.Size([MC_SAMPLES]), seed=seed)
            if y.shape[1] + n_known == 1:
                self._function: AcquisitionFunction = qLogNoisyExpectedImprovement(
                    model, baseline, sampler, X_pending=waiting, cache_root=False
                )
            else:
                everything = torch.cat([y, -baseline[:, x.shape[1] :]], dim=1)
                front = everything[is_non_dominated(everything)]
                self._function = logei.qLogNoisyExpectedHypervolumeImprovement(
                    model,
                    ref_point=infer_reference_point(front),
                    X_baseline=baseline,
                    sampler=sampler,
                    X_pending=waiting,
                    prune_baseline=True,
                    cache_root=False,
                )

    def of(self, rows: Matrix, known: Matrix) -> Matrix:
        """Return the logarithm of the gain of each point, shape (n,)."""
        inputs = torch.from_numpy(self._inputs(rows, known)).unsqueeze(1)
        with _quiet(), torch.no_grad():
            values = torch.cat([self._function(chunk) for chunk in inputs.split(CHUNK)])
        result: Matrix = values.numpy()
        return result

    def climb(self, row: Matrix, fixed: Sequence[int]) -> Matrix:
        """Return the row that is best in the neighbourhood of one; nothing must be known.

        Args:
            row: Where to start, shape (d,); it is returned where the gain has no gradient, as may
                be right beside points that were measured.
            fixed: Columns that stay as they are.
        """
        start = torch.from_numpy(row)[None, None]
        # BoTorch insists on telling of searches along a line that end early; the point is good.
        with _quiet(), warnings.catch_warnings(record=True):
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

    def _inputs(self, rows: Matrix, known: Matrix) -> Matrix:
        """Return rows with their costs behind them, smaller is better and of unit spread."""
        mean, deviation = self._known_scale
        inputs: Matrix = np.concatenate([rows, (mean - known) / deviation], axis=1)
        return inputs


def without_outliers(measured: Matrix) -> Matrix:
    """Return values, larger is better, with those that are not finite or far too low moved up.

    Args:
        measured: Shape (n, k).
    """
    columns = []
    for column in measured.T:
        finite = column[np.isfinite(column)]
        low, high = np.percentile(finite, [25, 75]) if len(finite) else (0.0, 0.0)
        floor = low - OUTLIER * (high - low)
        if not high > low:
            floor = finite.min(initial=0.0)
        ceiling = finite.max(initial=floor)
        columns.append(np.clip(np.nan_to_num(column, nan=floor, posinf=math.inf), floor, ceiling))
    return np.stack(columns, axis=1)


def _scale(values: Matrix) -> tuple[Matrix, Matrix]:
    """Return mean and standard deviation of each column; 1 where all are the same."""
    deviation = values.std(axis=0)
    return values.mean(axis=0), np.where(deviation > 0, deviation, 1.0)


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        for category in (BotorchWarning, NumericalWarning):
            warnings.simplefilter("ignore", category)
        yield
