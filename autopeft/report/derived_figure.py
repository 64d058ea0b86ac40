"""Derived points in figures, each joined to what it was made of.

They stand on two axes. On that of adapter parameters, because a ternary adapter has fewer entries
that are not zero; and on that of the bytes of the file, which is what they are made for. Memory and
operations are costs of a training, which a derived point has not had.
"""

from collections.abc import Callable, Sequence

import plotly.graph_objects as go

from autopeft.report.axes import CostAxis
from autopeft.report.points import HOVER
from autopeft.report.summary import Summary
from autopeft.report.theme import theme
from autopeft.trials.derived import DerivedPoint

NAME = "derived"


def derived_traces(summary: Summary, axis: CostAxis) -> list[go.Scatter]:
    """Return the derived points for the front's figure, each joined to what it was made of."""
    if not summary.derived or axis.derived is None:
        return []
    return [_joins(summary.derived, axis.derived), _points(summary.derived, axis.derived)]


def bytes_figure(summary: Summary) -> go.Figure:
    """Return quality over the size of the file, before and after."""
    points, look = summary.derived, theme()["derived"]
    before = {(p.trial, p.quality_before): p for p in points}.values()
    trained = go.Scatter(
        x=[p.bytes_before for p in before],
        y=[p.quality_before for p in before],
        mode="markers",
        marker={"color": look["color"], "symbol": "circle-open", "size": theme()["sizes"]["front"]},
        name="as trained",
        text=[
            f"<b>trial {p.trial} as trained</b><br>{p.metric} {p.quality_before:.4f}<br>"
            f"{p.bytes_before:,} bytes"
            for p in before
        ],
        hovertemplate=HOVER,
    )
    figure = go.Figure([_joins(points, _bytes), trained, _points(points, _bytes)])
    figure.update_layout(
        xaxis={"type": "log", "title": "bytes of the adapter's file (log scale)", "dtick": "D2"},
        yaxis={"title": f"validation {summary.metric}"},
    )
    return figure


def _bytes(point: DerivedPoint) -> tuple[float, float]:
    return point.bytes_before, point.bytes


def _joins(
    points: Sequence[DerivedPoint], costs: Callable[[DerivedPoint], tuple[float, float]]
) -> go.Scatter:
    return go.Scatter(
        x=[x for p in points for x in (*costs(p), None)],
        y=[y for p in points for y in (p.quality_before, p.quality, None)],
        mode="lines",
        line={"color": theme()["derived"]["color"], "width": 1, "dash": "dot"},
        hoverinfo="skip",
        showlegend=False,
        name=f"from trained to {NAME}",
    )


def _points(
    points: Sequence[DerivedPoint], costs: Callable[[DerivedPoint], tuple[float, float]]
) -> go.Scatter:
    look = theme()["derived"]
    return go.Scatter(
        x=[costs(p)[1] for p in points],
        y=[p.quality for p in points],
        mode="markers",
        marker={
            "color": look["color"],
            "symbol": look["symbol"],
            "size": theme()["sizes"]["front"],
        },
        name=NAME,
        text=[_hover(p) for p in points],
        hovertemplate=HOVER,
    )


def _hover(point: DerivedPoint) -> str:
    lines = [
        f"<b>derived from trial {point.trial}: {point.how}</b>",
        f"{point.metric} {point.quality:.4f}, before {point.quality_before:.4f}",
        f"{point.adapter_params:,} adapter parameters, before {point.params_before:,}",
        f"{point.bytes:,} bytes, before {point.bytes_before:,}",
        "measured after the search",
    ]
    return "<br>".join(lines)
