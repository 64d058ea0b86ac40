"""`autopeft pareto`, and the study that a command is about."""

from pathlib import Path
from typing import Any

from autopeft.api.result import SearchResult
from autopeft.api.search import STUDIES
from autopeft.cli.output import console, print_rows
from autopeft.report.derived import WORDS, derived_rows
from autopeft.trials.folder import newest_study


def pareto_command(study: Path | None, output: str, *, every: bool) -> None:
    """Print the front, or all trials."""
    result = open_study(study)
    rows = result.summary.rows(result.trials if every else result.front)
    title = f"{'Trials' if every else 'Pareto front'} of {result.summary.name}"
    data = result.to_dict()
    if not every:
        data["trials"] = [t for t in data["trials"] if t["number"] in set(data["front"])]
    shown = rows if every or output != "table" else of_the_front(rows)
    print_rows(shown, output, title=title, data=data)
    if output == "table" and result.summary.derived:
        print_rows(derived_rows(result.summary), output, title="Derived after the search")
        console().print(WORDS, highlight=False)
    if output == "table" and not rows:
        console(stderr=True).print("No trial is complete yet.", highlight=False)


def of_the_front(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of the front for a table, without what is the same for all of its members."""
    return [{k: v for k, v in row.items() if k not in {"status", "fidelity"}} for row in rows]


def open_study(study: Path | None) -> SearchResult:
    """Open the study that was named, or the newest."""
    return SearchResult.open(study) if study else SearchResult(newest_study(STUDIES))
