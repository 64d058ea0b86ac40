"""The sampler in studies of all kinds: it finds what is there, and comes to the same again."""

import math
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend

from autopeft import AutoPeftSampler
from autopeft.errors import MissingPackageError, RequestError, UnknownNameError
from autopeft.study.strategies.gain import without_outliers

N_STARTUP = 5


def sampler(**settings: Any) -> AutoPeftSampler:
    return AutoPeftSampler(**{"seed": 0, "n_startup_trials": N_STARTUP, **settings})


def cost_of(params: Any) -> float:
    return float(params["size"] if params["kind"] == "large" else 1)


def two_objectives(trial: optuna.Trial) -> tuple[float, float]:
    params = {"kind": trial.suggest_categorical("kind", ["large", "small"])}
    if params["kind"] == "large":
        params["size"] = trial.suggest_int("size", 1, 30)
    params["rate"] = trial.suggest_float("rate", 1e-4, 1.0, log=True)
    gain = math.log(cost_of(params)) if params["kind"] == "large" else 0.2
    return gain - (math.log10(params["rate"]) + 2) ** 2, cost_of(params)


def test_it_comes_near_the_best() -> None:
    study = optuna.create_study(sampler=sampler())
    study.optimize(lambda t: (t.suggest_float("x", -2, 2) - 0.7) ** 2, n_trials=11)
    assert study.best_value < 1e-2


def test_a_study_that_goes_on_is_one_that_was_not_interrupted() -> None:
    """Also with trials that fail, are pruned, or give nothing that is finite."""

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        first, second = two_objectives(trial)
        if trial.number == 3:
            raise ZeroDivisionError
        return (-math.inf if trial.number == 4 else first), second

    directions = ["maximize", "minimize"]
    known = {"known_objectives": {1: cost_of}}
    straight = optuna.create_study(directions=directions, sampler=sampler(**known))
    straight.optimize(objective, n_trials=10, catch=ZeroDivisionError)
    again = optuna.create_study(directions=directions, sampler=sampler(**known))
    again.optimize(objective, n_trials=7, catch=ZeroDivisionError)
    again.sampler = sampler(**known)
    again.optimize(objective, n_trials=3, catch=ZeroDivisionError)
    assert [t.params for t in again.trials] == [t.params for t in straight.trials]
    params = [tuple(sorted(t.params.items())) for t in straight.trials]
    assert len(set(params)) == len(params)


def test_known_constraints_are_kept() -> None:
    space = {"x": FloatDistribution(0, 1), "n": IntDistribution(1, 100, log=True)}
    study = optuna.create_study(
        sampler=sampler(space=space, constraints=lambda p: [p["n"] - 5, p["x"] - 0.5])
    )
    study.optimize(
        lambda t: -t.suggest_float("x", 0, 1) * t.suggest_int("n", 1, 100, log=True), n_trials=12
    )
    assert all(t.params["n"] <= 5 and t.params["x"] <= 0.5 for t in study.trials)
    assert study.best_value < -2.2


def test_nothing_is_looked_for_beyond_the_reference() -> None:
    """All of x gives a front; with the reference, half of it is of interest."""
    study = optuna.create_study(
        directions=["maximize", "minimize"],
        sampler=sampler(
            reference=[-1.0, 0.5],
            known_objectives={1: lambda p: p["x"]},
            n_startup_trials=4,
        ),
    )
    study.optimize(lambda t: ((x := t.suggest_float("x", 0, 1)) - 1, x), n_trials=8)
    assert max(t.params["x"] for t in study.trials[:4]) > 0.5
    assert max(t.params["x"] for t in study.trials[4:]) < 0.55


def test_a_small_space_is_seen_to_its_end_before_anything_is_repeated() -> None:
    space = {"a": CategoricalDistribution([0, 1, 2]), "b": IntDistribution(0, 2)}
    study = optuna.create_study(sampler=sampler(space=space))
    study.optimize(
        lambda t: t.suggest_categorical("a", [0, 1, 2]) + t.suggest_int("b", 0, 2), n_trials=11
    )
    assert len({tuple(t.params.values()) for t in study.trials[:9]}) == 9


