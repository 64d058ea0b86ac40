import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from autopeft.study.objective import parse_objectives
from autopeft.study.pareto import front
from autopeft.study.uncertainty import (
    PRIOR_DEGREES,
    estimates,
    front_probabilities,
    measured_configurations,
    seed_variance,
)
from autopeft.trials.trial import TrialRecord, TrialStatus
from tests.records import record, repeat

OBJECTIVES = parse_objectives("quality,params")
GRID = st.integers(0, 6)


def seeded(values: Sequence[Sequence[float]], params: Sequence[int] = ()) -> list[TrialRecord]:
    """Return configurations with a quality for each seed, all first seeds first."""
    firsts = [
        record(i, [0.1, qualities[0]], params[i] if params else 100 * (i + 1))
        for i, qualities in enumerate(values)
    ]
    records = list(firsts)
    for first, qualities in zip(firsts, values, strict=True):
        for quality in qualities[1:]:
            records.append(repeat(first, len(records), quality))
    return records


QUALITIES = st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=4), min_size=1, max_size=6)


@given(QUALITIES)
def test_the_pooled_variance_is_that_of_an_analysis_of_variance(values: list[list[float]]) -> None:
    pooled = seed_variance(seeded(values))
    within = sum((len(v) - 1) * np.var(v, ddof=1) for v in values if len(v) > 1)
    assert pooled.degrees == sum(len(v) for v in values) - len(values)
    if pooled.degrees:
        assert pooled.variance == pytest.approx(within / pooled.degrees)
    else:
        assert pooled.variance is None


def test_only_complete_trainings_count() -> None:
    first = record(0, [0.1, 0.6], 100)
    failed = repeat(first, 1, None)
    stopped = record(2, [0.9], 50, TrialStatus.STOPPED)
    running = record(3, [0.9, 0.9], 50, None)
    found = measured_configurations([running, stopped, failed, first])
    assert [m.trials for m in found] == [(first,)]
    assert seed_variance([first, failed, stopped, running]).degrees == 0


def test_without_repeats_the_error_is_the_evaluations_own() -> None:
    found = estimates(seeded([[0.6], [0.7]]), OBJECTIVES, lambda q: q / 10)
    assert [e.error for e in found] == pytest.approx([0.06, 0.07])
    assert [e.n_seeds for e in found] == [1, 1]


def test_repeats_overrule_the_evaluations_error() -> None:
    """Many seeds that differ little: the error is theirs, and falls with their number."""
    values = [[0.60, 0.61] * 50, [0.70, 0.71]]
    many, few = estimates(seeded(values), OBJECTIVES, lambda _: 0.05)
    sd = math.sqrt((PRIOR_DEGREES * 0.05**2 + 51 * 2 * 0.005**2) / (PRIOR_DEGREES + 100))
    assert many.error == pytest.approx(sd / 10)
    assert few.error == pytest.approx(sd / math.sqrt(2))
    assert few.error < 0.01
    assert many.measured.mean == pytest.approx(0.605)


def test_equal_accuracies_of_two_seeds_do_not_pass_for_no_noise() -> None:
    found = estimates(seeded([[0.6, 0.6], [0.6005, 0.6005]]), OBJECTIVES, lambda _: 0.02)
    assert found[0].error > 0.005
    assert 0.3 < found[1].probability < 0.7


@given(st.lists(st.tuples(GRID, GRID, GRID), min_size=1, max_size=10))
def test_without_noise_the_chances_are_the_front(points: list[tuple[int, int, int]]) -> None:
    values = np.array(points, dtype=float)
    chances = front_probabilities(values[:, 0], np.zeros(len(points)), values[:, 1:], 5)
    expected = front(np.column_stack([-values[:, 0], values[:, 1:]]))
    assert np.flatnonzero(chances == 1.0).tolist() == expected
    assert set(chances) <= {0.0, 1.0}


@pytest.mark.parametrize(("gap", "degrees"), [(0.0, 4), (0.02, 4), (-0.03, 30), (0.05, 9)])
def test_the_chance_of_two_is_in_closed_form(gap: float, degrees: int) -> None:
    """The difference of two means with a common variance follows a t distribution."""
    errors = np.array([0.02, 0.01])
    costs = np.array([[1.0], [2.0]])
    cheap, dear = front_probabilities(np.array([0.5, 0.5 + gap]), errors, costs, degrees)
    assert cheap == 1.0
    assert dear == pytest.approx(stats.t.cdf(gap / math.hypot(*errors), degrees), abs=0.035)


@given(st.lists(st.tuples(st.floats(0, 1), GRID), min_size=2, max_size=8), st.floats(0.01, 0.2))
def test_a_better_mean_has_no_smaller_chance(points: list[tuple[float, int]], error: float) -> None:
    means, costs = np.array(points).T
    errors = np.full(len(points), error)
    before = front_probabilities(means, errors, costs[:, None], 6)
    better = means + np.eye(len(points))[0] * 0.1
    after = front_probabilities(better, errors, costs[:, None], 6)
    assert after[0] >= before[0]
    assert (after[1:] <= before[1:]).all()


def simulated(rng: np.random.Generator) -> tuple[list[TrialRecord], set[int]]:
    """Return a study of twelve configurations, its front repeated, and its true front."""
    cost = np.sort(rng.uniform(0, 1, 12))
    truth = 0.6 + 0.1 * cost + 0.05 * rng.standard_normal(12)
    noise = 0.017 * np.exp(rng.uniform(np.log(0.5), np.log(1.5)))
    values = [[t + noise * rng.standard_normal()] for t in truth]
    for i in front(np.column_stack([[-v[0] for v in values], cost])):
        values[i].append(truth[i] + noise * rng.standard_normal())
    params = (1000 * 10**cost).astype(int).tolist()
    return seeded(values, params), set(front(np.column_stack([-truth, cost])))


@given(st.lists(st.tuples(GRID, GRID), min_size=1, max_size=12), st.sampled_from([0.0, 0.7]))
def test_the_pass_over_one_cost_is_the_comparison_of_all_pairs(
    points: list[tuple[int, int]], error: float
) -> None:
    means = np.array([quality for quality, _ in points], dtype=float)
    costs = np.array([[cost] for _, cost in points], dtype=float)
    errors = np.full(len(means), error)
    once = front_probabilities(means, errors, costs, 3)
    twice = front_probabilities(means, errors, np.hstack([costs, costs]), 3)
    assert once.tolist() == twice.tolist()


def test_chances_are_what_they_say_where_the_truth_is_known() -> None:
    """Of what is on the front with a chance of a third, about a third is."""
    rng = np.random.default_rng(0)
    chances, truths = [], []
    for _ in range(150):
        records, on_front = simulated(rng)
        found = estimates(records, OBJECTIVES, lambda _: 0.017)
        chances += [e.probability for e in found]
        truths += [e.number in on_front for e in found]
    chance, truth = np.array(chances), np.array(truths)
    for low, high in ((0.0, 0.1), (0.1, 0.35), (0.35, 0.65), (0.65, 0.9), (0.9, 1.01)):
        chosen = (chance >= low) & (chance < high)
        assert chosen.sum() > 50
        assert truth[chosen].mean() == pytest.approx(chance[chosen].mean(), abs=0.13)
    # The share that single measurements call the front is told apart worse than by the chances.
    assert np.mean((chance - truth) ** 2) < 0.06
