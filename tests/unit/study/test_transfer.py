"""Earlier studies: a useful one is followed, a useless one is not."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from autopeft.study.pareto import hypervolume
from autopeft.study.past import PastStudy, PastTrial
from autopeft.study.strategies.bayesian import BayesianStrategy
from autopeft.study.strategies.gain import fitted, quiet
from autopeft.study.strategies.left_out import LeftOut
from autopeft.study.strategies.source import Source, Sources, normal_scores
from autopeft.study.strategies.transfer import Transferred, fitted_from, slopes_of
from autopeft.study.strategy import Surrogate
from autopeft.trials.trial import TrialRecord
from tests.contracts.test_strategies import (
    OBJECTIVES,
    SPEC,
    asked,
    candidates,
    ended,
    reference,
    run,
    truth,
)

Change = Callable[[np.ndarray], np.ndarray]
SPACE = candidates()


Known = dict[str, Source]


@pytest.fixture(scope="module")
def random_trials() -> list[TrialRecord]:
    return run("random", 24, seed=100)


@pytest.fixture(scope="module")
def known(random_trials: list[TrialRecord]) -> Known:
    """Studies of random trials of the same truth, of its opposite and of none, fitted once."""
    changes = {"same": lambda q: q, "inverted": inverted, "shuffled": shuffled, "noise": noise}
    return {name: Source(past(random_trials, change)) for name, change in changes.items()}


def past(records: Sequence[TrialRecord], change: Change = lambda q: q) -> PastStudy:
    """Return trials as an earlier study, their qualities changed."""
    changed = change(np.array([r.quality for r in records]))
    trials = [
        replace(PastTrial.of(r), measured=((1.0, float(q)),))
        for r, q in zip(records, changed, strict=True)
    ]
    return PastStudy(
        name="past",
        study_id="past",
        task="t",
        model="m",
        n_layers=SPEC.n_layers,
        base_params=SPEC.base_params,
        trials=tuple(trials),
    ).usable_for(SPACE.space.methods)


def inverted(qualities: np.ndarray) -> np.ndarray:
    return 1 - qualities


def shuffled(qualities: np.ndarray) -> np.ndarray:
    return np.random.default_rng(3).permutation(qualities)


def noise(qualities: np.ndarray) -> np.ndarray:
    return np.random.default_rng(4).random(len(qualities))


def strategy(seed: int, *sources: Source) -> BayesianStrategy:
    chosen = BayesianStrategy(
        SPACE,
        OBJECTIVES,
        reference(SPACE),
        lambda point: [float(SPACE.adapter_params(point) or 0)],
        seed=seed,
        n_initial=6,
        pool=48,
        past=[source.study for source in sources],
    )
    chosen._sources.each = sources  # which are fitted already
    return chosen


def search(n: int, seed: int, *sources: Source) -> list[TrialRecord]:
    chosen = strategy(seed, *sources)
    records: list[TrialRecord] = []
    for number in range(n):
        record = asked(SPACE, number, chosen, records)
        records.append(ended(record, truth(SPACE, record)))
    return records


def curve(records: Sequence[TrialRecord]) -> list[float]:
    """Return the hypervolume after each trial."""
    there = reference(SPACE)
    scaled = [there.scaled([-(r.quality or 0), np.log10(r.cost.adapter_params)]) for r in records]
    return [hypervolume(np.stack(scaled[: n + 1]), there.position) for n in range(len(scaled))]


def moved(records: Sequence[TrialRecord], *sources: Source) -> np.ndarray:
    """Return how far each source moves what is expected, in deviations of the qualities."""
    points = [r.assignment for r in records]
    rows = np.stack([strategy(0)._domain.row(point) for point in points])
    joined = Sources([], SPACE)
    joined.each = sources
    expected = joined.expected(points, [1.0] * len(points))
    left_out = LeftOut(rows, np.array([r.quality for r in records]), range(len(records)))
    slopes = slopes_of(left_out, expected, seed=0) / left_out.deviation
    result: np.ndarray = (slopes * expected).std(axis=0)
    return result


def test_a_useful_study_is_followed_and_useless_ones_are_not(known: Known) -> None:
    """Sixteen random trials are few: some rank themselves as well as the useful study does."""
    followed = []
    for seed in range(10):
        here = run("random", 16, seed=seed)
        same, *useless = moved(here, *known.values())
        followed.append(same > 0.3)
        assert sum(useless) < 0.1
        # Without a useful one beside them, noise may look like something for a while.
        for name, most in {"inverted": 0.0, "shuffled": 0.2, "noise": 0.2}.items():
            assert moved(here, known[name])[0] <= most
    assert sum(followed) >= 5


def test_a_search_with_a_useful_study_is_ahead(known: Known) -> None:
    cold, warm = search(8, 0), search(8, 0, known["same"])
    origins = [r.notes["origin"] for r in warm]
    assert origins[:3] == ["ladder", "ladder", "warm"]
    assert origins[-2:] == ["nehvi"] * 2
    assert np.mean(curve(warm)) > 1.01 * np.mean(curve(cold))
    useless = search(8, 0, known["inverted"])
    assert sum(r.notes["origin"] == "warm" for r in useless) < 3
    assert curve(useless)[-1] > 0.97 * curve(cold)[-1]


def test_a_resumed_search_asks_for_the_same(known: Known) -> None:
    """Also when it takes the earlier study from what was written of it."""
    straight = search(7, 1, known["same"])
    written = PastStudy.from_dict(known["same"].study.to_dict())
    again = strategy(1, Source(written))
    assert asked(SPACE, 6, again, straight[:6]).assignment == straight[6].assignment


@pytest.mark.parametrize("surrogate", ["matern", "saas"])
def test_the_model_starts_from_what_sources_expect(surrogate: Surrogate) -> None:
    """Where they explain everything, nothing is left to learn: also far from the trials."""
    rng = np.random.default_rng(0)
    rows = rng.random((14, 3))
    expected = np.column_stack([4 * rows[:, 0] - 2, rng.normal(size=14)])
    quality = 0.7 + 0.05 * expected[:, [0]]
    inputs = np.column_stack([rows, expected])
    model = fitted_from(inputs, 2, quality, range(14), surrogate, seed=0)
    far = torch.tensor([[[0.5, 0.5, 0.5, 3.0, 0.0]]], dtype=torch.double)
    with quiet():
        mean = model.posterior(far).mean.mean().item()
    assert mean == pytest.approx(0.85, abs=0.02)


@pytest.mark.parametrize("surrogate", ["matern", "saas"])
def test_without_worth_it_is_the_model_of_a_cold_search(surrogate: Surrogate) -> None:
    rng = np.random.default_rng(0)
    rows, test = rng.random((10, 3)), torch.from_numpy(rng.random((1, 5, 3)))
    quality = np.sin(5 * rows[:, [0]])
    alone = fitted(rows, quality, surrogate, seed=0)
    beside = Transferred(alone, np.zeros(1))
    with_column = torch.cat([test, torch.ones(1, 5, 1, dtype=torch.double)], dim=-1)
    for posterior, other in ((alone.posterior(test), beside.posterior(with_column)),):
        torch.testing.assert_close(posterior.mean, other.mean)
        torch.testing.assert_close(posterior.variance, other.variance)


@pytest.mark.parametrize("surrogate", ["matern", "saas"])
@pytest.mark.parametrize("shape", [(5,), (7, 1), (2, 3)], ids=str)
def test_each_point_is_moved_by_what_sources_expect_of_it(
    surrogate: Surrogate, shape: tuple[int, ...]
) -> None:
    """However the points are arranged: `n` alone, batches of one, batches of several."""
    rng = np.random.default_rng(0)
    rows = rng.random((10, 3))
    alone = fitted(rows, np.sin(5 * rows[:, [0]]), surrogate, seed=0)
    points = torch.from_numpy(rng.random((*shape, 3)))
    expected = torch.from_numpy(rng.normal(size=(*shape, 1)))
    moved = Transferred(alone, np.array([0.3])).posterior(torch.cat([points, expected], dim=-1))
    n_members = 4 if surrogate == "saas" else 1
    found = moved.mean.reshape(*shape[:-1], n_members, shape[-1])
    there = alone.posterior(points).mean.reshape(*shape[:-1], n_members, shape[-1])
    start = 0.3 * expected.reshape(*shape[:-1], 1, shape[-1])
    torch.testing.assert_close(found, there + start)


def test_scores_depend_on_ranks_alone() -> None:
    values = np.array([0.2, 0.9, 0.5, 0.5])
    np.testing.assert_allclose(normal_scores(values), normal_scores(values**3))
    np.testing.assert_allclose(normal_scores(values), -normal_scores(-values), atol=1e-12)


def test_a_study_knows_nothing_of_methods_that_it_never_tried(
    random_trials: list[TrialRecord],
) -> None:
    without = [r for r in random_trials if r.spec.configuration.method != "lora"]
    sources = Sources([past(without)], SPACE)
    points = [r.assignment for r in random_trials]
    found = sources.expected(points, [1.0] * len(points))[:, 0]
    for one, expected in zip(random_trials, found, strict=True):
        assert (expected == 0.0) == (one.spec.configuration.method == "lora")


@pytest.mark.parametrize("n", [3, 30])
def test_equal_qualities_say_nothing(n: int, random_trials: list[TrialRecord]) -> None:
    study = past(random_trials[:n], lambda q: np.full_like(q, 0.5))
    points = [r.assignment for r in random_trials]
    found = Sources([study], SPACE).expected(points, [1.0] * len(points))
    np.testing.assert_allclose(found, 0.0, atol=1e-9)
