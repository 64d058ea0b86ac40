"""The Pareto front as an interactive figure (Plotly) and as a picture (Matplotlib)."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from matplotlib.figure import Figure

from autopeft.report.stopping import rung_lines
from autopeft.report.summary import Summary
from autopeft.report.theme import mark, theme
from autopeft.space.wording import layer_text, setting_text, target_text
from autopeft.study.objective import counts_for_front
from autopeft.trials.trial import TrialRecord, TrialStatus


def write_figures(summary: Summary, folder: Path) -> list[Path]:
    """Write `pareto.html` and `pareto.png`; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    html, png = folder / "pareto.html", folder / "pareto.png"
    # The library travels inside the page: it opens without a network.
    pareto_figure(summary).write_html(html, include_plotlyjs=True, default_height="97vh")
    pareto_picture(summary).savefig(png, dpi=150)
    return [html, png]


def pareto_figure(summary: Summary) -> go.Figure:
    """Return quality over adapter parameters; each point names its whole configuration."""
    figure = go.Figure()
    for method, records in _by_method(summary.records).items():
        for complete in (True, False):
            chosen = [r for r in records if counts_for_front(r) is complete]
            if chosen:
                figure.add_trace(_points(summary, method, chosen, complete=complete))
    front = summary.front
    figure.add_trace(
        go.Scatter(
            x=[_shown(r.cost.adapter_params) for r in front],
            y=_means(summary),
            error_y={"type": "data", "array": _errors(summary), "thickness": 1, "width": 3},
            mode="lines",
            line={"shape": "hv", **theme()["front"]},
            name="Pareto front",
            hoverinfo="skip",
        )
    )
    budget = theme()["budget"]
    figure.add_vline(
        x=_shown(summary.budget_limit), line={"color": budget["color"], "dash": budget["dash"]}
    )
    figure.add_annotation(
        x=math.log10(
            _shown(summary.budget_limit)
        ),  # Plotly places texts by the logarithm, lines not
        y=1.0,
        yref="paper",
        yanchor="bottom",
        text=f"budget {summary.budget_text}",
        font={"color": budget["color"]},
        showarrow=False,
    )
    figure.update_layout(
        title={
            "text": _title(summary),
            "subtitle": {"text": "<br>".join(rung_lines(summary))},
        },
        template="plotly_white",
        xaxis={"type": "log", "title": "adapter parameters (log scale)", "dtick": "D2"},
        yaxis={"title": f"validation {summary.metric}"},
        legend={"title": "method"},
        hoverlabel={"align": "left"},
        margin={"l": 70, "r": 30, "t": 80, "b": 60},
    )
    return figure


def pareto_picture(summary: Summary) -> Figure:
    """Return the same front as a picture, for places that show no JavaScript."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for method, records in _by_method(summary.records).items():
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
    axes.axvline(_shown(summary.budget_limit), color=theme()["budget"]["color"], linestyle=":")
    axes.annotate(
        f"budget {summary.budget_text}",
        (_shown(summary.budget_limit), 1.0),
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


def _shown(n_params: int) -> int:
    """Return where a number of parameters stands on a logarithmic axis; the head alone has 0."""
    return max(n_params, 1)


def _points(
    summary: Summary, method: str, records: Sequence[TrialRecord], *, complete: bool
) -> go.Scatter:
    look = mark(method)
    on_front = {r.number for r in summary.front}
    sizes = theme()["sizes"]
    size = [sizes["front" if r.number in on_front else "other"] for r in records]
    return go.Scatter(
        x=[_shown(r.cost.adapter_params) for r in records],
        y=[r.quality for r in records],
        mode="markers",
        marker={
            "color": look.color,
            "symbol": look.symbol if complete else f"{look.symbol}-open",
            "size": size,
        },
        name=method if complete else f"{method} (stopped)",
        legendgroup=method,
        text=[_hover(summary, r) for r in records],
        hovertemplate="%{text}<extra></extra>",
    )


def _hover(summary: Summary, record: TrialRecord) -> str:
    configuration = record.spec.configuration
    lines = [
        f"<b>trial {record.number}: {configuration.method}</b>",
        f"{summary.metric} {record.quality:.4f} at {100 * record.fidelity:.0f} % of a training",
        *_noise_lines(summary, record),
        f"{record.cost.adapter_params:,} adapter parameters",
        f"{record.cost.peak_memory_bytes / 2**20:,.0f} MiB predicted training memory",
        f"targets {target_text(configuration)}",
        f"layers {layer_text(configuration, summary.n_layers)}",
        setting_text(configuration),
        f"learning rate {configuration.training.learning_rate:g}",
    ]
    return "<br>".join(line for line in lines if line)


def _noise_lines(summary: Summary, record: TrialRecord) -> list[str]:
    """Return what repeats tell of a complete trial."""
    found = summary.estimate(record)
    if found is None or not counts_for_front(record):
        return []
    lines = [f"on the front with a probability of {found.probability:.2f}"]
    if found.n_seeds > 1:
        numbers = ", ".join(str(r.number) for r in found.measured.trials)
        mean = f"mean {found.measured.mean:.4f} ± {found.error:.4f}"
        lines.insert(0, f"{mean} of {found.n_seeds} seeds (trials {numbers})")
    if record.repeat_of is not None:
        lines.append(f"trial {record.repeat_of} again, with seed {record.spec.seed}")
    return lines


def _means(summary: Summary) -> list[float]:
    """Return the mean qualities of the front."""
    found = [summary.estimate(record) for record in summary.front]
    return [e.measured.mean for e in found if e is not None]


def _errors(summary: Summary) -> list[float]:
    """Return the standard errors of the front, 0 where no second seed has shown the noise."""
    found = [summary.estimate(record) for record in summary.front]
    return [e.error if summary.repeated else 0.0 for e in found if e is not None]


def _by_method(records: Sequence[TrialRecord]) -> dict[str, list[TrialRecord]]:
    grouped: dict[str, list[TrialRecord]] = {}
    for record in records:
        if record.quality is not None:
            grouped.setdefault(record.spec.configuration.method, []).append(record)
    return dict(sorted(grouped.items()))


def _coordinates(records: Sequence[TrialRecord]) -> tuple[list[int], list[Any]]:
    return [_shown(r.cost.adapter_params) for r in records], [r.quality for r in records]


def _title(summary: Summary) -> str:
    return f"{summary.task} on {summary.model}: quality against size"
