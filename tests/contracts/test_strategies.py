"""One suite for every strategy."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autopeft.cost.budget import ParamBudget
from autopeft.cost.candidates import CandidateSpace
from autopeft.cost.cost import Cost
from autopeft.errors import MissingPackageError
from autopeft.models.spec import inspect_model
from autopeft.space.configuration import Configuration, Value
from autopeft.space.schema import shipped_spaces
from autopeft.study.objective import ReferencePoint, parse_objectives
from autopeft.study.strategies.bayesian import BayesianStrategy
from autopeft.study.strategies.optuna_samplers import OptunaStrategy
from autopeft.study.strategy import Strategy
from autopeft.trials.trial import RungReport, TrialRecord, TrialResult, TrialSpec, TrialStatus
from tests.spaces import space_of
from tests.tiny import build

LIMIT = 3_000
OBJECTIVES = parse_objectives("quality,params")
NAMES = ["bayesian", "random", "tpe", "nsga2"]
SPEC = inspect_model(build("bert", "meta"))


def candidates(space: str = "default", limit: int = LIMIT) -> CandidateSpace:
    text = shipped_spaces()[space].read_text()
    budget = ParamBudget(text=str(limit), limit=limit)
    return CandidateSpace(space_of(text, SPEC.n_layers), SPEC, budget)


def reference(space: CandidateSpace) -> ReferencePoint:
    smallest = float(space.adapter_params(space.smallest()) or 1)
    return ReferencePoint.between(OBJECTIVES, (1.0, smallest), (0.0, float(space.budget.limit)))


def strategy(name: str, space: CandidateSpace, seed: int = 0) -> Strategy:
    if name == "bayesian":
        return BayesianStrategy(
            space,
            OBJECTIVES,
            reference(space),
            lambda p: [float(space.adapter_params(p) or 0)],
            seed=seed,
            n_initial=5,
            pool=96,
        )
    return OptunaStrategy(name, space, OBJECTIVES, seed)


def truth(space: CandidateSpace, record: TrialRecord) -> float:
    """A quality that grows with size and prefers one method and one learning rate."""
    rate = np.log10(record.spec.configuration.training.learning_rate)
    size = np.log10(record.cost.adapter_params) / np.log10(space.budget.limit)
    bonus = 0.1 * (record.spec.configuration.method == "lora")
    return float(0.4 + 0.3 * size + bonus - 0.1 * abs(rate + 2.5))


def asked(
    space: CandidateSpace, number: int, chosen: Strategy, records: list[TrialRecord]
) -> TrialRecord:
    candidate = chosen.ask(records, number)
    assert candidate is not None
    assert space.space.contains(candidate.assignment)
    params = space.adapter_params(candidate.assignment)
    assert params is not None
    cost = Cost(
        adapter_params=params, head_params=1, base_params=SPEC.base_params, peak_memory_bytes=1
    )
    spec = TrialSpec(
        number=number,
        configuration=space.configuration(candidate.assignment),
        rungs=(1.0,),
        epochs=1,
        seed=0,
    )
    return TrialRecord(
        spec=spec,
        assignment=candidate.assignment,
        cost=cost,
        reports=(),
        result=None,
        quality_metric="accuracy",
        notes=candidate.notes,
    )


def ended(record: TrialRecord, quality: float | None, fidelity: float = 1.0) -> TrialRecord:
    fields = {name: getattr(record, name) for name in TrialRecord.__dataclass_fields__}
    if quality is None:
        return TrialRecord(**{**fields, "result": TrialResult(status=TrialStatus.NAN)})
    report = RungReport(
        rung=0,
        step=1,
        fidelity=fidelity,
        metrics={"accuracy": quality},
        eval_loss=1.0 - quality,
        train_loss=1.0,
        seconds=1.0,
        last=fidelity == 1.0,
    )
    status = TrialStatus.COMPLETE if fidelity == 1.0 else TrialStatus.STOPPED
    return TrialRecord(**{**fields, "reports": (report,), "result": TrialResult(status=status)})


def run(
    name: str,
    n: int,
    seed: int = 0,
    outcome: Callable[[TrialRecord], TrialRecord] | None = None,
    space: CandidateSpace | None = None,
) -> list[TrialRecord]:
    space = space or candidates()
    chosen = strategy(name, space, seed)
    records: list[TrialRecord] = []
    for number in range(n):
        record = asked(space, number, chosen, records)
        finish = outcome or (lambda r: ended(r, truth(space, r)))
        records.append(finish(record))
    return records


@pytest.mark.parametrize("name", NAMES)
def test_candidates_keep_the_budget_and_never_repeat(name: str) -> None:
    records = run(name, 14)
    assert all(r.cost.adapter_params <= LIMIT for r in records)
    assert len({r.spec.configuration.digest for r in records}) == 14


def test_a_gaussian_process_of_optuna_keeps_the_budget() -> None:
    """One ask: it takes too long for more."""
    space = candidates()
    records = run("random", 11)
    record = asked(space, 11, strategy("gp", space), records)
    assert record.cost.adapter_params <= LIMIT
    assert record.spec.configuration.digest not in {r.spec.configuration.digest for r in records}


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides(name: str) -> None:
    first, again, other = run(name, 9), run(name, 9), run(name, 9, seed=1)
    assert [r.assignment for r in first] == [r.assignment for r in again]
    assert [r.assignment for r in first] != [r.assignment for r in other]


@pytest.mark.parametrize("name", NAMES)
def test_a_strategy_keeps_nothing_that_the_records_do_not_hold(name: str) -> None:
    """Resumed at any trial, it asks for what it would have asked for without the interruption."""
    space = candidates()
    straight = run(name, 10)
    for cut in (1, 4, 7, 9):
        fresh = strategy(name, space)
        resumed = asked(space, cut, fresh, straight[:cut])
        assert resumed.assignment == straight[cut].assignment


@pytest.mark.parametrize("name", NAMES)
def test_running_failed_and_stopped_trials_are_borne(name: str) -> None:
    space = candidates()

    def mixed(record: TrialRecord) -> TrialRecord:
        kind = record.number % 4
        if kind == 0:
            return record  # still running
        if kind == 1:
            return ended(record, None)
        return ended(record, truth(space, record), fidelity=1.0 if kind == 2 else 1 / 3)

    assert len({r.spec.configuration.digest for r in run(name, 12, outcome=mixed)}) == 12


@pytest.mark.parametrize("name", NAMES)
def test_equal_qualities_are_borne(name: str) -> None:
    assert len(run(name, 9, outcome=lambda r: ended(r, 0.5))) == 9


@pytest.mark.parametrize("name", NAMES)
def test_a_small_space_is_exhausted(name: str) -> None:
    text = """
