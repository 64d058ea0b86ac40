"""Writes docs/methods.md: what every method is and which families take it.

python -m tests.project.method_table
"""

from pathlib import Path

from autopeft.methods.compose import refusal
from autopeft.methods.inserted import InsertedMethod
from autopeft.methods.peft_types import LEFT_OUT, LORA_LEFT_OUT, OWN
from autopeft.methods.registry import get_method, method_names
from autopeft.models.spec import inspect_model
from tests.tiny import CONFIGS, build

FILE = Path(__file__).parents[2] / "docs" / "methods.md"
HEAD = """# Methods

Made from the registry by `python -m tests.project.method_table`; a test keeps it true. Every method
that a family takes passes the contract tests on a tiny model of it: parameter count, output at the
start, gradients, detaching, saving and loading, merging. Becoming a LoRA is tested with
peft's `convert_to_lora`.

`autopeft methods --model M` says the same for any model.
"""


def text() -> str:
    """Return the page."""
    parts = [HEAD, *_overview(), "", "## Families", "", *_families(), ""]
    return "\n".join([*parts, "## peft's types", "", *_peft_types(), ""])


def _overview() -> list[str]:
    lines = [
        "| method | family | what it does | hyperparameters (default) | learning rate | merges "
        "| becomes a LoRA | format |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
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
        cells.append("yes" if info.converts_to_lora else "no")
        cells.append("transformers" if name == "full" else own)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


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


def _peft_types() -> list[str]:
    own = [f"- `{theirs}` is `{ours}` here" for theirs, ours in OWN.items()]
    left_out = [f"- `{name}` {reason}" for name, reason in LEFT_OUT.items()]
    of_lora = [f"- `{name}` {reason}" for name, reason in LORA_LEFT_OUT.items()]
    return [
        "Every type of the installed peft that adapts one model to one task is here. Some are our",
        "own, because peft's know fewer families or cannot choose layers:",
        *("", *own, ""),
        *("Left out:", "", *left_out, ""),
        *("Of LoRA's initialisations and variants, left out:", "", *of_lora),
    ]


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
