"""Known objectives that take long are computed for a few points alone."""

from collections.abc import Mapping

import numpy as np
import pytest

from autopeft.cost.cost import Cost
from autopeft.space.configuration import Value
from autopeft.study.objective import ReferencePoint, parse_objectives
from autopeft.study.strategies.bayesian import SLOW_FINALISTS, BayesianStrategy
from autopeft.study.strategies.candidate_domain import CandidateDomain
from autopeft.study.strategies.known import KnownCosts
from autopeft.study.strategies.local_search import ROUNDS
from autopeft.trials.trial import RungReport, TrialRecord, TrialResult, TrialSpec, TrialStatus
from tests.contracts.test_strategies import LIMIT, SPEC, candidates

SPACE = candidates()
OBJECTIVES = parse_objectives("quality,params,memory")


def memory(point: Mapping[str, Value]) -> float:
    """A memory that follows from size and method, as real ones do."""
    extra = 500 if point["method"] == "lora" else 0
    return 10_000.0 + 3 * (SPACE.adapter_params(point) or 0) + extra


def exact(point: Mapping[str, Value]) -> list[float]:
    return [float(SPACE.adapter_params(point) or 0), memory(point)]


def record_of(number: int, point: Mapping[str, Value]) -> TrialRecord:
    cost = Cost(
        adapter_params=int(exact(point)[0]),
        head_params=1,
        base_params=SPEC.base_params,
        peak_memory_bytes=int(memory(point)),
    )
    configuration = SPACE.configuration(point)
    quality = 0.3 + 0.1 * float(np.log10(cost.adapter_params))
    report = RungReport(
        rung=0,
        step=1,
        fidelity=1.0,
        metrics={"accuracy": quality},
        eval_loss=1.0,
        train_loss=1.0,
        seconds=1.0,
        last=True,
    )
    return TrialRecord(
        spec=TrialSpec(number=number, configuration=configuration, rungs=(1.0,), epochs=1, seed=0),
        assignment=point,
        cost=cost,
        reports=(report,),
        result=TrialResult(status=TrialStatus.COMPLETE),
        quality_metric="accuracy",
        notes={},
    )


class Counted:
    """Counts for how many points the exact values were asked."""

    def __init__(self) -> None:
        self.n = 0

    def __call__(self, point: Mapping[str, Value]) -> list[float]:
        self.n += 1
        return exact(point)


def strategy(values: Counted) -> BayesianStrategy:
    worst = (0.0, float(LIMIT), 10_500.0 + 3 * LIMIT)
    reference = ReferencePoint.between(OBJECTIVES, (1.0, 1.0, 10_000.0), worst)
    return BayesianStrategy(SPACE, OBJECTIVES, reference, values, seed=0, n_initial=6, pool=128)


@pytest.fixture(scope="module")
def records() -> list[TrialRecord]:
    found: list[TrialRecord] = []
    for number in range(6):
        candidate = strategy(Counted()).ask(found, number)
        assert candidate is not None
        found.append(record_of(number, candidate.assignment))
    return found


def test_few_points_are_looked_at_exactly(records: list[TrialRecord]) -> None:
    values = Counted()
    candidate = strategy(values).ask(records, 6)
    assert candidate is not None
    assert 0 < values.n <= SLOW_FINALISTS * (1 + ROUNDS)


def test_a_guess_follows_the_trials_that_are_near(records: list[TrialRecord]) -> None:
    """Where a trial was, it is that trial's; parameters are counted everywhere."""
    known = KnownCosts(CandidateDomain(SPACE), OBJECTIVES, exact)
    assert known.slow
    points = [dict(record.assignment) for record in records]
    for point, (params, guess) in zip(points, known.guessed(points, records), strict=True):
        assert params == exact(point)[0]
        assert guess == pytest.approx(memory(point), rel=0.02)
    lowest, highest = min(map(memory, points)), max(map(memory, points))
    others = [SPACE.smallest(), SPACE.largest()]
    for point, (params, guess) in zip(others, known.guessed(others, records), strict=True):
        assert params == exact(point)[0]
        assert lowest <= guess <= highest


def test_parameters_alone_need_no_guess() -> None:
    params = parse_objectives("quality,params")
    assert not KnownCosts(CandidateDomain(SPACE), params, exact).slow
