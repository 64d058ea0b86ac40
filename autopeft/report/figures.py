"""The Pareto front as an interactive figure (Plotly) and as a picture (Matplotlib)."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from autopeft.report.axes import PARAMS, CostAxis
from autopeft.report.derived_figure import NAME, derived_traces
from autopeft.report.points import HOVER, by_method, hover_text, quality_range
from autopeft.report.stopping import rung_lines
from autopeft.report.summary import Summary
from autopeft.report.theme import mark, theme
from autopeft.study.objective import counts_for_front
from autopeft.trials.trial import TrialRecord, TrialStatus

#: Letters of a line under the title: MLflow shows the figure in a narrow frame.
_SUBTITLE = 80


def write_figures(summary: Summary, folder: Path) -> list[Path]:
    """Write `pareto.html` and `pareto.png`; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    html, png = folder / "pareto.html", folder / "pareto.png"
    # The library travels inside the page: it opens without a network.
    figure = pareto_figure(summary)
    lines = [part for line in rung_lines(summary) for part in textwrap.wrap(line, _SUBTITLE)]
    title = {"y": 1, "yref": "container", "yanchor": "top", "pad": {"t": 16}}
    figure.update_layout(
        title={"text": _title(summary), "subtitle": {"text": "<br>".join(lines)}, **title},
        template="plotly_white",
        hoverlabel={"align": "left"},
        margin={"l": 70, "r": 30, "t": 80 + 16 * len(lines), "b": 60},
    )
    figure.write_html(html, include_plotlyjs=True, default_height="97vh")
    pareto_picture(summary).savefig(png, dpi=150)
    return [html, png]


def pareto_figure(summary: Summary, axis: CostAxis = PARAMS) -> go.Figure:
    """Return quality over a cost; each point names its trial and its whole configuration."""
    figure = go.Figure()
    for method, records in by_method(summary.records).items():
        for complete in (True, False):
            chosen = [r for r in records if counts_for_front(r) is complete]
            if chosen:
                figure.add_trace(_points(summary, axis, method, chosen))
    figure.add_trace(_front_line(summary, axis))
    figure.add_traces(derived_traces(summary, axis))
    limit = axis.limit(summary)
    if limit is not None:
        _add_limit(figure, axis, *limit)
    figure.update_layout(
        xaxis=_cost_axis(axis),
        yaxis={"title": f"validation {summary.metric}", "range": quality_range(summary)},
        legend={"title": "method"},
    )
    return figure


def _cost_axis(axis: CostAxis) -> dict[str, Any]:
    if axis.logarithmic:
        return {"type": "log", "title": f"{axis.title} (log scale)", "dtick": "D2"}
    return {"title": axis.title}


def _front_line(summary: Summary, axis: CostAxis) -> go.Scatter:
    """Return the front with its standard errors; no line where the axis does not order it."""
    members = sorted(summary.front, key=lambda r: (axis.position(r), r.number))
    known = [e for r in members if (e := summary.estimate(r)) is not None]
    errors = [e.error if summary.repeated else 0.0 for e in known]
    look = {"shape": "hv", **theme()["front"]} if axis.orders(summary) else {"width": 0}
    return go.Scatter(
        x=[axis.position(r) for r in members],
        y=[e.measured.mean for e in known],
        error_y={
            "type": "data",
            "array": errors,
            "thickness": 1,
            "width": 3,
            "color": theme()["front"]["color"],
        },
        mode="lines",
        line=look,
        name="Pareto front",
        hoverinfo="skip",
    )


def _add_limit(figure: go.Figure, axis: CostAxis, value: float, text: str) -> None:
    look = theme()["budget"]
    figure.add_vline(x=value, line={"color": look["color"], "dash": look["dash"]})
    figure.add_annotation(
        # Plotly places texts by the logarithm, lines not.
        x=math.log10(value) if axis.logarithmic else value,
        y=1.0,
        yref="paper",
        yanchor="bottom",
        text=text,
        font={"color": look["color"]},
        showarrow=False,
    )


