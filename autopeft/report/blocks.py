"""A figure on a page, with its title, what it shows in words, and its numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autopeft.report.tables import Table

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A figure on the page.

    Attributes:
        name: Name of its element.
        title: What stands above.
        words: What it shows, for those who cannot see it too.
        plot: The figure.
        numbers: Its numbers as a table; `None` where another table of the page has them.
    """

    name: str
    title: str
    words: str
    plot: "Figure"
    numbers: Table | None = None


def plots(blocks: Sequence[Block]) -> dict[str, Any]:
    """Return figures as the page's script draws them; points get their texts from the page."""
    shown = {}
    for block in blocks:
        data = block.plot.to_plotly_json()
        # The page's script gives all figures one look, in the colours of the reader's scheme.
        layout = {key: value for key, value in data["layout"].items() if key != "template"}
        shown[block.name] = {"data": [_light(trace) for trace in data["data"]], "layout": layout}
    return shown


def _light(trace: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trace without the texts of trials: the page has each once for all figures."""
    shared = "customdata" in trace
    return {k: _plain(v) for k, v in trace.items() if not (shared and k == "text")}


def _plain(value: Any) -> Any:
    """Return lists for Plotly's tuples, all through."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
