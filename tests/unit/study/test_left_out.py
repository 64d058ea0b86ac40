import numpy as np
import pytest

from autopeft.study.strategies.left_out import LeftOut, _centred


def trials(n: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return points, qualities and trial numbers; each trial has one to three rungs."""
    rng = np.random.default_rng(seed)
    numbers = [i for i in range(n) for _ in range(1 + i % 3)]
    places = rng.random((n, 3))[numbers]
    rows = np.column_stack([places, rng.random(len(numbers))])
    return rows, np.sin(3 * rows[:, 0]) + rows[:, 1] + 0.05 * rng.normal(size=len(rows)), numbers


@pytest.mark.parametrize("with_start", [False, True])
def test_it_is_what_a_process_without_the_trial_predicts(with_start: bool) -> None:
    """Conditioned on the others by the usual formula; a zero column leaves the mean in place."""
    rows, measured, numbers = trials()
    left_out = LeftOut(rows, measured, numbers)
    start = rows[:, 0] ** 2 if with_start else None
    means, deviations = left_out.predicted(start, 2.0)
    y = (measured - measured.mean()) / measured.std()
    whole = y if start is None else y - left_out.slope(start, 2.0) * start
    precision, variance = left_out._most_probable(whole)
    kernel = np.linalg.inv(precision)
    for i in range(12):
        one, others = (np.flatnonzero(np.equal(numbers, i) == here) for here in (True, False))
        begin = 0.0 * y if start is None else left_out.slope(start, 2.0, without=i) * start
        rest = y - begin
        mean = rest[0] - _centred(rest, precision)[0]
        weights = kernel[np.ix_(one, others)] @ np.linalg.inv(kernel[np.ix_(others, others)])
        expected = begin[one] + mean + weights @ (rest[others] - mean)
        spread = kernel[np.ix_(one, one)] - weights @ kernel[np.ix_(others, one)]
        assert means[i] == pytest.approx(expected[-1])
        assert deviations[i] == pytest.approx(np.sqrt(variance * spread[-1, -1]))


def test_what_is_measured_of_a_trial_does_not_tell_its_prediction() -> None:
    rows, measured, numbers = trials()
    changed = measured.copy()
    changed[0] += 0.1  # the first trial has one measurement
    before, after = (LeftOut(rows, y, numbers) for y in (measured, changed))
    for one, y in ((before, measured), (after, changed)):
        one._natural = one.predicted()[0][0] * y.std() + y.mean()
    # The mean of all is shared, so a tenth of the change may come through.
    assert abs(after._natural - before._natural) < 0.02


def test_shuffled_qualities_are_not_predicted() -> None:
    """Which a process with a length for each column believes to do."""
    rows, measured, numbers = trials(40)
    found = []
    for seed in range(8):
        shuffled = np.random.default_rng(seed).permutation(measured)
        left_out = LeftOut(rows, shuffled, list(range(len(rows))))
        found.append(np.corrcoef(left_out.predicted()[0], left_out.truth)[0, 1])
    assert np.mean(found) < 0.1
    left_out = LeftOut(rows, measured, numbers)
    assert np.corrcoef(left_out.predicted()[0], left_out.truth)[0, 1] > 0.8


def test_a_slope_follows_the_trials_and_begins_at_one() -> None:
    rows, measured, numbers = trials()
    left_out = LeftOut(rows, measured, numbers)
    scaled = (measured - measured.mean()) / measured.std()
    assert left_out.slope(scaled) == pytest.approx(1.0)
    assert left_out.slope(-scaled) == 0.0
    assert left_out.slope(np.zeros(len(rows))) == 1.0
    assert 0.3 < left_out.slope(2 * scaled) < 0.6
