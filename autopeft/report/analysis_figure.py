"""An analysis as an interactive page: what matters, how, and which method wins where."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from autopeft.report.theme import mark, theme
from autopeft.study.analysis.analysis import Analysis
from autopeft.study.analysis.budgets import Winner
from autopeft.study.analysis.facts import LOGARITHMIC
from autopeft.study.analysis.importance import Importance
from autopeft.study.analysis.response import Curve

_COLUMNS = 2
_BUDGET = "budget in adapter parameters"


def write_analysis_page(analysis: Analysis, title: str, folder: Path) -> Path:
    """Write `analysis.html`; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "analysis.html"
    # The library travels inside the page: it opens without a network.
    analysis_figure(analysis, title).write_html(path, include_plotlyjs=True)
    return path


def analysis_figure(analysis: Analysis, title: str) -> go.Figure:
    """Return the winners by budget, the importances, and a panel for each curve."""
    titles = ["best quality within a budget", "share of the variance explained"]
    titles += [f"expected quality by {_words(curve.name)}" for curve in analysis.curves]
    n_rows = -(-len(titles) // _COLUMNS)
    figure = make_subplots(rows=n_rows, cols=_COLUMNS, subplot_titles=titles)
    _add_winners(figure, analysis)
    _add_importances(figure, analysis)
    for index, curve in enumerate(analysis.curves, start=2):
        place = {"row": 1 + index // _COLUMNS, "col": 1 + index % _COLUMNS}
        _add_curve(figure, curve, place)
    figure.update_layout(title=title, template="plotly_white", height=380 * n_rows)
    return figure


def analysis_figures(analysis: Analysis, metric: str) -> dict[str, go.Figure]:
    """Return the panels of an analysis as figures of their own, by their names."""
    figures = {"winners": winners_figure(analysis.winners, metric)}
    if analysis.importances:
        figures["importance"] = importances_figure(analysis.importances)
    for curve in analysis.curves:
        figures[f"expected-{curve.name.replace('_', '-')}"] = _curve_figure(curve, metric)
    return figures


def winners_figure(winners: Sequence[Winner], metric: str) -> go.Figure:
    """Return the best quality that each method reached within a budget."""
    figure = go.Figure(list(_winner_traces(winners)))
    figure.update_layout(
        xaxis={"type": "log", "title": _BUDGET, "dtick": "D2"}, yaxis={"title": metric}
    )
    return figure


def importances_figure(importances: Sequence[Importance]) -> go.Figure:
    """Return how much of the variance of quality each fact explains."""
    figure = go.Figure(_importance_trace(importances))
    figure.update_layout(xaxis={"title": "share of the variance explained"})
    return figure


def _add_winners(figure: go.Figure, analysis: Analysis) -> None:
    for trace in _winner_traces(analysis.winners):
        figure.add_trace(trace, row=1, col=1)
    figure.update_xaxes(type="log", title=_BUDGET, row=1, col=1)


def _winner_traces(winners: Sequence[Winner]) -> Iterator[go.Scatter]:
    methods = {method for winner in winners for method in winner.by_method}
    for method in sorted(methods):
        reached = [w for w in winners if method in w.by_method]
        look = mark(method)
        yield go.Scatter(
            x=[max(w.budget, 1) for w in reached],  # the axis is logarithmic
            y=[w.by_method[method] for w in reached],
            mode="lines+markers",
            name=method,
            line={"color": look.color, "shape": "hv"},
            marker={"symbol": look.symbol},
        )


def _add_importances(figure: go.Figure, analysis: Analysis) -> None:
    figure.add_trace(_importance_trace(analysis.importances), row=1, col=2)


def _importance_trace(importances: Sequence[Importance]) -> go.Bar:
    shown = importances[::-1]  # Plotly draws from the bottom up
    return go.Bar(
        x=[importance.share for importance in shown],
        y=[importance.name.replace("_", " ") for importance in shown],
        error_x={"type": "data", "array": [importance.spread for importance in shown]},
        orientation="h",
        marker={"color": theme()["progress"]["color"]},
        showlegend=False,
    )


def _curve_figure(curve: Curve, metric: str) -> go.Figure:
    figure = go.Figure(list(_curve_traces(curve)))
    scale = {"type": "log"} if curve.name in LOGARITHMIC else {}
    figure.update_layout(
        xaxis={"title": _words(curve.name), **scale}, yaxis={"title": f"expected {metric}"}
    )
    return figure


def _add_curve(figure: go.Figure, curve: Curve, place: dict[str, int]) -> None:
    for trace in _curve_traces(curve):
        figure.add_trace(trace, **place)
    if curve.name in LOGARITHMIC:
        figure.update_xaxes(type="log", **place)


def _curve_traces(curve: Curve) -> Iterator[go.Scatter]:
    """Yield a curve between its standard deviations."""
    common: dict[str, Any] = {"x": curve.values, "mode": "lines", "showlegend": False}
    pairs = list(zip(curve.qualities, curve.errors, strict=True))
    edge = {"line": {"width": 0}, "hoverinfo": "skip"}
    below, above = [q - e for q, e in pairs], [q + e for q, e in pairs]
    yield go.Scatter(y=below, **common, **edge)
    yield go.Scatter(y=above, fill="tonexty", **common, **edge)
    line = {"color": theme()["front"]["color"]}
    yield go.Scatter(y=curve.qualities, line=line, **common)


def _words(name: str) -> str:
    return name.replace("_", " ")