def test_running_trials_are_not_suggested_again() -> None:
    space = {"x": IntDistribution(0, 3), "y": IntDistribution(0, 3)}
    study = optuna.create_study(sampler=sampler(space=space))
    study.optimize(lambda t: t.suggest_int("x", 0, 3) + t.suggest_int("y", 0, 3), n_trials=6)
    running = [study.ask(space) for _ in range(6)]
    points = {tuple(trial.params.values()) for trial in (*study.trials, *running)}
    assert len(points) == 12


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"n_startup_trials": 0}, RequestError, "at least 1"),
        ({"n_startup_trials": "3"}, RequestError, "must be a whole number, at least 1, not '3'"),
        ({"seed": -1}, RequestError, "seed must be a whole number, at least 0, not -1"),
        ({"seed": 1.5}, RequestError, "seed must be a whole number"),
        ({"space": "default"}, RequestError, "what autopeft.search_space returns, not 'default'"),
        ({"known_objectives": [cost_of]}, RequestError, r"as in {1: function}; \[.* does not"),
        ({"surrogate": "mattern"}, UnknownNameError, "did you mean matern"),
        ({"space": {"x": (0, 1)}}, RequestError, r"space\['x'\] must be one of Optuna's"),
        ({"known_objectives": {"size": cost_of}}, RequestError, "'size': .* is no such pair"),
        ({"known_objectives": {1: 3.0}}, RequestError, "1: 3.0 is no such pair"),
        ({"constraints": [1.0]}, RequestError, "constraints must be a function"),
        ({"reference": 1.0}, RequestError, "reference must be a list"),
        ({"reference": [1.0, math.nan]}, RequestError, "reference must be a list"),
    ],
)
def test_wrong_settings_are_named(
    settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        AutoPeftSampler(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"known_objectives": {2: cost_of}}, "objective 2, but the study has 2"),
        ({"known_objectives": {-1: cost_of}}, "objective -1, but the study has 2"),
        ({"known_objectives": {0: cost_of, 1: cost_of}}, "leave at least one"),
        ({"constraints": lambda _: [math.nan]}, r"constraints returned \[nan\] for .*'kind'"),
        ({"constraints": lambda _: "no"}, "constraints returned 'no'"),
        ({"reference": [1.0]}, "reference has 1 numbers, but the study has 2 objectives"),
    ],
)
def test_settings_that_do_not_go_with_the_study_are_named(
    settings: dict[str, Any], message: str
) -> None:
    space = {"kind": CategoricalDistribution(["large", "small"])}
    study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=sampler(space=space, **settings)
    )
    with pytest.raises(RequestError, match=message):
        study.ask(space)


@pytest.mark.parametrize("returned", [math.nan, math.inf, None, "many"])
def test_a_known_objective_that_is_no_number_is_named(returned: Any) -> None:
    space = {"x": FloatDistribution(0, 1)}
    known = {1: lambda _: returned}
    study = optuna.create_study(
        directions=["maximize", "minimize"],
        sampler=sampler(space=space, n_startup_trials=1, known_objectives=known),
    )
    study.add_trial(
        optuna.trial.create_trial(params={"x": 0.5}, distributions=space, values=[0.0, 1.0])
    )
    with pytest.raises(RequestError, match=r"known_objectives\[1\] returned .* for {'x': 0.5}"):
        study.ask(space)


def test_what_a_function_of_the_user_raises_is_shown() -> None:
    space = {"x": FloatDistribution(0, 1)}
    study = optuna.create_study(sampler=sampler(space=space, constraints=lambda p: [p["y"]]))
    with pytest.raises(KeyError, match="y"):
        study.ask(space)


def test_a_constraint_may_be_one_number() -> None:
    space = {"x": FloatDistribution(0, 1)}
    study = optuna.create_study(sampler=sampler(space=space, constraints=lambda p: p["x"] - 0.3))
    assert all(study.ask(space).params["x"] <= 0.3 for _ in range(5))


