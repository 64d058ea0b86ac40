"""Writes docs/methods.md: what every method is and which families take it.

python -m tests.project.method_table
"""

import textwrap
from pathlib import Path

from autopeft.methods.compose import refusal
from autopeft.methods.inserted import InsertedMethod
from autopeft.methods.registry import get_method, method_names
from autopeft.models.spec import inspect_model
from tests.tiny import CONFIGS, build

FILE = Path(__file__).parents[2] / "docs" / "methods.md"
HEAD = """# Methods

Made from the registry by `python -m tests.project.method_table`; a test keeps it true. Every method
that a family takes passes the contract tests on a tiny model of it: parameter count, output at the
start, gradients, detaching, saving and loading, merging.

`autopeft methods --model M` says the same for any model.
"""


def text() -> str:
    """Return the page."""
    parts = [HEAD, *_overview(), "", *_masked(), "", "## Families", "", *_families(), ""]
    return "\n".join(parts)


def _overview() -> list[str]:
    lines = [
        "| method | family | what it does | hyperparameters (default) | learning rate | merges "
        "| format |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in method_names():
        method = get_method(name)
        info = method.info
        own = "autopeft" if isinstance(method, InsertedMethod) else "peft"
        ranges = "; ".join(
            f"{p.domain.name} {p.domain.describe()} ({p.default})" for p in info.parameters
        )
        cells = [f"`{name}`", info.family, info.about, ranges or "none"]
        cells += [f"{info.default_learning_rate:g}", "yes" if info.mergeable else "no"]
        cells.append("transformers" if name == "full" else own)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _masked() -> list[str]:
    names = [f"`{name}`" for name in method_names() if get_method(name).info.maskable]
    text = f"Under a mask (`density`, see [search spaces](search-spaces.md)): {', '.join(names)}."
    return ["## Density", "", *textwrap.wrap(text, 100, break_on_hyphens=False)]


def _families() -> list[str]:
    specs = {family: inspect_model(build(family, "meta")) for family in CONFIGS}
    lines = [f"| method | {' | '.join(specs)} |", "| --- " * (len(specs) + 1) + "|"]
    reasons: list[str] = []
    for name in method_names():
        found = {family: refusal(get_method(name), spec) for family, spec in specs.items()}
        cells = " | ".join("no" if reason else "yes" for reason in found.values())
        lines.append(f"| `{name}` | {cells} |")
        reasons += [reason for reason in found.values() if reason]
    return [*lines, "", "Reasons:", "", *(f"- {reason}" for reason in dict.fromkeys(reasons))]


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
