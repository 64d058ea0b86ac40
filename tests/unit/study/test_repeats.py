import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autopeft.study.front import pareto_front
from autopeft.study.objective import parse_objectives
from autopeft.study.repeats import Repeat, Repeats, n_repeats
from autopeft.trials.trial import TrialRecord
from tests.contracts.test_strategies import NAMES, candidates, run, strategy
from tests.records import record, repeat

OBJECTIVES = parse_objectives("quality,params")
ERROR = 0.02


def asked(rule: Repeats, records: list[TrialRecord]) -> Repeat | None:
    front = pareto_front(records, OBJECTIVES)
    return rule.next(records, OBJECTIVES, lambda _: ERROR, front)


def study(*qualities: float) -> list[TrialRecord]:
    return [record(i, [0.1, q], 100 * (i + 1)) for i, q in enumerate(qualities)]


def n_begun(records: list[TrialRecord], of: TrialRecord) -> int:
    return sum(r.spec.configuration == of.spec.configuration for r in records)


def ran(rule: Repeats, records: list[TrialRecord], rng: random.Random) -> list[TrialRecord]:
    """Run repeats to the end; some of them fail."""
    records = list(records)
    while (chosen := asked(rule, records)) is not None:
        assert chosen == asked(rule, records)
        quality = None if rng.random() < 0.2 else rng.random()
        records.append(repeat(chosen.record, len(records), quality))
        assert len(records) < 200
    return records


def test_nothing_is_repeated_unless_asked() -> None:
    assert asked(Repeats(), study(0.5, 0.7)) is None
    assert asked(Repeats(seeds=3), []) is None
    assert asked(Repeats(seeds=3, most=0), study(0.5, 0.7)) is None


def test_every_member_of_the_front_comes_before_any_gets_a_third_seed() -> None:
    records = study(0.5, 0.6, 0.7, 0.4)
    rule = Repeats(seeds=3)
    for _ in range(3):
        chosen = asked(rule, records)
        assert chosen is not None
        records.append(repeat(chosen.record, len(records), chosen.record.quality))
    assert {r.repeat_of for r in records[4:]} == {0, 1, 2}


def test_each_training_of_a_configuration_has_a_seed_of_its_own() -> None:
    records = study(0.5)
    seeds = [records[0].spec.seed]
    while (chosen := asked(Repeats(seeds=4), records)) is not None:
        seeds.append(chosen.seed)
        records.append(repeat(chosen.record, len(records), 0.5))
    assert seeds == [0, 1, 2, 3]


def test_what_may_be_on_the_front_by_noise_is_repeated_and_what_is_far_behind_is_not() -> None:
    near = study(0.5, 0.70, 0.699, 0.40)
    done = ran(Repeats(seeds=2), near, random.Random(5))
    assert n_begun(done, near[2]) == 2
    assert n_begun(done, near[3]) == 1


def test_the_third_seed_goes_where_two_neighbours_cannot_be_told_apart() -> None:
    records = study(0.3, 0.6, 0.601, 0.9)
    for first in records[:4]:
        quality = first.quality
        records.append(repeat(first, len(records), quality))
    chosen = asked(Repeats(seeds=3), records)
    assert chosen is not None
    assert chosen.record.number == 2


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=8),
    st.integers(1, 4),
    st.none() | st.integers(0, 6),
    st.integers(0, 99),
)
def test_repeats_end_within_their_bound(
    qualities: list[float], seeds: int, most: int | None, luck: int
) -> None:
    rule = Repeats(seeds=seeds, most=most)
    records = study(*qualities)
    done = ran(rule, records, random.Random(luck))
    assert n_repeats(done) <= rule.bound(len(records))
    assert all(n_begun(done, first) <= seeds for first in records)
    if most is None:
        assert all(n_begun(done, r) == seeds for r in pareto_front(done, OBJECTIVES))


def test_a_search_that_ended_early_repeats_a_quarter_of_what_it_tried() -> None:
    """With --until-converged it might have gone on to a hundred."""
    records = study(*(0.5 + 0.05 * i for i in range(9)))
    done = ran(Repeats.asked(None, 100), records, random.Random(0))
    assert n_repeats(done) == 2


@pytest.mark.parametrize(("trials", "most"), [(1, 0), (3, 0), (16, 4), (60, 15)])
def test_nobody_is_surprised_by_the_default(trials: int, most: int) -> None:
    assert Repeats.asked(None, trials).bound(trials) == most
    assert Repeats.asked(3, trials).bound(trials) == 2 * trials
    assert Repeats.asked(1, trials).bound(trials) == 0


@pytest.mark.parametrize("name", NAMES)
def test_strategies_bear_repeats_among_the_records(name: str) -> None:
    space = candidates()
    records = run(name, 7)
    for first in records[:2]:
        records.append(repeat(first, len(records), 0.6))
    candidate = strategy(name, space).ask(records, 7)
    assert candidate is not None
    tried = {r.spec.configuration.digest for r in records}
    assert space.configuration(candidate.assignment).digest not in tried
