"""The surrogate: a Gaussian process for what is measured, joined with what is known exactly."""

import math
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, get_args

import torch
from botorch.acquisition.multi_objective import logei
from botorch.exceptions.errors import ModelFittingError, OptimizationGradientError
from botorch.fit import fit_fully_bayesian_model_nuts, fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.fully_bayesian import SaasFullyBayesianSingleTaskGP
from botorch.models.map_saas import EnsembleMapSaasSingleTaskGP
from botorch.models.model import Model
from botorch.models.transforms import Standardize
from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
from botorch.posteriors import Posterior, TransformedPosterior
from botorch.posteriors.fully_bayesian import MCMC_DIM
from gpytorch.mlls import ExactMarginalLogLikelihood
from linear_operator.utils.errors import NanError, NotPSDError
from torch import Tensor

from autopeft.errors import MissingPackageError, UnknownNameError
from autopeft.study.strategies.outcome import Outcome
from autopeft.study.strategy import Surrogate

# BoTorch 0.18 would compile a C++ kernel before the first candidate: up to a minute where there is
# a compiler, other rounding where there is none, and a compilation that is interrupted leaves a
# lock behind on which every later search waits for ever.
logei._load_attempted = True  # noqa: SLF001 - there is no public switch

#: What BoTorch raises where matrices have no inverse in floating-point numbers.
NUMERICAL_ERRORS = (ModelFittingError, NanError, NotPSDError, OptimizationGradientError)
#: Iterations of the fit. Nearly all fits end long before; one on a handful of noiseless points
#: can go on for half a minute without getting better.
MAX_ITERATIONS = 200
#: The fit also ends where an iteration gains less than this share of the likelihood: after half of
#: the time that BoTorch's 2e-9 takes, with the same errors on trainings that were not seen.
ENOUGH = 1e-6
#: Iterations of the fit of the ensemble, which has four processes at once.
ENSEMBLE_ITERATIONS = 50
#: How sparse each member of the ensemble is made: the quantiles of the half-Cauchy distribution
#: that BoTorch draws them from, so that equal data give an equal model.
SPARSITIES = tuple(0.1 * math.tan(math.pi / 2 * eighths / 8) for eighths in (1, 3, 5, 7))
#: Steps of the Markov chain, and how many samples of it are kept.
NUTS_WARMUP, NUTS_SAMPLES, NUTS_THINNING = 128, 128, 16


def check_surrogate(surrogate: Surrogate) -> None:
    """Check that there is a surrogate and what it needs, before anything is tried.

    Raises:
        UnknownNameError: If there is no such surrogate.
        MissingPackageError: If `saas-nuts` is asked for and jax or numpyro is missing.
    """
    if surrogate not in get_args(Surrogate):
        raise UnknownNameError("surrogate", str(surrogate), get_args(Surrogate))
    if surrogate == "saas-nuts":
        for package in ("jax", "numpyro"):
            if find_spec(package) is None:
                raise MissingPackageError(package, "The surrogate saas-nuts", "nuts")