def pareto_picture(summary: Summary) -> Figure:
    """Return the same front as a picture, for places that show no JavaScript."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    limit = _shown(summary.budget_limit)
    if _drawn_sizes(summary) <= {limit}:
        # Matplotlib makes a range without width of points that are all as large as the budget.
        axes.set_xscale("log")
        axes.set_xlim(limit / 10, limit * 10)
    for method, records in by_method(summary.records).items():
        look = mark(method)
        complete = [r for r in records if counts_for_front(r)]
        stopped = [r for r in records if r.status in {TrialStatus.STOPPED, TrialStatus.PAUSED}]
        common: dict[str, Any] = {"color": look.color, "marker": look.marker, "s": 46}
        axes.scatter(*_coordinates(complete), label=method, **common)
        faint = theme()["stopped_opacity"]
        axes.scatter(*_coordinates(stopped), alpha=faint, **{**common, "s": 20})
    x, _ = _coordinates(summary.front)
    y, line = _means(summary), theme()["front"]
    axes.step(x, y, where="post", color=line["color"], linewidth=line["width"], zorder=0)
    axes.errorbar(x, y, yerr=_errors(summary), fmt="none", ecolor=line["color"], capsize=4)
    _add_derived(summary, axes)
    axes.axvline(limit, color=theme()["budget"]["color"], linestyle=":")
    axes.annotate(
        f"budget {summary.budget_text}",
        (limit, 1.0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        xytext=(-4, -6),
        rotation=90,
        ha="right",
        va="top",
        color=theme()["budget"]["color"],
    )
    axes.set_xscale("log")
    axes.set_xlabel("adapter parameters")
    axes.set_ylabel(f"validation {summary.metric}")
    axes.set_title(_title(summary))
    axes.grid(visible=True, which="major", alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(title="method", fontsize="small")
    return figure


def _add_derived(summary: Summary, axes: Axes) -> None:
    """Draw the derived points, each joined to what it was made of."""
    look, points = theme()["derived"], summary.derived
    for point in points:
        x = [_shown(point.params_before), _shown(point.adapter_params)]
        axes.plot(x, [point.quality_before, point.quality], ":", color=look["color"], linewidth=1)
    if points:
        x, y = [_shown(p.adapter_params) for p in points], [p.quality for p in points]
        label = f"{NAME} (after the search)"
        axes.scatter(x, y, marker=look["marker"], color=look["color"], s=90, label=label)


def _shown(n_params: int) -> int:
    """Return where a number of parameters stands on a logarithmic axis; the head alone has 0."""
    return max(n_params, 1)


def _points(
    summary: Summary, axis: CostAxis, method: str, records: Sequence[TrialRecord]
) -> go.Scatter:
    """Return trials of one method, all complete or none; those behind the front are faint."""
    look, complete = mark(method), counts_for_front(records[0])
    sizes, shown = theme()["sizes"], [summary.on_front(r) for r in records]
    faint = theme()["dominated_opacity" if complete else "open_opacity"]
    return go.Scatter(
        x=[axis.position(r) for r in records],
        y=[r.quality for r in records],
        mode="markers",
        marker={
            "color": look.color,
            "symbol": look.symbol if complete else f"{look.symbol}-open",
            "size": [sizes["front" if front else "other"] for front in shown],
            "opacity": [1.0 if front else faint for front in shown],
            **({"line": theme()["outline"]} if complete else {}),
        },
        name=method if complete else f"{method} (stopped)",
        legendgroup=method,
        text=[hover_text(summary, r) for r in records],
        customdata=[r.number for r in records],
        hovertemplate=HOVER,
    )


def _means(summary: Summary) -> list[float]:
    """Return the mean qualities of the front."""
    found = [summary.estimate(record) for record in summary.front]
    return [e.measured.mean for e in found if e is not None]


def _errors(summary: Summary) -> list[float]:
    """Return the standard errors of the front, 0 where no second seed has shown the noise."""
    found = [summary.estimate(record) for record in summary.front]
    return [e.error if summary.repeated else 0.0 for e in found if e is not None]


def _coordinates(records: Sequence[TrialRecord]) -> tuple[list[int], list[Any]]:
    return [_shown(r.cost.adapter_params) for r in records], [r.quality for r in records]


def _drawn_sizes(summary: Summary) -> set[int]:
    """Return the sizes of all points of the picture: what failed has none."""
    trials = [r.cost.adapter_params for r in summary.records if r.quality is not None]
    derived = [n for p in summary.derived for n in (p.params_before, p.adapter_params)]
    return {_shown(n) for n in (*trials, *derived)}


def _title(summary: Summary) -> str:
    # The picture goes with what is handed on, where a folder of this machine says nothing.
    path = Path(summary.model)
    model = path.name if path.is_absolute() else summary.model
    return f"{summary.task} on {model}: quality against size"
