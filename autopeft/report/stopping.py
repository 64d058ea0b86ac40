"""What the rungs of a study told of the end, and what was made of it."""

from autopeft.report.summary import Summary
from autopeft.space.wording import count_text
from autopeft.study.evidence import LEAST_CORRELATION, RungEvidence, rung_evidence
from autopeft.study.standing import Comparison
from autopeft.tasks.metrics import METRICS
from autopeft.trials.kept_checkpoints import LATE

_NAMES = {
    "blend": "both losses together",
    "train_loss": "training loss",
    "quality": "quality",
    "eval_loss": "validation loss",
}


def rung_facts(summary: Summary) -> list[RungEvidence]:
    """Return what is known of each rung before the end, that of the shortest training first."""
    # As the rules see them: a repeat is no further configuration.
    records = [r for r in summary.records if r.reports and r.repeat_of is None]
    if not records:
        return []
    comparison = Comparison(objectives=summary.objectives, reference=summary.reference)
    # Late rungs are for checkpoints that are kept: nothing is stopped there.
    early = [i for i, share in enumerate(records[0].spec.rungs) if share < LATE]
    return [rung_evidence(records, rung, comparison) for rung in early]


def rung_lines(summary: Summary) -> list[str]:
    """Return a sentence for each rung before the end."""
    return [_line(evidence, summary.metric) for evidence in rung_facts(summary)]


def _line(evidence: RungEvidence, metric: str) -> str:
    place = f"At {100 * evidence.share:.0f} % of a training"
    signal = _NAMES[evidence.signal]
    if evidence.signal == "blend" and METRICS[metric].gradual:
        signal = "quality and both losses together"
    if not evidence.measured:
        return (
            f"{place} trials are compared by {signal}: how well that ranks them like the end was "
            f"not measured, {evidence.expected[evidence.signal]:.2f} is assumed."
        )
    found = (
        f"{evidence.measured[evidence.signal]:.2f} over {count_text(evidence.n_trials, 'trial')}"
    )
    if evidence.trusted:
        return f"{place} trials are compared by {signal}: rank correlation with the end {found}."
    return (
        f"{place} no signal is trusted: the best is {signal}, rank correlation with the end "
        f"{found}, and {LEAST_CORRELATION:g} is asked for."
    )
