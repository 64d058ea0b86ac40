import math

import numpy as np
import pytest

from autopeft.errors import RequestError, UnknownNameError
from autopeft.study.objective import ReferencePoint, compared, counts_for_front, parse_objectives
from autopeft.trials.trial import TrialStatus
from tests.records import record


def test_parse() -> None:
    assert [o.name for o in parse_objectives("params, quality")] == ["quality", "params"]
    assert [o.name for o in parse_objectives("quality,memory,params")] == [
        "quality",
        "params",
        "memory",
    ]


@pytest.mark.parametrize("text", ["quality", "params", "", "quality,quality", "params,memory"])
def test_what_cannot_be_searched(text: str) -> None:
    with pytest.raises(RequestError, match="must be 'quality' and at least one"):
        parse_objectives(text)


@pytest.mark.parametrize("text", ["quality:maximize,params", "-quality,params"])
def test_objectives_have_their_own_direction(text: str) -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean quality.*needs no direction"):
        parse_objectives(text)


def test_unknown_objectives_are_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean params"):
        parse_objectives("quality,parms")


def test_values_and_signs() -> None:
    quality, params, memory = parse_objectives("quality,params,memory")
    trial = record(0, [0.5, 0.8], 1000, memory=10_000)
    assert [o.value(trial) for o in (quality, params, memory)] == [0.8, 1000.0, 10_000.0]
    assert compared(trial, (quality, params, memory)) == [-0.8, 3.0, 4.0]
    assert (quality.direction, params.direction) == ("maximize", "minimize")
    assert math.isnan(quality.value(record(0, [], 1000)))


def test_reference_scales_between_best_and_worst() -> None:
    objectives = parse_objectives("quality,params")
    reference = ReferencePoint.between(objectives, (1.0, 100.0), (0.5, 10_000.0))
    middle = [o.minimised(v) for o, v in zip(objectives, (0.75, 1000.0), strict=True)]
    assert reference.scaled(middle) == pytest.approx(np.array([0.5, 0.5]))
    assert ReferencePoint.from_dict(reference.to_dict()) == reference
    flat = ReferencePoint.between(objectives, (1.0, 100.0), (0.5, 100.0))
    assert np.isfinite(flat.scaled(middle)).all()


def test_only_complete_trials_count_for_the_front() -> None:
    assert counts_for_front(record(0, [0.5, 0.6], 10))
    for status in (TrialStatus.STOPPED, TrialStatus.NAN, None):
        assert not counts_for_front(record(0, [0.5], 10, status))
