import math

from hypothesis import given
from hypothesis import strategies as st

from autopeft.study.front import front_hypervolume, hypervolume_history
from autopeft.trials.trial import TrialRecord, TrialStatus
from tests.records import record, repeat, summary

QUALITY = st.integers(0, 8).map(lambda i: 0.4 + i / 20)


@st.composite
def studies(draw: st.DrawFn) -> list[TrialRecord]:
    """Return trials of all endings, and repeats of complete ones."""
    trials: list[TrialRecord] = []
    for number in range(draw(st.integers(0, 10))):
        complete = [r for r in trials if r.status is TrialStatus.COMPLETE and r.repeat_of is None]
        kind = draw(st.sampled_from(["complete", "stopped", "failed", "repeat"]))
        params = draw(st.integers(1, 6)) * 1_500
        if kind == "repeat" and complete:
            trials.append(repeat(draw(st.sampled_from(complete)), number, draw(QUALITY)))
        elif kind == "stopped":
            trials.append(record(number, [draw(QUALITY)], params, TrialStatus.STOPPED))
        elif kind == "failed":
            trials.append(record(number, [], params, TrialStatus.NAN))
        else:
            trials.append(record(number, [0.5, draw(QUALITY)], params))
    return trials


@given(studies(), st.sampled_from([("params",), ("memory",), ("params", "memory")]))
def test_the_history_is_the_hypervolume_of_each_beginning(
    trials: list[TrialRecord], costs: tuple[str, ...]
) -> None:
    study = summary(trials, "quality", *costs)
    history = hypervolume_history(trials, study.objectives, study.reference)
    assert [h.n_trials for h in history] == list(range(1, len(trials) + 1))
    for h in history:
        begun = trials[: h.n_trials]
        expected = front_hypervolume(begun, study.objectives, study.reference)
        assert math.isclose(h.hypervolume, expected, abs_tol=1e-12)
        assert math.isclose(h.trainings, sum(r.fidelity for r in begun))
