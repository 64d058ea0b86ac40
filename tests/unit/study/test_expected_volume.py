"""The sum over steps is the mean of what sampled points add to the hypervolume, on any scale."""

import numpy as np
import pytest
import torch

from autopeft.study.pareto import front, hypervolume
from autopeft.study.strategies.expected_volume import MOST_STEPS, ExpectedVolume
from autopeft.study.strategies.outcome import Outcome

#: Most are alike, a few are far better.
SKEWED = Outcome.of(np.array([0.0, 0.02, 0.05, 0.05, 0.06, 0.1, 0.4, 0.9]))


@pytest.mark.parametrize("outcome", [Outcome.unchanged(), SKEWED], ids=["unchanged", "skewed"])
@pytest.mark.parametrize("n_known", [1, 2])
def test_it_is_the_mean_gain_of_samples(n_known: int, outcome: Outcome) -> None:
    rng = np.random.default_rng(n_known)
    reference = [0.0] * (1 + n_known)
    # Some of the points are below the reference, some share a place.
    seen = rng.uniform(-0.2, 1.0, (8, 1 + n_known))
    seen[3, 1:] = seen[5, 1:]
    known = np.vstack([rng.uniform(-0.2, 1.2, (6, n_known)), seen[2:3, 1:]])
    mean, deviation = rng.uniform(0, 1, len(known)), np.array([0.3, 0.1, 0.5, 0.2, 0.0, 0.3, 0.2])
    volume = ExpectedVolume(seen[:, 0], seen[:, 1:], reference, outcome)
    found = volume.of(mean, deviation, known)
    before = hypervolume(-seen, reference)
    n_samples = 2_000
    for i in range(len(known)):
        scores = mean[i] + deviation[i] * rng.standard_normal(n_samples)
        gains = [
            hypervolume(-np.vstack([seen, [q, *known[i]]]), reference) - before
            for q in outcome.measured(torch.from_numpy(scores)).tolist()
        ]
        error = 5 * np.std(gains) / np.sqrt(n_samples) + 1e-6
        assert found[i] == pytest.approx(np.mean(gains), abs=error)


def test_a_long_front_is_looked_at_coarsely() -> None:
    """With three known objectives each of 300 members of a front would make steps of its own."""
    rng = np.random.default_rng(0)
    points = np.abs(rng.standard_normal((300, 4)))
    points /= np.linalg.norm(points, axis=1, keepdims=True)  # nothing dominates anything
    candidates, ones = np.abs(rng.standard_normal((50, 3))) / 2, np.ones(50)
    reference, plain = [0.0] * 4, Outcome.unchanged()
    volume = ExpectedVolume(points[:, 0], points[:, 1:], reference, plain)
    assert len(volume._heights) <= MOST_STEPS
    coarse = volume.of(0.5 * ones, 0.2 * ones, candidates)
    fewer = ExpectedVolume(points[:12, 0], points[:12, 1:], reference, plain)
    empty = ExpectedVolume(np.zeros(1), np.zeros((1, 3)), reference, plain)
    assert (coarse <= empty.of(0.5 * ones, 0.2 * ones, candidates) + 1e-9).all()
    # It still knows of the front: a twelfth of its members leaves more to be gained.
    assert coarse.sum() < fewer.of(0.5 * ones, 0.2 * ones, candidates).sum()


def test_what_is_dominated_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform(0, 1, (40, 3))
    chosen = front(-points)
    mean, deviation, known = (
        rng.uniform(0, 1, 20),
        rng.uniform(0, 0.3, 20),
        rng.uniform(0, 1, (20, 2)),
    )
    all_of_them = ExpectedVolume(points[:, 0], points[:, 1:], [0.0] * 3, SKEWED)
    on_front = ExpectedVolume(points[chosen, 0], points[chosen, 1:], [0.0] * 3, SKEWED)
    assert len(chosen) < 40
    assert all_of_them.of(mean, deviation, known) == pytest.approx(
        on_front.of(mean, deviation, known)
    )
