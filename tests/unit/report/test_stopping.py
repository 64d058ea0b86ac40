from dataclasses import replace

from autopeft.report.stopping import rung_facts, rung_lines
from autopeft.study.evidence import ASSUMED
from autopeft.trials.trial import TrialStatus
from tests.records import record, summary


def test_without_reports_there_is_nothing_to_say() -> None:
    assert rung_lines(summary([])) == []
    assert rung_lines(summary([record(0, [], 100, TrialStatus.NAN)])) == []


def test_without_stopping_there_is_nothing_to_say() -> None:
    whole = record(0, [0.7], 100)
    whole = replace(whole, spec=replace(whole.spec, rungs=(1.0,)))
    assert rung_lines(summary([whole])) == []


def test_what_was_not_measured_is_called_assumed() -> None:
    (line,) = rung_lines(summary([record(0, [0.6, 0.7], 100)]))
    assert line == (
        "At 33 % of a training trials are compared by both losses together: how well that "
        f"ranks them like the end was not measured, {ASSUMED['blend']:.2f} is assumed."
    )


def test_a_correlation_is_said_to_be_in_the_blend() -> None:
    trial = record(0, [0.6, 0.7], 100)
    trial = replace(
        trial,
        quality_metric="pearson",
        reports=tuple(replace(r, metrics={"pearson": 0.5}) for r in trial.reports),
    )
    (line,) = rung_lines(replace(summary([trial]), metric="pearson"))
    assert "compared by quality and both losses together:" in line


def test_what_was_measured_is_said() -> None:
    alike = [record(i, [0.6 + 0.01 * i, 0.7 + 0.01 * i], 100) for i in range(12)]
    (line,) = rung_lines(summary(alike))
    assert line.endswith("rank correlation with the end 1.00 over 12 trials.")
    (fact,) = rung_facts(summary(alike))
    assert fact.to_dict()["trusted"] is True
    assert fact.to_dict()["trained_to_the_end"] == 12


def test_that_no_signal_is_trusted_is_said() -> None:
    turned = [record(i, [0.6 + 0.01 * i, 0.9 - 0.01 * i], 100) for i in range(12)]
    (line,) = rung_lines(summary(turned))
    assert "no signal is trusted" in line
    assert rung_facts(summary(turned))[0].to_dict()["trusted"] is False
