"""The costs of a space as an interactive figure or a picture: a box a method, log scale."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from autopeft.errors import RequestError
from autopeft.report.theme import mark

_AXIS = "adapter parameters (log scale)"
_SUFFIXES = (".html", ".png")


def check_figure_file(to: Path) -> None:
    """Check that a figure can have this name, before the work.

    Raises:
        RequestError: If its ending is none that is written, or there is no such folder.
    """
    if to.suffix not in _SUFFIXES:
        raise RequestError(f"Cannot write a figure to '{to}': name a .html or a .png file.")
    if not to.resolve().parent.is_dir():
        raise RequestError(f"Cannot write a figure to '{to}': there is no such folder.")


def write_space_figure(groups: Mapping[str, Sequence[int]], title: str, to: Path) -> None:
    """Write the figure.

    Args:
        groups: Adapter parameters of the points by method.
        title: What stands above.
        to: A `.html` or a `.png` file.

    Raises:
        RequestError: If the file cannot be written.
    """
    shown = {name: [max(value, 1) for value in values] for name, values in groups.items()}
    try:
        if to.suffix == ".html":
            _write_page(shown, title, to)
        else:
            _write_picture(shown, title, to)
    except OSError as error:
        raise RequestError(f"Cannot write a figure to '{to}': {error.strerror}.") from error


def _write_page(groups: Mapping[str, Sequence[int]], title: str, to: Path) -> None:
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, values in groups.items():
        color = mark(name).color
        points = {"boxpoints": "all", "jitter": 0.4, "pointpos": 0, "marker": {"size": 3}}
        figure.add_trace(go.Box(x=list(values), name=name, line={"color": color}, **points))
    figure.update_layout(
        title=title,
        template="plotly_white",
        xaxis={"type": "log", "title": _AXIS, "dtick": "D2"},
        yaxis={"autorange": "reversed"},  # the first method on top
        showlegend=False,
    )
    # The library travels inside the page: it opens without a network.
    figure.write_html(to, include_plotlyjs=True, default_height="97vh")


def _write_picture(groups: Mapping[str, Sequence[int]], title: str, to: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.5 + 0.3 * len(groups)), layout="constrained")
    axes = figure.subplots()
    axes.boxplot(list(groups.values()), orientation="horizontal", tick_labels=list(groups))
    axes.set_xscale("log")
    axes.invert_yaxis()
    axes.set_xlabel(_AXIS)
    axes.set_title(title)
    axes.grid(visible=True, axis="x", alpha=0.3)
    figure.savefig(to, dpi=150)
