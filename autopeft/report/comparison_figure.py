"""The fronts of several studies in one figure, and the page that shows it."""

import itertools
from collections.abc import Sequence

import plotly.graph_objects as go

from autopeft.report.blocks import Block, plots
from autopeft.report.comparison import Compared, notes, pick_rows, share_rows
from autopeft.report.points import HOVER, hover_text
from autopeft.report.tables import rows_table
from autopeft.report.templates import render
from autopeft.report.theme import study_mark, theme

_AXIS = "adapter parameters, % of the base"


def comparison_page(studies: Sequence[Compared], written: str) -> str:
    """Return the page of a comparison.

    Args:
        studies: The studies, in the order they were named.
        written: When the page is written.
    """
    names = " and ".join(study.label for study in studies)
    block = Block(
        name="fronts",
        title="The fronts",
        words="Mean validation quality of the members of each study's front over their adapter "
        "parameters as a share of the base model, on a logarithmic axis, with standard errors. "
        "Colour and shape tell the study.",
        plot=comparison_figure(studies),
    )
    found = any(study.summary.front for study in studies)
    return render(
        "comparison.html.j2",
        plots([block]) if found else {},
        {
            key(place, record.number): f"{study.label}<br>{hover_text(study.summary, record)}"
            for place, study in enumerate(studies)
            for record in study.summary.front
        },
        title=f"{len(studies)} studies compared",
        names=names,
        block=block if found else None,
        picks=rows_table(pick_rows(studies)),
        shares=rows_table(share_rows(studies)),
        notes=notes(studies),
        written=written,
    )


def comparison_figure(studies: Sequence[Compared]) -> go.Figure:
    """Return the fronts of the studies, each in a colour and a shape of its own."""
    figure = go.Figure()
    for place, study in enumerate(studies):
        if study.summary.front:
            figure.add_trace(_front(place, study))
    metrics = dict.fromkeys(study.summary.metric for study in studies)
    figure.update_layout(
        xaxis={"type": "log", "title": _AXIS, "dtick": "D2", "ticksuffix": "%"},
        yaxis={"title": f"validation {' or '.join(metrics)}"},
        showlegend=True,
    )
    return figure


def key(place: int, number: int) -> str:
    """Return the name of a trial among those of all studies."""
    return f"{place}:{number}"


def _front(place: int, study: Compared) -> go.Scatter:
    look, summary = study_mark(place), study.summary
    members = sorted(summary.front, key=lambda r: (study.share(r), r.number))
    means = [study.mean(r) for r in members]
    known = [e for r in members if (e := summary.estimate(r)) is not None]
    rising = all(a <= b for a, b in itertools.pairwise(means))
    return go.Scatter(
        x=[100 * study.share(r) for r in members],
        y=means,
        error_y={"type": "data", "array": [e.error for e in known], "thickness": 1, "width": 3},
        # A third objective adds members that parameters do not order: a line would go to and fro.
        mode="lines+markers" if rising else "markers",
        line={"color": look.color, "shape": "hv", "width": 1.5},
        marker={
            "color": look.color,
            "symbol": look.symbol,
            "size": 11,
            "line": theme()["outline"],
        },
        name=study.label,
        text=[f"{study.label}<br>{hover_text(summary, r)}" for r in members],
        customdata=[key(place, r.number) for r in members],
        hovertemplate=HOVER,
    )
