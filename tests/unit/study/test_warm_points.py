from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autopeft.cost.budget import ParamBudget
from autopeft.cost.candidates import CandidateSpace
from autopeft.models.spec import inspect_model
from autopeft.study.objective import parse_objectives
from autopeft.study.past import PastStudy, PastTrial
from autopeft.study.strategies import portfolio
from autopeft.study.strategies.drawing import untried_sobol
from autopeft.study.strategies.placing import place
from autopeft.study.strategies.source import Sources
from autopeft.study.strategies.warm_points import _as_known, goes_on, stretched, warm_points
from autopeft.trials.trial import TrialStatus
from tests.records import record
from tests.spaces import space_of
from tests.tiny import build

SPECS = {family: inspect_model(build(family, "meta")) for family in ("bert", "llama")}
OBJECTIVES = parse_objectives("quality,params")


def candidates(space: str, limit: int, family: str = "bert") -> CandidateSpace:
    spec = SPECS[family]
    budget = ParamBudget(text=str(limit), limit=limit)
    return CandidateSpace(space_of(space, spec.n_layers), spec, budget)


def study_of(space: CandidateSpace, n: int = 14) -> PastStudy:
    """Return a study in which larger is better and the learning rate matters."""
    points = untried_sobol(space, 0, set())
    trials = []
    for number in range(n):
        point = next(points)
        size = space.adapter_params(point) or 0
        rate = float(point["learning_rate_multiple"])
        quality = 0.5 + 0.1 * size / space.budget.limit - 0.01 * abs(rate - 3.0)
        configuration = space.configuration(point)
        measured = ((1.0, quality),)
        trials.append(
            PastTrial(
                number=number,
                configuration=configuration,
                adapter_params=size,
                measured=measured,
            )
        )
    return PastStudy(
        name="past",
        study_id="past",
        task="t",
        model="m",
        n_layers=space.spec.n_layers,
        base_params=space.spec.base_params,
        trials=tuple(trials),
    )


@pytest.mark.parametrize(("space_name", "family"), [("default", "bert"), ("lora", "llama")])
def test_in_the_same_space_a_point_is_what_it_was(
    space_name: str, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on a wide decoder, whose trials had the rates of one already."""
    monkeypatch.setattr(portfolio, "_WIDE", SPECS["llama"].hidden_size)
    space = candidates(space_name, 3_000, family)
    study = study_of(space)
    points = warm_points(Sources([study], space), space)
    assert len(points) > 2
    before = {trial.configuration.digest for trial in study.trials}
    assert {space.configuration(point).digest for point in points} <= before


@pytest.mark.parametrize(("space", "limit"), [("default", 300), ("lora", 3_000)])
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_elsewhere_it_fits_the_space_and_the_budget(space: str, limit: int, family: str) -> None:
    here = candidates(space, limit, family)
    study = study_of(candidates("default", 30_000)).usable_for(here.space.methods)
    points = warm_points(Sources([study], here), here)
    assert points
    for point in points:
        assert here.space.contains(point)
        assert here.fits(point)
    digests = [here.configuration(point).digest for point in points]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("name", ["everything", "autopeft-paper"])
def test_a_configuration_of_the_space_is_found_again(name: str) -> None:
    space = candidates(name, 6_000)
    seen = set()
    for point in untried_sobol(space, 0, set(), most_draws=200):
        configuration = space.configuration(point)
        if not configuration.components or configuration.method in seen:
            continue
        seen.add(configuration.method)
        layers = {layer for part in configuration.components for layer in part.layers}
        placed = place(_as_known(configuration, space.spec), space, layers=frozenset(layers))
        assert placed is not None, configuration
        assert space.configuration(placed.point) == configuration
    assert len(seen) > (35 if name == "everything" else 3)


@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_layers_lie_where_they_lay(n: int, n_here: int, data: st.DataObject) -> None:
    layers = data.draw(st.sets(st.integers(0, n - 1), min_size=1))
    here = stretched(layers, n, n_here)
    assert here
    assert here <= set(range(n_here))
    if n_here >= n:
        # Nothing is lost on a deeper model.
        assert stretched(set(here), n_here, n) >= layers or n_here % n
    if n_here == n:
        assert here == layers
    assert stretched(set(range(n)), n, n_here) == set(range(n_here))


class Silent(Sources):
    """Sources that expect the same of all points."""

    def __init__(self) -> None:
        pass

    def expected(self, points: Sequence[object], _: Sequence[float]) -> np.ndarray:
        return np.zeros((len(points), 1))


SILENT = Silent()


def test_points_of_a_study_go_on_until_one_is_beaten() -> None:
    ladder = record(0, [0.5, 0.6], 1_000)
    warm = {"origin": "warm"}
    better = record(1, [0.5, 0.7], 1_000, notes=warm)
    cheaper = record(2, [0.5, 0.55], 100, notes=warm)
    worse = record(3, [0.5, 0.55], 2_000, notes=warm)
    running = record(4, [0.4], 2_000, None, notes=warm)
    failed = record(5, [], 10, TrialStatus.NAN, notes=warm)
    assert goes_on([], OBJECTIVES, SILENT)
    assert goes_on([ladder, better, cheaper, running], OBJECTIVES, SILENT)
    assert not goes_on([ladder, better, worse], OBJECTIVES, SILENT)
    assert not goes_on([ladder, failed], OBJECTIVES, SILENT)
    # Points of studies may beat each other.
    assert goes_on([ladder, better, replace(worse, cost=better.cost)][1:], OBJECTIVES, SILENT)


@pytest.mark.parametrize("sign", [1, -1])
def test_studies_that_rank_trials_wrong_are_left(sign: int) -> None:
    """Nothing dominates here: small trials are the bad ones, or the good ones are small."""
    space = candidates("default", 3_000)
    study = study_of(space)
    points = untried_sobol(space, 0, set())  # those of the study
    sources = Sources([study], space)
    records = []
    for number, trial in enumerate(study.trials[:4]):
        quality = 0.5 + sign * (trial.measured[0][1] - 0.5)
        notes = {"origin": "warm"}
        size = trial.adapter_params
        records.append(record(number, [0.4, quality], size, assignment=next(points), notes=notes))
    assert goes_on(records[:2], OBJECTIVES, sources)
    assert goes_on(records, OBJECTIVES, sources) == (sign > 0)
