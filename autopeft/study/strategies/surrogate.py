"""The surrogate: a Gaussian process for quality, joined with costs that are known exactly."""

from collections.abc import Callable
from typing import Any

import torch
from botorch.acquisition.multi_objective import logei
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.model import Model
from botorch.models.transforms import Standardize
from botorch.posteriors import Posterior, TransformedPosterior
from gpytorch.mlls import ExactMarginalLogLikelihood
from torch import Tensor

# BoTorch 0.18 would compile a C++ kernel before the first candidate: up to a minute where there is
# a compiler, other rounding where there is none, and a compilation that is interrupted leaves a
# lock behind on which every later search waits for ever.
logei._load_attempted = True  # noqa: SLF001 - there is no public switch

#: Iterations of the fit. Nearly all fits end long before; one on a handful of noiseless points
#: can go on for half a minute without getting better.
MAX_ITERATIONS = 200


def fit_quality(X: Tensor, y: Tensor) -> SingleTaskGP:
    """Fit a Matern-5/2 Gaussian process with BoTorch's dimension-scaled priors.

    Args:
        X: Features, shape (n, d), in [0, 1].
        y: Qualities, shape (n, k).
    """
    model = SingleTaskGP(X, y, outcome_transform=Standardize(m=y.shape[-1]))
    fit_gpytorch_mll(
        ExactMarginalLogLikelihood(model.likelihood, model),
        optimizer_kwargs={"options": {"maxiter": MAX_ITERATIONS}},
    )
    return model


class QualityWithCosts(Model):
    """Joint model of (quality, -cost_1, ...): the costs are columns of the input, exact.

    A list of a Gaussian process and a deterministic model would say the same, but the samplers
    of BoTorch 0.18 refuse its posterior.
    """

    def __init__(self, quality: SingleTaskGP, n_costs: int) -> None:
        """Take the last `n_costs` columns of the input as costs; the others are features."""
        super().__init__()
        self.quality = quality
        self._n_costs = n_costs

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
        """Return the posterior at X of shape (batch, q, d + costs): (batch, q, 1 + costs)."""
        costs = -X[..., -self._n_costs :]

        def joined(samples: Tensor) -> Tensor:
            shape = (*samples.shape[:-1], self._n_costs)
            return torch.cat([samples, costs.expand(shape)], dim=-1)

        posterior = TransformedPosterior(
            posterior=self.quality.posterior(X[..., : -self._n_costs]),
            sample_transform=joined,
            mean_transform=lambda mean, _: joined(mean),
            variance_transform=lambda _, variance: torch.cat(
                [variance, torch.zeros_like(costs)], dim=-1
            ),
        )
        return posterior_transform(posterior) if posterior_transform else posterior