schema_version: 1
name: small
hyperparameters:
  method: {type: choice, choices: [ia3, ln_tuning]}
  targets: {type: choice, choices: [attn.k+norm.attn, attn.v+norm.mlp]}
  layers: {type: choice, choices: [all, "last:1"]}
"""
    budget = ParamBudget(text="3k", limit=3_000)
    space = CandidateSpace(space_of(text, 2), SPEC, budget)
    records = run(name, 8, space=space)
    assert len({r.spec.configuration.digest for r in records}) == 8
    assert strategy(name, space).ask(records, 8) is None


def test_layer_masks_are_searched() -> None:
    space = candidates("lora")
    for name in NAMES:
        records = run(name, 8, space=space)
        assert len({r.assignment["layers"] for r in records}) > 1


def test_the_start_holds_a_ladder_of_ranks() -> None:
    first, second = run("bayesian", 2)
    component, lower = (
        first.spec.configuration.components[0],
        second.spec.configuration.components[0],
    )
    assert component.method == lower.method == "lora"
    assert component.targets == lower.targets
    assert int(component.param("rank")) > int(lower.param("rank"))
    larger = dict(first.assignment) | {"rank": int(component.param("rank")) + 1}
    assert not candidates().fits(larger)


def test_a_surrogate_without_its_packages_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autopeft.study.strategies.surrogate.find_spec", lambda _: None)
    space = candidates()
    with pytest.raises(MissingPackageError, match="jax"):
        BayesianStrategy(
            space,
            OBJECTIVES,
            reference(space),
            lambda _: [1.0],
            seed=0,
            n_initial=5,
            surrogate="saas-nuts",
        )


def test_a_modelled_point_says_what_it_promises() -> None:
    records = run("bayesian", 9)
    modelled = [r for r in records if r.notes["origin"] == "nehvi"]
    assert len(modelled) == 4
    assert all(0 < r.notes["gain"] < 1 for r in modelled)


def test_a_quality_of_zero_is_a_quality() -> None:
    """The one that was not 0 is the best trial, and points around it are looked at first."""
    records = [ended(record, 0.5 if record.number == 3 else 0.0) for record in run("bayesian", 5)]
    chosen = strategy("bayesian", candidates())
    assert isinstance(chosen, BayesianStrategy)
    best = chosen._best_first(records)
    assert len(best) == 5
    assert best[0] == records[3].assignment or best[1] == records[3].assignment
    assert chosen.ask(records, 5).notes["origin"] == "nehvi"  # type: ignore[union-attr]


@pytest.mark.parametrize("status", [TrialStatus.NAN, TrialStatus.OOM_GPU, TrialStatus.LOST])
def test_where_trials_diverge_is_learned(status: TrialStatus) -> None:
    """The higher the learning rate the better, until nothing is left; lost trials say nothing."""
    space = candidates("lora")

    def outcome(record: TrialRecord) -> TrialRecord:
        rate = np.log10(record.spec.configuration.training.learning_rate)
        if rate > -2.6:
            return replace(record, result=TrialResult(status=status))
        return ended(record, float(0.2 * (rate + 5)))

    later = run("bayesian", 15, outcome=outcome, space=space)[-6:]
    n_failed = sum(r.status is status for r in later)
    assert n_failed >= 4 if status is TrialStatus.LOST else n_failed <= 3


def test_how_a_running_trial_ends_is_learned() -> None:
    """It had shown a rung, and then ran out of memory: the model before is not the model now."""
    space = candidates()
    records = run("bayesian", 8, space=space)
    going_on = strategy("bayesian", space)
    shown = ended(asked(space, 8, going_on, records), 0.9, fidelity=1 / 3)
    going_on.ask([*records, replace(shown, result=None)], 9)
    broke = replace(shown, result=TrialResult(status=TrialStatus.OOM_GPU))
    resumed = strategy("bayesian", space)
    assert going_on.ask([*records, broke], 9) == resumed.ask([*records, broke], 9)


def test_a_search_goes_on_where_the_best_points_do_not_fit_after_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Memory is bounded where points are looked for, and exact where one is chosen."""
    space = candidates()
    records, refused = run("bayesian", 8, space=space), []

    def trained(point: Mapping[str, Value]) -> Configuration | None:
        if len(refused) < 4:
            refused.append(point)
            return None
        return space.configuration(point)

    monkeypatch.setattr(space, "trained", trained)
    assert strategy("bayesian", space).ask(records, 8) is not None
    assert len(refused) == 4


@pytest.mark.slow
def test_the_surrogate_beats_random_where_there_is_something_to_learn() -> None:
    from autopeft.study.pareto import hypervolume

    space = candidates()

    def volume(name: str, seed: int) -> float:
        records = run(name, 20, seed)
        scaled = [
            reference(space).scaled([-(r.quality or 0.0), np.log10(r.cost.adapter_params)])
            for r in records
        ]
        return hypervolume(np.stack(scaled), reference(space).position)

    ours = [volume("bayesian", seed) for seed in range(2)]
    random = [volume("random", seed) for seed in range(2)]
    assert np.mean(ours) > np.mean(random)


def test_no_candidate_waits_for_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted, a compilation would leave a lock that stops every later search."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "extensions"))
    assert run("bayesian", 6)[-1].notes["origin"] == "nehvi"
    assert "logei_fused_ext" not in sys.modules
    assert not (tmp_path / "extensions").exists()
