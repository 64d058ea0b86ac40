"""The sampler where studies are unlike its benchmarks: what Optuna takes, it takes."""

import math
import pickle
import warnings
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from autopeft import AutoPeftSampler
from autopeft.study.strategies.columns import Columns
from autopeft.study.strategies.optuna_space import OptunaSpace
from autopeft.study.strategies.trial_points import POINT, noted, planned
from tests.contracts.test_strategies import candidates
from tests.unit.study.test_sampler import sampler

CHOICES = (0, 1, 2)


def _drawn(study: optuna.Study) -> list[tuple[Any, ...]]:
    return [tuple(sorted(t.params.items(), key=lambda item: item[0])) for t in study.trials]


@pytest.mark.parametrize("directions", [["minimize"], ["minimize", "maximize"]])
def test_choices_alone_may_be_asked_for(directions: list[str]) -> None:
    def objective(trial: optuna.Trial) -> Any:
        values = [trial.suggest_categorical(f"c{i}", CHOICES) for i in range(2)]
        return sum(values) if len(directions) == 1 else (sum(values), values[0])

    study = optuna.create_study(directions=directions, sampler=sampler())
    study.optimize(objective, n_trials=9)
    assert len(set(_drawn(study))) == 9


def test_a_number_may_say_how_many_parameters_there_are() -> None:
    """No condition is seen, but a point with parameters that nobody asks for is no new one."""

    def objective(trial: optuna.Trial) -> float:
        n = trial.suggest_int("n", 1, 3)
        return n + sum(trial.suggest_categorical(f"u{i}", [16, 32]) for i in range(n))

    study = optuna.create_study(sampler=sampler())
    study.optimize(objective, n_trials=14)
    assert len(set(_drawn(study)[5:])) >= 8
    assert len(set(_drawn(study))) >= 12


def test_what_has_one_value_is_part_of_a_point() -> None:
    """Functions of the user see it, where it is there."""
    space = {
        "rank": IntDistribution(1, 64),
        "layers": IntDistribution(12, 12),
        "kind": CategoricalDistribution(["a", "b"]),
        "only": CategoricalDistribution(["x"]),
    }
    seen: list[dict[str, Any]] = []

    def size(params: Any) -> float:
        seen.append(params)
        return float(params["rank"] * params["layers"])

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        rank, layers = trial.suggest_int("rank", 1, 64), trial.suggest_int("layers", 12, 12)
        if trial.suggest_categorical("kind", ["a", "b"]) == "a":
            trial.suggest_categorical("only", ["x"])
        return math.log(rank), float(rank * layers)

    known: dict[str, Any] = {
        "known_objectives": {1: size},
        "constraints": lambda p: p["layers"] - 12,
    }
    for given in ({"space": space}, {}):
        study = optuna.create_study(
            directions=["maximize", "minimize"], sampler=sampler(**known, **given)
        )
        study.optimize(objective, n_trials=8)
        assert {t.params["layers"] for t in study.trials} == {12}
    assert {p["layers"] for p in seen} == {12}
    assert any("only" not in p for p in seen)