def fit_quality(X: Tensor, y: Tensor, surrogate: Surrogate = "matern", seed: int = 0) -> Model:
    """Fit a Gaussian process; repeated points tell it how noisy measurements are.

    Args:
        X: Features, shape (n, d), in [0, 1].
        y: Qualities, shape (n, k).
        surrogate: `matern`: a Matern-5/2 kernel with BoTorch's dimension-scaled priors. `saas`:
            four of them with priors that let few dimensions matter (Eriksson and Jankowiak 2021,
            arXiv 2103.00349), at the most probable parameters. `saas-nuts`: the same prior with
            parameters sampled by NUTS, as in the paper; needs jax and numpyro. Where several
            outputs are modelled, `matern` is taken, because the others have one.
        seed: Of the Markov chain.
    """
    outcome = Standardize(m=y.shape[-1])
    if surrogate == "matern" or y.shape[-1] > 1:
        outputs = torch.Size([y.shape[-1]]) if y.shape[-1] > 1 else torch.Size()
        # BoTorch's own kernel, a squared exponential, is too sure where nothing was measured.
        kernel = get_covar_module_with_dim_scaled_prior(
            X.shape[-1], batch_shape=outputs, use_rbf_kernel=False
        )
        model = SingleTaskGP(X, y, covar_module=kernel, outcome_transform=outcome)
        # Several outputs are fitted side by side, by an optimiser without this option.
        ends = {} if y.shape[-1] > 1 else {"ftol": ENOUGH}
        return most_probable(model, maxiter=MAX_ITERATIONS, **ends)
    if surrogate == "saas":
        taus = torch.tensor(SPARSITIES, dtype=X.dtype)
        ensemble = EnsembleMapSaasSingleTaskGP(X, y, num_taus=len(taus), taus=taus)
        return most_probable(ensemble, maxiter=ENSEMBLE_ITERATIONS)
    sampled = SaasFullyBayesianSingleTaskGP(X, y, outcome_transform=outcome)
    fit_fully_bayesian_model_nuts(
        sampled,
        warmup_steps=NUTS_WARMUP,
        num_samples=NUTS_SAMPLES,
        thinning=NUTS_THINNING,
        disable_progbar=True,
        seed=seed,
    )
    result: Model = sampled
    return result


def most_probable(model: SingleTaskGP, **limits: float) -> SingleTaskGP:
    """Return a model fitted to its most probable parameters.

    Args:
        model: A Gaussian process.
        limits: When SciPy's optimiser ends: `maxiter` iterations, or one that gains less than the
            share `ftol` of the likelihood.
    """
    fit_gpytorch_mll(
        ExactMarginalLogLikelihood(model.likelihood, model),
        optimizer_kwargs={"options": limits},
    )
    return model


class QualityWithCosts(Model):
    """Joint model of (quality, -cost_1, ...): the costs are columns of the input, exact.

    A list of a Gaussian process and a deterministic model would say the same, but the samplers
    of BoTorch 0.18 refuse its posterior.
    """

    def __init__(self, quality: Model, n_costs: int, outcome: Outcome) -> None:
        """Take the parts.

        Args:
            quality: Model of the scores of quality.
            n_costs: So many of the last columns of the input are costs; the others are features.
            outcome: What qualities the scores stand for.
        """
        super().__init__()
        self.quality = quality
        self._n_costs = n_costs
        self._outcome = outcome
        self._is_ensemble = quality._is_ensemble  # noqa: SLF001 - BoTorch asks each model for it

    @property
    def num_outputs(self) -> int:
        """What the Gaussian process gives, and the costs."""
        return int(self.quality.num_outputs) + self._n_costs

    @property
    def batch_shape(self) -> torch.Size:
        """Batch shape of the Gaussian process."""
        return self.quality.batch_shape

    def posterior(
        self,
        X: Tensor,
        output_indices: list[int] | None = None,  # noqa: ARG002 - all outputs are joint
        observation_noise: bool | Tensor = False,  # noqa: FBT001, FBT002, ARG002 - BoTorch's signature
        posterior_transform: Callable[[Posterior], Posterior] | None = None,
        **_: Any,
    ) -> Posterior:
        """Return the posterior at X of shape (batch, q, d + costs): (batch, q, 1 + costs).

        Of an ensemble, the members come before the last two dimensions. The mean is the quality of
        the mean score, the variance that of the score: exact are the samples alone.
        """
        costs = -X[..., -self._n_costs :]
        if self._is_ensemble:
            costs = costs.unsqueeze(MCMC_DIM)

        def joined(scores: Tensor) -> Tensor:
            shape = (*scores.shape[:-1], self._n_costs)
            return torch.cat([self._outcome.measured(scores), costs.expand(shape)], dim=-1)

        posterior = TransformedPosterior(
            posterior=self.quality.posterior(X[..., : -self._n_costs]),
            sample_transform=joined,
            mean_transform=lambda mean, _: joined(mean),
            variance_transform=lambda _, variance: torch.cat(
                [variance, torch.zeros_like(costs).expand(*variance.shape[:-1], self._n_costs)],
                dim=-1,
            ),
        )
        return posterior_transform(posterior) if posterior_transform else posterior
