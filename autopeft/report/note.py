"""The note of a search's parent run, from the template in `dashboards/`."""

import string
from collections.abc import Mapping

from autopeft.report.markdown import front_table, noise_text
from autopeft.report.stopping import rung_lines
from autopeft.report.summary import Summary
from autopeft.report.theme import dashboard_file
from autopeft.trials.trial import TrialRecord


def note_text(summary: Summary, facts: Mapping[str, str]) -> str:
    """Return the note.

    Args:
        summary: The study.
        facts: Values for the template: `folder`, `command`.
    """
    best = summary.best()
    if best is None:
        headline = "No trial was completed."
    else:
        share = 100 * best.cost.adapter_params / best.cost.base_params
        headline = (
            f"Best: {best.spec.configuration.method}, {summary.metric} {best.quality:.4f}"
            f"{_noise(summary, best)} with "
            f"{best.cost.adapter_params:,} adapter parameters ({share:.3g} %)."
        )
    template = string.Template(dashboard_file("run_note.md").read_text(encoding="utf-8"))
    return template.substitute(
        task=summary.task,
        model=summary.model,
        budget=summary.budget_text,
        headline=headline,
        front=front_table(summary),
        statuses=summary.statuses(),
        hypervolume=f"{summary.hypervolume:.4f}",
        stopping=" ".join(rung_lines(summary)) or "none",
        **facts,
    )


def _noise(summary: Summary, record: TrialRecord) -> str:
    text = noise_text(summary, record)
    return f" ({text})" if text else ""
