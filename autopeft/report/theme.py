"""Files of `dashboards/`: the figures' colours and the templates."""

import zlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How a method or a study looks: a colour, a Plotly symbol and a Matplotlib marker."""

    color: str
    symbol: str
    marker: str


def dashboard_file(name: str) -> Path:
    """Return a file of `dashboards/`, from the wheel or from a checkout."""
    inside = Path(str(resources.files("autopeft"))) / "dashboards"
    folder = inside if inside.is_dir() else Path(__file__).parents[2] / "dashboards"
    return folder / name


@cache
def theme() -> dict[str, Any]:
    """Return the theme of the figures."""
    data: dict[str, Any] = yaml.safe_load(dashboard_file("theme.yaml").read_text(encoding="utf-8"))
    return data


def mark(method: str) -> Mark:
    """Return how a method looks."""
    others = theme()["others"]
    # A checksum, not `hash`: that differs from process to process.
    other = others[zlib.crc32(method.encode()) % len(others)]
    return Mark(**theme()["methods"].get(method, other))


def study_mark(place: int) -> Mark:
    """Return how the study at a place in a comparison looks."""
    marks = theme()["studies"]
    return Mark(**marks[place % len(marks)])
