import json
import math
from dataclasses import replace

from autopeft.study.past import PastStudy, PastTrial, warm_start_notes
from autopeft.trials.trial import TrialRecord, TrialStatus
from tests.records import record


def study(*records: TrialRecord) -> PastStudy:
    return PastStudy(
        name="old",
        study_id="id",
        task="rte",
        model="minilm",
        n_layers=2,
        base_params=1_000_000,
        trials=tuple(map(PastTrial.of, records)),
    )


def test_what_cannot_be_used_is_listed_with_its_reason() -> None:
    headless = record(7, [0.5, 0.6], 100)
    strange = record(8, [0.5, 0.6], 100)
    [part] = strange.spec.configuration.components
    no_parts = replace(headless.spec.configuration, components=())
    changed = replace(
        strange.spec.configuration, components=(replace(part, params=(("colour", 1),)),)
    )
    usable = study(
        record(0, [0.5, 0.6], 100),
        record(1, [0.5, math.nan], 100),
        record(2, [math.nan], 100),
        record(3, [], 100, TrialStatus.RUNNING),
        record(4, [0.5], 100, TrialStatus.OOM_GPU),
        record(5, [0.5, 0.6], 100, method="vera"),
        record(6, [0.5], 100, TrialStatus.STOPPED),
        replace(headless, spec=replace(headless.spec, configuration=no_parts)),
        replace(strange, spec=replace(strange.spec, configuration=changed)),
    ).usable_for(["lora", "ia3"])
    assert {t.number: [q for _, q in t.measured] for t in usable.trials} == {
        0: [0.5, 0.6],
        1: [0.5],  # the rung that has a quality
        6: [0.5],
    }
    assert dict(usable.left_out) == {
        2: "had a quality that is no number",
        3: "had no quality yet",
        4: "failed (oom_gpu)",
        5: "used vera, which this search does not have",
        7: "trained the head alone",
        8: "had the setting colour, which lora does not have",
    }


def test_what_is_written_is_read_back() -> None:
    usable = study(record(0, [0.5, 0.6], 100), record(1, [math.nan], 100)).usable_for(["lora"])
    assert PastStudy.from_dict(json.loads(json.dumps(usable.to_dict()))) == usable


def test_the_user_is_told_what_was_left_out() -> None:
    records = [record(0, [0.5, 0.6], 100), *(record(n, [math.nan], 100) for n in (1, 2))]
    facts = study(*records).usable_for(["lora"]).facts()
    assert list(warm_start_notes({"warm_start": [facts]})) == [
        "warm start from old: 1 trial of rte on minilm; left out: 2 had a quality that is no number"
    ]
    assert list(warm_start_notes({})) == []  # of an older study


def test_studies_without_use_are_told_in_one_line() -> None:
    few = study(*(record(n, [0.5, 0.6], 100) for n in range(2)), record(2, [math.nan], 100))
    left = few.usable_for(["lora"]).with_enough_trials()
    assert left.trials == ()
    assert [number for number, _ in left.left_out] == [2, 0, 1]
    enough = study(*(record(n, [0.5, 0.6], 100) for n in range(3)))
    assert enough.with_enough_trials() == enough
    named = [replace(left, name=name).facts() for name in "abcde"]
    assert list(warm_start_notes({"warm_start": [named[0], enough.facts(), *named[1:]]})) == [
        "warm start from old: 3 trials of rte on minilm",
        "no warm start from a, b, c and 2 more: 10 belonged to a study with fewer than 3 trials of "
        "use, 5 had a quality that is no number",
    ]
