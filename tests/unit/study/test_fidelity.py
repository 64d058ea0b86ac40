import pytest
from hypothesis import given
from hypothesis import strategies as st

from autopeft.errors import RequestError
from autopeft.study.fidelity import ETA, SuccessiveHalving, rung_shares
from autopeft.study.objective import ReferencePoint, parse_objectives
from autopeft.trials.ports import Decision
from autopeft.trials.trial import TrialStatus
from tests.records import record

OBJECTIVES = parse_objectives("quality,params")
HALVING = SuccessiveHalving(
    objectives=OBJECTIVES,
    reference=ReferencePoint.between(OBJECTIVES, (1.0, 10.0), (0.5, 10_000.0)),
)


def decide(*trials: tuple[float, int]) -> Decision:
    """Decide on the last of trials that are at their first rung."""
    records = [record(i, [q], params, None) for i, (q, params) in enumerate(trials)]
    return HALVING.decide(records, len(records) - 1, 0)


def test_shares() -> None:
    assert rung_shares("none") == (1.0,)
    assert rung_shares("asha") == (pytest.approx(1 / 3), 1.0)
    assert rung_shares("asha", n_rungs=3) == pytest.approx((1 / 9, 1 / 3, 1.0))
    with pytest.raises(RequestError, match="Unknown fidelity"):
        rung_shares("fast")


def test_the_first_goes_on() -> None:
    assert decide((0.1, 100)) is Decision.CONTINUE


def test_what_nothing_dominates_goes_on() -> None:
    better = [(0.9, 1000 + i) for i in range(9)]
    assert decide(*better, (0.2, 50)) is Decision.CONTINUE  # cheaper than all


def test_what_many_dominate_stops() -> None:
    assert decide(*[(0.9, 100 + i) for i in range(6)], (0.5, 5000)) is Decision.STOP


def test_the_best_third_goes_on_though_dominated() -> None:
    weak = [(0.1, 2000 + i) for i in range(8)]
    assert decide((0.9, 100), *weak, (0.8, 150)) is Decision.CONTINUE


def test_failed_trials_do_not_count() -> None:
    records = [record(i, [0.9], 100, TrialStatus.NAN) for i in range(5)]
    records.append(record(5, [0.5], 5000, None))
    assert HALVING.decide(records, 5, 0) is Decision.CONTINUE


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.integers(1, 10_000)), min_size=1, max_size=40, unique=True
    )
)
def test_at_least_the_best_share_goes_on(trials: list[tuple[float, int]]) -> None:
    records = [record(i, [q], params, None) for i, (q, params) in enumerate(trials)]
    kept = sum(HALVING.decide(records, r.number, 0) is Decision.CONTINUE for r in records)
    assert kept >= len(records) / ETA
