"""A search space of ours in a study of Optuna's: what is suggested fits, and is known before."""

import math

import numpy as np
import optuna
import pytest
from optuna.exceptions import ExperimentalWarning

from autopeft import AutoPeftSampler
from autopeft.errors import RequestError, SpaceError
from autopeft.study.strategies.optuna_space import OptunaSpace
from tests.contracts.test_strategies import LIMIT, candidates

# With `method` or targets of a single value, with masks, and with all methods.
SPACES = ["default", "autopeft-paper", "lora", "adapters"]


def objective(space: OptunaSpace, trial: optuna.Trial) -> tuple[float, float]:
    params = space.suggest(trial)
    rate = math.log10(space.configuration(params).training.learning_rate)
    size = space.adapter_params(params)
    return 0.1 * math.log10(max(size, 1)) - 0.05 * abs(rate + 2.5), size


@pytest.mark.parametrize("name", SPACES)
def test_what_is_suggested_fits_and_is_new(name: str) -> None:
    space = OptunaSpace(candidates(name))
    sampler = AutoPeftSampler(
        space, known_objectives={1: space.adapter_params}, n_startup_trials=5, seed=0
    )
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    study.optimize(lambda trial: objective(space, trial), n_trials=6)
    assert all(t.state == optuna.trial.TrialState.COMPLETE for t in study.trials)
    assert all(t.values[1] <= LIMIT for t in study.trials)
    assert len({space.key(t.params) for t in study.trials}) == 6


@pytest.mark.parametrize("name", SPACES)
def test_points_and_parameters_say_the_same(name: str) -> None:
    space = OptunaSpace(candidates(name))
    rng = np.random.default_rng(0)
    drawn = space.draw(0)
    for _ in range(20):
        params = next(drawn)
        assert space.holds(params)
        assert space.distributions.keys() >= params.keys()
        frozen = optuna.trial.FixedTrial(params)
        assert space.suggest(frozen) == params  # type: ignore[arg-type]
        near = [n for n in (*space.neighbours(params, rng), space.nearby(params, rng, 0.1)) if n]
        assert near
        assert all(space.holds(n) for n in near)
    assert not space.holds({})


def test_parameters_that_are_no_point() -> None:
    space = OptunaSpace(candidates())
    params = next(space.draw(0))
    assert space.configuration({**params, "of the objective": 3}) == space.configuration(params)
    changed = {name: value for name, value in params.items() if name != "learning_rate_multiple"}
    wrong = {
        "'method' is missing": {},
        "'learning_rate_multiple' is missing": changed,
        "'method' takes lora, .*, and is 'foo'": {**params, "method": "foo"},
        "'learning_rate_multiple' takes 0.25 to 8, log, and is 9": {
            **params,
            "learning_rate_multiple": 9,
        },
    }
    for message, given in wrong.items():
        assert not space.holds(given)
        for known in (space.configuration, space.adapter_params):
            with pytest.raises(SpaceError, match=f"no point of the space 'default': {message}"):
                known(given)


def test_layers_that_are_all_off_are_no_point() -> None:
    space = OptunaSpace(candidates("autopeft-paper"))
    params = next(space.draw(0))
    switches = {name: 2 if "[" in name else value for name, value in params.items()}
    with pytest.raises(SpaceError, match="takes a switch for each of 2 layers, and is"):
        space.configuration(switches)


def test_other_samplers_prune_what_does_not_fit() -> None:
    space = OptunaSpace(candidates(limit=200))
    study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=optuna.samplers.RandomSampler(seed=0)
    )
    study.optimize(lambda trial: objective(space, trial), n_trials=10)
    complete = [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
    assert len(complete) < 10
    assert all(t.values[1] <= 200 for t in complete)


@pytest.mark.parametrize("fixed", [{"method": "lora"}, {"method": "lora", "rank": 4}])
def test_a_space_that_another_sampler_fixes_in_part_is_refused(fixed: dict[str, object]) -> None:
    """What fits the budget depends on all of a point."""
    space = OptunaSpace(candidates())
    with pytest.warns(ExperimentalWarning):
        sampler = optuna.samplers.PartialFixedSampler(fixed, AutoPeftSampler(space, seed=0))
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    with pytest.raises(RequestError, match=f"whole, and {', '.join(fixed)} is fixed"):
        study.optimize(lambda trial: objective(space, trial), n_trials=1)
