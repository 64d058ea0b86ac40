"""The figures of the pages as pictures for paper and slides: a browser draws the same figures."""

import importlib.util
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from autopeft.errors import MissingPackageError, RequestError

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

FORMATS = ("png", "svg", "pdf")

#: Pixels of 1/96 inch: as wide as the text of a page, where letters of `_FONT` have 10.5 points.
WIDTH, HEIGHT = 640, 400
#: Dots for each of these pixels, which makes 288 an inch.
SCALE = 3
_FONT = {"size": 14, "color": "#222222", "family": "Arial, Helvetica, Liberation Sans, sans-serif"}
#: Pixels of a legend: the height of a row, the width of a key and, about, of a letter.
_ROW, _KEY, _LETTER = 20, 50, 7.5
#: Pixels below a figure's field: the numbers and the title of its axis.
_AXIS = 65


def check_pictures() -> None:
    """Check that the package which draws pictures is here, before the work.

    Raises:
        MissingPackageError: If it is not installed.
    """
    if importlib.util.find_spec("kaleido") is None:
        raise MissingPackageError("kaleido", "Drawing pictures", "pictures")


def write_pictures(figures: Mapping[str, "Figure"], folder: Path, ending: str) -> list[Path]:
    """Write figures as pictures, all or none; return their paths.

    Args:
        figures: Figures by the names of their files.
        folder: Where to write; it is made if it is not there.
        ending: One of `FORMATS`.

    Raises:
        MissingPackageError: If kaleido is not installed.
        RequestError: If there is no browser, it draws nothing, or the folder cannot be written.
    """
    check_pictures()
    with TemporaryDirectory(prefix="autopeft-pictures-") as scratch:
        drawn = {name: Path(scratch) / f"{name}.{ending}" for name in figures}
        _draw([_specification(figures[name], path, ending) for name, path in drawn.items()])
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return [Path(shutil.copyfile(path, folder / path.name)) for path in drawn.values()]
        except OSError as error:
            raise RequestError(f"Cannot write to '{folder}': {error.strerror}.") from error


def for_paper(figure: "Figure") -> "Figure":
    """Return a figure as it is printed: on white, the legend below, with one entry a method."""
    import plotly.graph_objects as go

    printed = go.Figure(figure)
    names = _shorten_legend(printed)
    widest = max(map(len, names), default=0)
    legend = _ROW * -(-len(names) // max(1, int(WIDTH / (_KEY + _LETTER * widest))))
    printed.update_layout(
        template="plotly_white",
        width=WIDTH,
        height=HEIGHT + legend,
        font=_FONT,
        margin={"l": 20, "r": 20, "t": 30, "b": _AXIS + legend},
        legend={"orientation": "h", "yref": "container", "y": 0.01, "yanchor": "bottom"},
    )
    centre = {"x": 0.5, "xanchor": "center"}
    printed.update_layout(legend={"title": {"text": ""}, "traceorder": "normal", **centre})
    printed.update_xaxes(automargin=True, tickangle=0)
    printed.update_yaxes(automargin=True)
    return printed


def _shorten_legend(figure: "Figure") -> list[str]:
    """Leave one entry a group of traces, in full colour; return the names of all entries.

    What is faint or open is so in the picture; a legend of paper cannot be clicked.
    """
    groups: dict[str, Any] = {}
    for trace in figure.data:
        if trace.legendgroup:
            groups.setdefault(trace.legendgroup, trace)
            trace.showlegend = False
    for name, trace in groups.items():
        look = {"color": trace.marker.color or trace.line.color}
        symbol = trace.marker.symbol.removesuffix("-open")
        figure.add_scatter(
            x=[None],
            y=[None],
            mode=trace.mode,
            name=name,
            line=look,
            marker={**look, "symbol": symbol, "size": 9},
        )
    return [t.name for t in figure.data if t.name and t.showlegend is not False]


def _specification(figure: "Figure", path: Path, ending: str) -> dict[str, Any]:
    printed = for_paper(figure)
    size = {"width": printed.layout.width, "height": printed.layout.height}
    options = {"format": ending, **size, "scale": SCALE if ending == "png" else 1}
    return {"fig": printed.to_dict(), "path": path, "opts": options}


def _draw(specifications: list[dict[str, Any]]) -> None:
    """Draw all figures in one browser, which is closed again."""
    import kaleido
    from kaleido.errors import BrowserClosedError, BrowserFailedError, ChromeNotFoundError

    try:
        # MathJax would be asked of a network, and no figure holds formulas.
        kaleido.write_fig_from_object_sync(
            specifications, kopts={"mathjax": False}, cancel_on_error=True
        )
    except ChromeNotFoundError as error:
        raise RequestError(
            "Drawing pictures needs Chrome or Chromium, and none was found: install one, or name "
            "its file with the environment variable BROWSER_PATH."
        ) from error
    except (BrowserClosedError, BrowserFailedError, TimeoutError) as error:
        reason = str(error.args[0]) if error.args else "the browser took too long"
        raise RequestError(f"No pictures could be drawn: {reason.rstrip('.')}.") from error
