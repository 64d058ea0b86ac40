"""How a search went: its hypervolume, and the learning curves of its trials."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from autopeft.report.points import HOVER, by_method, hover_text, line_opacity, quality_range
from autopeft.report.summary import Summary
from autopeft.report.theme import mark, theme
from autopeft.study.front import Progress, hypervolume_history
from autopeft.study.objective import counts_for_front
from autopeft.trials.trial import TrialRecord

#: Kinds of trials, in the order in which they are drawn: what stands out comes last.
_KINDS = ("stopped", "complete", "front")


def progress(summary: Summary) -> list[Progress]:
    """Return the hypervolume after each trial."""
    return hypervolume_history(summary.records, summary.objectives, summary.reference)


def hypervolume_figure(history: Sequence[Progress], *, compute: bool) -> go.Figure:
    """Return the hypervolume over trials, or over the full trainings that they are worth."""
    over = "full trainings' worth of compute" if compute else "trials"
    trace = go.Scatter(
        x=[h.trainings if compute else h.n_trials for h in history],
        y=[h.hypervolume for h in history],
        mode="lines",
        line={"shape": "hv", **theme()["progress"]},
        hovertemplate="%{y:.4f} after %{x:.3~g} " + over + "<extra></extra>",
        showlegend=False,
    )
    figure = go.Figure(trace)
    figure.update_layout(
        xaxis={"title": over, "rangemode": "tozero"},
        yaxis={"title": "hypervolume", "rangemode": "tozero"},
    )
    return figure


def learning_figure(summary: Summary) -> go.Figure:
    """Return quality over the share of a training, a line a trial; the front's stand out."""
    figure = go.Figure()
    grouped = by_method(summary.records)
    faint = line_opacity(sum(map(len, grouped.values())))
    for kind in _KINDS:
        for method, records in grouped.items():
            chosen = [r for r in records if _kind(summary, r) == kind]
            if chosen:
                figure.add_trace(_curves(summary, method, chosen, kind, faint))
    figure.update_layout(
        xaxis={"title": "share of a full training", "tickformat": ".0%"},
        yaxis={"title": f"validation {summary.metric}", "range": quality_range(summary)},
        legend={"traceorder": "grouped"},
    )
    return figure


def _kind(summary: Summary, record: TrialRecord) -> str:
    if summary.on_front(record):
        return "front"
    return "complete" if counts_for_front(record) else "stopped"


def _curves(
    summary: Summary, method: str, records: Sequence[TrialRecord], kind: str, faint: float
) -> go.Scatter:
    """Return the curves of trials of one method and one kind, as one broken line."""
    look = mark(method)
    x: list[float | None] = []
    y: list[float | None] = []
    numbers: list[int | None] = []
    for record in records:
        reports = record.reports
        x += [*(r.fidelity for r in reports), None]
        y += [*(_finite(r.metrics[record.quality_metric]) for r in reports), None]
        numbers += [*(record.number for _ in reports), None]
    texts = {r.number: hover_text(summary, r) for r in records}
    return go.Scatter(
        x=x,
        y=y,
        mode="lines+markers",
        line={"color": look.color, "width": 2 if kind == "front" else 1},
        marker={"symbol": f"{look.symbol}-open" if kind == "stopped" else look.symbol, "size": 6},
        opacity=1.0 if kind == "front" else faint,
        name=method if kind == "complete" else f"{method} ({kind})",
        legendgroup=method,
        text=["" if n is None else texts[n] for n in numbers],
        customdata=numbers,
        hovertemplate=HOVER,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
