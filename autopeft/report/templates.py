"""Pages from the templates of `dashboards/`: each one file that opens without a network."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from autopeft.report.theme import dashboard_file, theme

_PLOTLY = "vendor/plotly-basic.min.js"


def render(
    template: str, figures: Mapping[str, Any], hovers: Mapping[Any, str], **values: Any
) -> str:
    """Return a page.

    Args:
        template: File in `dashboards/`.
        figures: Plotly's traces and layout by the name of the element they are drawn in.
        hovers: Text of each trial, by what the points of all figures call it.
        values: What the template shows.
    """
    page = _environment().get_template(template)
    return page.render(
        style=_text("page.css"),
        script=_text("page.js"),
        plotly=_text(_PLOTLY) if figures else "",
        data=_json({"figures": figures, "hovers": hovers, "dark": theme()["dark"]}),
        **values,
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(dashboard_file("")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _text(name: str) -> Markup:
    """Return a file of ours as it is."""
    return Markup(dashboard_file(name).read_text(encoding="utf-8"))


def _json(data: Any) -> Markup:
    """Return data for a script element: nothing in it can end the element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)
