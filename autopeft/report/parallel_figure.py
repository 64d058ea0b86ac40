"""Trials as lines across parallel axes: what was chosen, what it costs, what came out.

Drawn from plain lines: the small edition of Plotly that reports carry has no parallel coordinates.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from autopeft.report.points import HOVER, by_method, hover_text, line_opacity, quality_range
from autopeft.report.summary import Summary
from autopeft.report.theme import mark, theme
from autopeft.trials.trial import TrialRecord


@dataclass(frozen=True, slots=True)
class _Axis:
    """An axis: its name, what stands on it, and whether by its logarithm."""

    name: str
    value: Callable[[TrialRecord], float | None]
    logarithmic: bool = False

    def height(self, record: TrialRecord, low: float, high: float) -> float | None:
        """Return where a trial crosses the axis, in 0-1; `None` where it has no value."""
        value = self.placed(record)
        if value is None:
            return None
        # Below the first view of the other figures a line ends at the foot of its axis.
        return max((value - low) / (high - low), 0.0) if high > low else 0.5

    def placed(self, record: TrialRecord) -> float | None:
        """Return a trial's value on the axis' scale."""
        value = self.value(record)
        if value is None:
            return None
        return math.log10(max(value, 1e-12)) if self.logarithmic else value

    def words(self, placed: float) -> str:
        """Return a value of the axis' scale as people write it."""
        value = 10**placed if self.logarithmic else placed
        return f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"


def parallel_figure(summary: Summary) -> go.Figure:
    """Return a line a trial that measured something, at least one; those of the front stand out."""
    measured = [r for r in summary.records if r.quality is not None]
    axes = [axis for axis in _axes(summary) if any(axis.value(r) is not None for r in measured)]
    ranges = [_range(axis, measured) for axis in axes]
    ranges[-1] = _quality_limits(summary, ranges[-1])
    figure = go.Figure()
    for front in (False, True):  # what stands out is drawn last
        for method, records in by_method(summary.records).items():
            chosen = [r for r in records if summary.on_front(r) is front]
            if chosen:
                faint = 1.0 if front else line_opacity(len(measured))
                figure.add_trace(_lines(summary, method, chosen, axes, ranges, faint))
    for place, (axis, (low, high)) in enumerate(zip(axes, ranges, strict=True)):
        line = {"color": theme()["front"]["color"], "width": 1}
        # Not above and below, where the ends of the axis are written.
        figure.add_shape(type="line", x0=place, x1=place, y0=0, y1=1, line=line)
        for height, value in ((0.0, low), (1.0, high)):
            figure.add_annotation(
                x=place,
                y=height,
                text=axis.words(value),
                yshift=12 if height else -12,
                showarrow=False,
            )
    figure.update_layout(
        legend={"traceorder": "grouped"},
        xaxis={
            "tickvals": list(range(len(axes))),
            "ticktext": [axis.name.replace(" ", "<br>") for axis in axes],
            "showgrid": False,
            "zeroline": False,
            "range": [-0.3, len(axes) - 0.7],
        },
        yaxis={"visible": False, "range": [-0.12, 1.12]},
    )
    return figure


def _axes(summary: Summary) -> tuple[_Axis, ...]:
    return (
        _Axis(
            "learning rate", lambda r: r.spec.configuration.training.learning_rate, logarithmic=True
        ),
        _Axis("rank", _rank, logarithmic=True),
        _Axis("target kinds", lambda r: len(_targets(r))),
        _Axis("layers", lambda r: len(_layers(r))),
        _Axis("adapter parameters", lambda r: max(r.cost.adapter_params, 1), logarithmic=True),
        _Axis("peak memory MiB", lambda r: r.cost.peak_memory_bytes / 2**20),
        _Axis(summary.metric, lambda r: r.quality),
    )


def _range(axis: _Axis, records: Sequence[TrialRecord]) -> tuple[float, float]:
    values = [v for r in records if (v := axis.placed(r)) is not None]
    return min(values), max(values)


def _quality_limits(summary: Summary, limits: tuple[float, float]) -> tuple[float, float]:
    """Return the limits of the axis of qualities without what lies far below all others."""
    shown = quality_range(summary)
    assert shown is not None, "something was measured"
    return max(limits[0], shown[0]), limits[1]


def _rank(record: TrialRecord) -> float | None:
    """Return the largest rank of a configuration, `None` if its methods have none."""
    ranks = [
        float(value)
        for component in record.spec.configuration.components
        for name, value in component.params
        if name == "rank" and not isinstance(value, str)
    ]
    return max(ranks, default=None)


def _targets(record: TrialRecord) -> set[str]:
    return {
        kind for component in record.spec.configuration.components for kind in component.targets
    }


def _layers(record: TrialRecord) -> set[int]:
    return {
        layer for component in record.spec.configuration.components for layer in component.layers
    }


def _lines(
    summary: Summary,
    method: str,
    records: Sequence[TrialRecord],
    axes: Sequence[_Axis],
    ranges: Sequence[tuple[float, float]],
    opacity: float,
) -> go.Scatter:
    """Return trials of one method, all of the front or none, as one broken line."""
    look, front = mark(method), summary.on_front(records[0])
    x: list[int | None] = []
    y: list[float | None] = []
    numbers: list[int | None] = []
    for record in records:
        heights = [axis.height(record, *limits) for axis, limits in zip(axes, ranges, strict=True)]
        crossed = [(place, h) for place, h in enumerate(heights) if h is not None]
        x += [*(place for place, _ in crossed), None]
        y += [*(h for _, h in crossed), None]
        numbers += [*(record.number for _ in crossed), None]
    texts = {r.number: hover_text(summary, r) for r in records}
    return go.Scatter(
        x=x,
        y=y,
        mode="lines+markers",
        line={"color": look.color, "width": 2.5 if front else 1},
        marker={"symbol": look.symbol, "size": 8 if front else 4},
        opacity=opacity,
        name=f"{method} (front)" if front else method,
        legendgroup=method,
        text=["" if n is None else texts[n] for n in numbers],
        customdata=numbers,
        hovertemplate=HOVER,
    )
