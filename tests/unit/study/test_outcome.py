"""The scale of quality: it keeps the order, can be undone, and its expectations are exact."""

import numpy as np
import pytest
import torch
from scipy.stats import norm, spearmanr

from autopeft.study.strategies.outcome import Matrix, Outcome


def skewed(n: int, seed: int = 0) -> Matrix:
    """Return values of which most are alike and some are far better."""
    return np.random.default_rng(seed).lognormal(0.0, 1.5, n)


def back(outcome: Outcome, scores: Matrix) -> Matrix:
    result: Matrix = outcome.measured(torch.from_numpy(scores)).numpy()
    return result


@pytest.mark.parametrize("n", [2, 3, 5, 40])
def test_scores_keep_the_order_and_can_be_undone(n: int) -> None:
    values = np.append(skewed(n), skewed(n)[0])  # one of them twice
    outcome = Outcome.of(values)
    assert spearmanr(outcome.scored(values), values)[0] == pytest.approx(1.0)
    assert back(outcome, outcome.scored(values)) == pytest.approx(values)
    scores = np.linspace(-6, 6, 101)
    assert (np.diff(back(outcome, scores)) > 0).all(), "it rises beyond both ends too"
    assert outcome.scored(back(outcome, scores)) == pytest.approx(scores)


def test_scores_are_nearer_to_normal_than_values() -> None:
    """What is best lies fewer standard deviations above the rest."""
    values = skewed(60)
    scores = Outcome.of(values).scored(values)

    def furthest(x: Matrix) -> float:
        return float((x.max() - x.mean()) / x.std())

    assert furthest(scores) < 0.85 * furthest(values)
    assert furthest(scores) > norm.ppf(59 / 60), "how far apart values are still counts"


@pytest.mark.parametrize("factor", [1.0, 50.0])
def test_a_change_of_units_changes_no_score(factor: float) -> None:
    values = skewed(20)
    moved = Outcome.of(factor * values - 3.0).scored(factor * values - 3.0)
    assert moved == pytest.approx(Outcome.of(values).scored(values))


@pytest.mark.parametrize("n", [4, 6])  # NumPy's deviation of six times 0.7 is not 0
def test_equal_values_have_one_score(n: int) -> None:
    outcome = Outcome.of(np.full(n, 0.7))
    assert outcome.rises.tolist() == [1.0, 1.0]
    assert np.ptp(outcome.scored(np.full(3, 0.7))) == 0
    assert back(outcome, outcome.scored(np.array([0.2, 0.7, 0.9]))) == pytest.approx(
        [0.2, 0.7, 0.9]
    )


def test_the_excess_is_the_mean_of_samples() -> None:
    values = skewed(15)
    outcome = Outcome.of(values)
    mean, deviation = np.array([0.0, 1.0, 2.0, -1.0, 0.5]), np.array([1.0, 0.5, 0.1, 2.0, 0.0])
    heights = np.array([-1.0, values.min(), np.median(values), values.max(), 2 * values.max()])
    noise = np.random.default_rng(1).standard_normal(100_000)
    sampled = back(outcome, mean[:, None] + deviation[:, None] * noise)
    above = np.maximum(sampled[:, :, None] - heights, 0.0)
    error = 5 * above.std(axis=1) / len(noise) ** 0.5 + 1e-6
    found = outcome.excess(mean, deviation, heights)
    assert (np.abs(found - above.mean(axis=1)) <= error).all()


def test_on_its_own_scale_the_excess_is_that_of_a_normal_variable() -> None:
    heights, mean, deviation = np.array([-0.5, 0.0, 0.7]), np.array([0.3]), np.array([0.4])
    distance = (mean - heights) / deviation
    expected = deviation * (norm.pdf(distance) + distance * norm.cdf(distance))
    assert Outcome.unchanged().excess(mean, deviation, heights)[0] == pytest.approx(expected)
