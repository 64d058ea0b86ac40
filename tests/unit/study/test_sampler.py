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


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        AutoPeftSampler(n_startup_trials=0)
    for known, message in (
        ({2: cost_of}, "objective 2, but the study has 2"),
        ({0: cost_of, 1: cost_of}, "leave at least one"),
    ):
        study = optuna.create_study(
            directions=["maximize", "minimize"], sampler=sampler(known_objectives=known)
        )
        with pytest.raises(ValueError, match=message):
            study.optimize(two_objectives, n_trials=1)


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


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_processes_ask_one_storage(kind: str, tmp_path: Path) -> None:
    optuna.create_study(
        study_name="shared", storage=_storage(kind, tmp_path), directions=["maximize", "minimize"]
    )
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        for future in [pool.submit(_work, kind, tmp_path) for _ in range(2)]:
            future.result()
    study = optuna.load_study(study_name="shared", storage=_storage(kind, tmp_path))
    assert [t.number for t in study.trials] == list(range(8))
    assert all(t.state.is_finished() for t in study.trials)
