"""Writes docs/methods.md: what every method is and which families take it.

python -m tests.project.method_table
"""

import textwrap
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from autopeft.methods.compose import refusal
from autopeft.methods.inserted import InsertedMethod
from autopeft.methods.peft_types import LEFT_OUT, LORA_LEFT_OUT, OWN
from autopeft.methods.registry import get_method, method_names
from autopeft.models.spec import inspect_model
from tests.families import CONFIGS, FURTHER, STRUCTURE
from tests.tiny import ALL, build

FILE = Path(__file__).parents[2] / "docs" / "methods.md"
HEAD = """# Methods

Made from the registry by `python -m tests.project.method_table`; a test keeps it true.
`autopeft methods --model M` says the same for any model.
"""
MAIN = """## Families

Every method that one of these families takes passes the contract tests on a tiny model of it:
parameter count, memory, output at the start, gradients, detaching, saving and loading, merging.
Becoming a LoRA is tested with peft's `convert_to_lora`.
"""
FURTHER_HEAD = """## Further families

On these, LoRA, (IA)³, LN tuning, BitFit, serial and parallel adapters and prefixes are counted,
attached, trained and detached where they are not refused. (`flan-t5` is T5 with a gated
feed-forward block; MiniLM is `bert`, Pythia `gpt_neox`, SmolLM `llama`, Phi-1 to Phi-2 `phi`.)
"""
STRUCTURE_HEAD = """Of these the structure is tested: kinds of modules, layers, parameters.
"""
WRITING_HEAD = """## Models that write text

With `kind: language_modeling` the methods pass contract tests of their own: no token's output
follows from later tokens, and `generate` writes the same with its cache as without. Trained tokens
stand in front of the text; a gate is each token's own, where elsewhere it is a mean. Word
embeddings that the head shares are refused.
"""


def text() -> str:
    """Return the page."""
    parts = [HEAD, *_overview(), "", *_masked(), "", *_on_words(), "", MAIN, *_families(), ""]
    parts += [FURTHER_HEAD, *_refused_on(FURTHER)]
    parts += ["", STRUCTURE_HEAD, *_refused_on(STRUCTURE), "", *_reasons(), ""]
    parts += [WRITING_HEAD, *_refused_to_write(), ""]
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


def _masked() -> list[str]:
    names = [f"`{name}`" for name in method_names() if get_method(name).info.maskable]
    text = f"Under a mask (`density`, see [search spaces](search-spaces.md)): {', '.join(names)}."
    return ["## Density", "", *textwrap.wrap(text, 100, break_on_hyphens=False)]


def _on_words() -> list[str]:
    found = [n for n in method_names() if "embed.tokens" in get_method(n).info.kinds]
    names = ", ".join(f"`{name}`" for name in found)
    text = f"Of the embeddings of words (`embed.tokens`, where it is named as a target): {names}."
    return ["## Word embeddings", "", *textwrap.wrap(text, 100, break_on_hyphens=False)]


def _families() -> list[str]:
    lines = [f"| method | {' | '.join(CONFIGS)} |", "| --- " * (len(CONFIGS) + 1) + "|"]
    refused = {family: _refusals(family) for family in CONFIGS}
    for name in method_names():
        cells = " | ".join("no" if name in refused[family] else "yes" for family in CONFIGS)
        lines.append(f"| `{name}` | {cells} |")
    return lines


def _refused_on(families: Iterable[str]) -> list[str]:
    lines = ["| family | refused |", "| --- | --- |"]
    for family in families:
        names = ", ".join(f"`{name}`" for name in _refusals(family))
        lines.append(f"| {family} | {names or 'none'} |")
    return lines


def _reasons() -> list[str]:
    """Return each reason once, with the methods and families that it stands for."""
    methods: dict[str, dict[str, None]] = {}
    families: dict[str, dict[str, None]] = {}
    for family in ALL:
        for name, reason in _refusals(family).items():
            general = reason.replace(f"{family}'s", "the").replace(f" {name} ", " them ")
            general = general.replace(f"{family} ", "the model ")
            methods.setdefault(general, {})[f"`{name}`"] = None
            families.setdefault(general, {})[family] = None
    lines = [
        f"- {', '.join(names)} on {', '.join(families[reason])}: {reason}."
        for reason, names in methods.items()
    ]
    return ["Why not:", "", *lines]


def _refused_to_write() -> list[str]:
    own, writing = _refusals("llama"), inspect_model(build("llama", "meta", "language_modeling"))
    found = {name: refusal(get_method(name), writing) for name in method_names() if name not in own}
    return [f"- `{name}` is refused: {reason}." for name, reason in found.items() if reason]


@cache
def _refusals(family: str) -> dict[str, str]:
    spec = inspect_model(build(family, "meta"))
    found = {name: refusal(get_method(name), spec) for name in method_names()}
    return {name: reason for name, reason in found.items() if reason}


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