def test_constraints_that_nothing_keeps_are_broken_least() -> None:
    space = {"n": IntDistribution(0, 50)}
    study = optuna.create_study(sampler=sampler(space=space, constraints=lambda p: [1 + p["n"]]))
    study.optimize(lambda t: -t.suggest_int("n", 0, 50), n_trials=7)
    assert sorted(t.params["n"] for t in study.trials[:N_STARTUP]) == list(range(N_STARTUP))
    assert len({t.params["n"] for t in study.trials}) == 7
    assert max(t.params["n"] for t in study.trials) < 25


def test_a_surrogate_without_its_packages_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autopeft.study.strategies.surrogate.find_spec", lambda _: None)
    with pytest.raises(MissingPackageError, match=r"'jax'.*autopeft\[nuts\]"):
        AutoPeftSampler(surrogate="saas-nuts")


def diverges(trial: optuna.Trial) -> float:
    """Grow up to a rate at which nothing is left."""
    x = trial.suggest_float("x", 0, 1)
    return math.nan if x > 0.6 else x


def test_points_that_break_are_learned_from() -> None:
    """NaN, an error and a pruned trial alike: the best lies right before them."""

    def objective(trial: optuna.Trial) -> float:
        x = diverges(trial)
        if math.isnan(x) and trial.number % 3 == 0:
            raise optuna.TrialPruned
        if math.isnan(x) and trial.number % 3 == 1:
            raise MemoryError
        return x

    space = {"x": FloatDistribution(0, 1)}
    study = optuna.create_study(direction="maximize", sampler=sampler(space=space))
    study.optimize(objective, n_trials=12, catch=MemoryError)
    later = study.trials[-5:]
    assert sum(t.state == optuna.trial.TrialState.COMPLETE for t in later) >= 2
    assert study.best_value > 0.5
    assert len({t.params["x"] for t in study.trials}) == 12


def test_a_trial_that_was_lost_says_nothing_of_its_point() -> None:
    """Its process died: the storage was told so by another, and what it tried is good."""
    space = {"x": FloatDistribution(0, 1)}
    study = optuna.create_study(direction="maximize", sampler=sampler(space=space))
    study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=N_STARTUP)
    lost, again = study.ask(space), study.ask(space)
    for trial in (lost, again):
        state = optuna.trial.TrialState.FAIL
        study._storage.set_trial_state_values(trial._trial_id, state)
    told = study.ask(space)
    assert told.params["x"] == lost.params["x"] > study.best_params["x"]
    study.tell(told, state=optuna.trial.TrialState.FAIL)
    assert study.ask(space).params["x"] < study.best_params["x"]


def test_disasters_do_not_hide_the_rest() -> None:
    values = np.array([[0.9, 0.8, 0.85, 0.7, -1e9, np.nan, -np.inf]]).T
    kept = without_outliers(values)[:, 0]
    assert kept[:4].tolist() == values[:4, 0].tolist()
    assert (kept[4:] == kept.min()).all()
    assert kept.min() > -10


def _storage(kind: str, folder: Path) -> BaseStorage | str:
    if kind == "sqlite":
        return f"sqlite:///{folder}/study.db"
    return JournalStorage(JournalFileBackend(str(folder / "journal.log")))


def _work(kind: str, folder: Path) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(
        study_name="shared",
        storage=_storage(kind, folder),
        sampler=sampler(known_objectives={1: cost_of}),
    )
    study.optimize(two_objectives, n_trials=4)


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("journal", marks=pytest.mark.slow)])
def test_processes_ask_one_storage(kind: str, tmp_path: Path) -> None:
    optuna.create_study(
        study_name="shared", storage=_storage(kind, tmp_path), directions=["maximize", "minimize"]
    )
    # A fork of a process that has run torch may wait for a lock that nobody holds any more.
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for future in [pool.submit(_work, kind, tmp_path) for _ in range(2)]:
            future.result()
    study = optuna.load_study(study_name="shared", storage=_storage(kind, tmp_path))
    assert [t.number for t in study.trials] == list(range(8))
    assert all(t.state.is_finished() for t in study.trials)