def test_a_running_trial_of_which_little_is_known_is_left_out() -> None:
    """It hung before it asked for all, or another sampler chooses for it."""
    space = {"x": FloatDistribution(0, 1), "n": IntDistribution(1, 9)}
    study = optuna.create_study(
        directions=["maximize", "minimize"],
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    study.optimize(lambda t: (t.suggest_float("x", 0, 1), t.suggest_int("n", 1, 9)), n_trials=6)
    study.ask().suggest_float("x", 0, 1)
    study.sampler = sampler(space=space, known_objectives={1: lambda p: p["n"]})
    assert study.ask(space).params.keys() == {"x", "n"}


def test_what_was_enqueued_is_what_others_see() -> None:
    space = {
        "kind": CategoricalDistribution(["large", "small"]),
        "size": IntDistribution(2, 30),
    }
    study = optuna.create_study(sampler=sampler(space=space))
    study.enqueue_trial({"kind": "small"})
    trial = study.ask()
    suggested = noted({"kind": "large", "size": 28}, space)
    study._storage.set_trial_system_attr(trial._trial_id, POINT, suggested)
    columns = Columns(space, [{"kind": "small"}, {"kind": "large", "size": 3}])
    assert columns.active(planned(study.trials[0], space)) == {"kind": "small"}


def test_a_function_may_change_what_it_gets() -> None:
    space = {"rank": IntDistribution(1, 8)}
    study = optuna.create_study(
        sampler=sampler(space=space, constraints=lambda p: p.pop("rank") - 4)
    )
    study.optimize(lambda t: -t.suggest_int("rank", 1, 8), n_trials=4)
    assert sorted(t.params["rank"] for t in study.trials) == [1, 2, 3, 4]


def test_a_constraint_may_be_broken_without_end() -> None:
    study = optuna.create_study(
        sampler=sampler(
            space={"n": IntDistribution(0, 9)},
            n_startup_trials=10,
            constraints=lambda p: math.inf if p["n"] > 4 else 0,
        )
    )
    study.optimize(lambda t: -t.suggest_int("n", 0, 9), n_trials=10)
    assert sorted(t.params["n"] for t in study.trials) == list(range(10))
    assert {t.params["n"] for t in study.trials[:5]} == set(range(5))


def test_a_step_is_one_value_however_it_was_rounded() -> None:
    study = optuna.create_study(sampler=sampler())
    for x in (0.6, 0.3, 0.7):
        study.enqueue_trial({"x": x})
    study.optimize(lambda t: t.suggest_float("x", 0, 1, step=0.1), n_trials=11)
    assert len({round(t.params["x"], 6) for t in study.trials}) == 11


@pytest.mark.parametrize("choices", [[int, float], list(np.arange(3)), [None, True, "a", 1.5]])
def test_choices_may_be_anything(choices: list[Any]) -> None:
    def objective(trial: optuna.Trial) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna's, that databases could not keep them
            place = choices.index(trial.suggest_categorical("c", choices))
        return trial.suggest_float("x", 0, 1) + place

    study = optuna.create_study(sampler=sampler())
    study.optimize(objective, n_trials=7)
    assert len(study.trials) == 7


def test_it_can_be_pickled_with_its_study() -> None:
    """Optuna's own way to keep a study is joblib."""
    space = OptunaSpace(candidates("default"))
    study = optuna.create_study(
        directions=["maximize", "minimize"],
        sampler=AutoPeftSampler(space, known_objectives={1: space.adapter_params}, seed=0),
    )
    study.ask(space.distributions)
    again = pickle.loads(pickle.dumps(study))
    params = next(space.draw(0))
    assert space.adapter_params(params) > 0
    assert again.ask(space.distributions).params == study.ask(space.distributions).params


def test_the_seed_alone_decides() -> None:
    """Nothing follows from the state of torch's generator, and it stays as it was."""

    def objective(trial: optuna.Trial) -> float:
        noise = np.random.default_rng(trial.number).normal(scale=0.3)
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_int("y", 0, 9)
        return (x - 0.4) ** 2 + abs(y - trial.suggest_categorical("z", [1, 7])) / 9 + noise

    found = []
    for seed in (1, 2):
        study = optuna.create_study(sampler=sampler())
        torch.manual_seed(seed)
        study.optimize(objective, n_trials=11)
        found.append(_drawn(study))
        drawn = torch.rand(1)
        torch.manual_seed(seed)
        assert torch.equal(drawn, torch.rand(1))
    assert found[0] == found[1]


def test_threads_leave_warnings_as_they_were() -> None:
    before, shown = list(warnings.filters), warnings.showwarning
    study = optuna.create_study(sampler=sampler(n_startup_trials=3))
    study.optimize(
        lambda t: (t.suggest_float("x", 0, 1) - 0.3) ** 2 + t.suggest_float("y", 0, 1),
        n_trials=16,
        n_jobs=8,
    )
    assert list(warnings.filters) == before
    assert warnings.showwarning is shown
    assert len(set(_drawn(study))) == 16


@pytest.mark.parametrize("scale", [1.7e308, 1e300, 1e-200])
def test_values_may_be_as_large_or_small_as_numbers_are(scale: float) -> None:
    def objective(trial: optuna.Trial) -> tuple[float, float]:
        x, n = trial.suggest_float("x", 0, 1), trial.suggest_int("n", 1, 9)
        return (scale if trial.number % 5 < 2 else x * min(scale, 1.0)), n

    study = optuna.create_study(
        directions=["minimize", "minimize"], sampler=sampler(known_objectives={1: lambda p: p["n"]})
    )
    study.optimize(objective, n_trials=9)
    assert len(set(_drawn(study))) == 9


def test_settings_of_torch_are_the_users() -> None:
    try:
        torch.set_default_device("meta")
        torch.set_grad_enabled(False)
        study = optuna.create_study(sampler=sampler())
        study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=7)
        assert torch.zeros(1).device.type == "meta"
        assert not torch.is_grad_enabled()
    finally:
        torch.set_default_device("cpu")
        torch.set_grad_enabled(True)


def test_a_parameter_that_the_space_does_not_name_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    study = optuna.create_study(sampler=sampler(space={"lr": FloatDistribution(0, 1)}))
    study.optimize(lambda t: t.suggest_float("learning_rate", 0, 1), n_trials=3)
    said = [r.getMessage() for r in caplog.records if r.name.startswith("autopeft")]
    assert said == [
        "'learning_rate' is drawn at random: the space of AutoPeftSampler does not name it."
    ]
