from hypothesis import given
from hypothesis import strategies as st

from autopeft.study.fidelity import SuccessiveHalving
from autopeft.study.objective import ReferencePoint, parse_objectives
from autopeft.study.rungs import ETA
from autopeft.study.standing import Comparison
from autopeft.trials.ports import Decision
from autopeft.trials.trial import TrialRecord, TrialStatus
from tests.records import record

OBJECTIVES = parse_objectives("quality,params")
COMPARISON = Comparison(
    objectives=OBJECTIVES,
    reference=ReferencePoint.between(OBJECTIVES, (1.0, 10.0), (0.5, 10_000.0)),
)
HALVING = SuccessiveHalving(comparison=COMPARISON)

TRIALS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(1, 10_000)), min_size=1, max_size=40, unique=True
)


def at_first_rung(*trials: tuple[float, int]) -> list[TrialRecord]:
    return [record(i, [q], params, None) for i, (q, params) in enumerate(trials)]


def decide(*trials: tuple[float, int]) -> Decision:
    """Decide on the last of trials that are at their first rung."""
    records = at_first_rung(*trials)
    return HALVING.decide(records, len(records) - 1, 0)


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


def test_none_stops_where_the_rung_ranks_unlike_the_end() -> None:
    """What was best at the rung is worst at the end, in twelve trials of one size."""
    ended = [record(i, [0.6 + 0.01 * i, 0.9 - 0.01 * i], 100) for i in range(12)]
    assert HALVING.decide([*ended, record(12, [0.5], 5000, None)], 12, 0) is Decision.CONTINUE
    alike = [record(i, [0.6 + 0.01 * i, 0.7 + 0.01 * i], 100) for i in range(12)]
    assert HALVING.decide([*alike, record(12, [0.5], 5000, None)], 12, 0) is Decision.STOP


@given(TRIALS)
def test_at_least_the_best_share_goes_on(trials: list[tuple[float, int]]) -> None:
    records = at_first_rung(*trials)
    kept = sum(HALVING.decide(records, r.number, 0) is Decision.CONTINUE for r in records)
    assert kept >= len(records) / ETA


@given(TRIALS)
def test_the_best_and_the_smallest_go_on(trials: list[tuple[float, int]]) -> None:
    records = at_first_rung(*trials)
    best = max(records, key=lambda r: (r.reports[0].metrics["accuracy"], -r.cost.adapter_params))
    small = min(records, key=lambda r: (r.cost.adapter_params, -r.reports[0].metrics["accuracy"]))
    for chosen in (best, small):
        assert HALVING.decide(records, chosen.number, 0) is Decision.CONTINUE


@given(TRIALS)
def test_only_the_order_of_the_signal_counts(trials: list[tuple[float, int]]) -> None:
    """Accuracies near chance are told apart as well as others are."""
    grown = [(round(q, 3), params) for q, params in trials]
    shrunk = [(0.5 + q / 1000, params) for q, params in grown]
    decisions = [HALVING.decide(at_first_rung(*some), 0, 0) for some in (grown, shrunk)]
    assert decisions[0] is decisions[1]


def test_hyperband_spares_some_trials() -> None:
    hyperband = SuccessiveHalving(comparison=COMPARISON, brackets=True)
    better = [(0.9, 100 + i) for i in range(30)]
    weak = at_first_rung(*better, *[(0.5, 5000 + i) for i in range(60)])
    decisions = [hyperband.decide(weak, number, 0) for number in range(30, 90)]
    plain = [HALVING.decide(weak, number, 0) for number in range(30, 90)]
    assert all(d is Decision.STOP for d in plain)
    spared = sum(d is Decision.CONTINUE for d in decisions) / len(decisions)
    assert abs(spared - 8 / 17) < 0.05
