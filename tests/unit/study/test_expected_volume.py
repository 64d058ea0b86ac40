"""The sum over steps is the mean of what sampled points add to the hypervolume, on any scale."""

import numpy as np
import pytest
import torch

from autopeft.study.pareto import hypervolume
from autopeft.study.strategies.expected_volume import ExpectedVolume
from autopeft.study.strategies.outcome import Outcome

#: Most are alike, a few are far better.
SKEWED = Outcome.of(np.array([0.0, 0.02, 0.05, 0.05, 0.06, 0.1, 0.4, 0.9]))


@pytest.mark.parametrize("outcome", [Outcome.unchanged(), SKEWED], ids=["unchanged", "skewed"])
@pytest.mark.parametrize("n_known", [1, 2])
def test_it_is_the_mean_gain_of_samples(n_known: int, outcome: Outcome) -> None:
    rng = np.random.default_rng(n_known)
    reference = [0.0] * (1 + n_known)
    # Some of the points are below the reference, some share a place.
    front = rng.uniform(-0.2, 1.0, (8, 1 + n_known))
    front[3, 1:] = front[5, 1:]
    known = np.vstack([rng.uniform(-0.2, 1.2, (6, n_known)), front[2:3, 1:]])
    mean, deviation = rng.uniform(0, 1, len(known)), np.array([0.3, 0.1, 0.5, 0.2, 0.0, 0.3, 0.2])
    volume = ExpectedVolume(front[:, 0], front[:, 1:], reference, outcome)
    found = volume.of(mean, deviation, known)
    before = hypervolume(-front, reference)
    n_samples = 2_000
    for i in range(len(known)):
        scores = mean[i] + deviation[i] * rng.standard_normal(n_samples)
        gains = [
            hypervolume(-np.vstack([front, [q, *known[i]]]), reference) - before
            for q in outcome.measured(torch.from_numpy(scores)).tolist()
        ]
        error = 5 * np.std(gains) / np.sqrt(n_samples) + 1e-6
        assert found[i] == pytest.approx(np.mean(gains), abs=error)
