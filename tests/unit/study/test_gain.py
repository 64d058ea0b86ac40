"""Expected gains: the exact sum and the samples agree, and equal trials give equal gains."""

import numpy as np
import pytest
import torch
from botorch.models import SingleTaskGP
from gpytorch.kernels import MaternKernel
from scipy.stats import spearmanr

from autopeft.study.strategies.gain import Gain, Matrix, fitted
from autopeft.study.strategies.outcome import Outcome
from autopeft.study.strategy import Surrogate

REFERENCE = [-2.0, -0.2]


def trials(n: int, noise: float) -> tuple[Matrix, Matrix, Matrix]:
    """Return rows, known objectives and noisy measurements that pull against these."""
    rng = np.random.default_rng(0)
    rows = rng.random((n, 3))
    measured = rows[:, :1] - (rows[:, 1:2] - 0.5) ** 2 + noise * rng.standard_normal((n, 1))
    return rows, 1.0 - rows[:, :1], measured


@pytest.mark.parametrize("surrogate", ["matern", "saas"])
@pytest.mark.parametrize("bent", [False, True], ids=["unchanged", "bent"])
def test_the_glance_ranks_points_as_samples_do(surrogate: Surrogate, bent: bool) -> None:
    rows, known, measured = trials(14, 0.02)
    outcome = Outcome.of(measured[:, 0]) if bent else Outcome.unchanged()
    model = fitted(rows, outcome.scored(measured), surrogate, 0)
    gain = Gain(model, (rows, known), REFERENCE, seed=0, outcome=outcome)
    others = np.random.default_rng(1).random((60, 3))
    glance = gain.glance(others, 1.0 - others[:, :1])
    assert glance is not None
    sampled = np.exp(gain.of(others, 1.0 - others[:, :1]))
    assert spearmanr(glance, sampled)[0] > 0.9
    assert sampled[glance.argmax()] > 0.8 * sampled.max()


def test_equal_trials_give_equal_gains_whatever_was_drawn_before() -> None:
    """Many noisy trials: which of them may be on the front is a matter of samples."""
    rows, known, measured = trials(60, 0.3)
    model = fitted(rows, measured, "matern", 0)
    found = []
    for before in range(3):
        torch.manual_seed(before)
        gain = Gain(model, (rows, known), REFERENCE, seed=0)
        found.append(gain.of(rows[:8] * 0.9, known[:8]))
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_the_kernel_is_the_one_that_is_named(n_outputs: int) -> None:
    """BoTorch's own is another."""
    rows, _, measured = trials(14, 0.02)
    model = fitted(rows, np.repeat(measured, n_outputs, axis=1), "matern", 0)
    assert isinstance(model, SingleTaskGP)
    assert isinstance(model.covar_module, MaternKernel)
    assert model.covar_module.nu == 2.5
