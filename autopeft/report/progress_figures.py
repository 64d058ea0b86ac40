"""How a search went: its hypervolume, and the learning curves of its trials."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from autopeft.report.points import HOVER, by_method, hover_text, quality_range
from autopeft.report.summary import Summary
from autopeft.report.theme import mark, theme
from autopeft.study.front import Progress, hypervolume_history
from autopeft.study.objective import counts_for_front
from autopeft.trials.trial import TrialRecord


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
    """Return quality over the share of a training, a line a trial; stopped ones are faint."""
    figure = go.Figure()
    for method, records in by_method(summary.records).items():
        for complete in (False, True):
            chosen = [r for r in records if counts_for_front(r) is complete]
            if chosen:
                figure.add_trace(_curves(summary, method, chosen))
    figure.update_layout(
        xaxis={"title": "share of a full training", "tickformat": ".0%"},
        yaxis={"title": f"validation {summary.metric}", "range": quality_range(summary)},
    )
    return figure


def _curves(summary: Summary, method: str, records: Sequence[TrialRecord]) -> go.Scatter:
    """Return the curves of trials of one method, all complete or none, as one broken line."""
    look, complete = mark(method), counts_for_front(records[0])
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
        line={"color": look.color, "width": 1.5 if complete else 1},
        marker={"symbol": look.symbol if complete else f"{look.symbol}-open", "size": 7},
        opacity=1.0 if complete else theme()["stopped_opacity"],
        name=method if complete else f"{method} (stopped)",
        legendgroup=method,
        text=["" if n is None else texts[n] for n in numbers],
        customdata=numbers,
        hovertemplate=HOVER,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
