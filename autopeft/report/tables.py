"""The tables of a report: what stands in their cells, and by what they are sorted."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autopeft.report.summary import Summary, column_title
from autopeft.study.analysis.budgets import Winner
from autopeft.study.analysis.importance import Importance
from autopeft.study.front import Progress
from autopeft.trials.trial import TrialRecord

#: Columns of the table of all trials that are shown as they are, in this order.
_TRIAL_COLUMNS = (
    *("trial", "status", "{metric}", "mean", "standard_error", "on_front", "adapter_params"),
    *("share_of_base_percent", "peak_memory_mib", "method", "targets", "layers", "settings"),
    *("learning_rate", "fidelity", "seconds", "repeat_of", "pick"),
)
#: How numbers are written; qualities and their errors have four places.
_FORMATS = {
    "learning_rate": ".3g",
    "fidelity": ".3g",
    "seconds": ".1f",
    "on_front": ".2f",
    "share_of_base_percent": ".3g",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell.

    Attributes:
        text: What is shown.
        number: What a numeric column is sorted by; `None` for words and where there is nothing.
        share: How full a bar behind it is, in 0-1; `None` for no bar.
    """

    text: str
    number: float | None = None
    share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table.

    Attributes:
        columns: Names of the columns.
        rows: Cells of each row, as many as columns.
        marked: Indices of rows that stand out.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    marked: frozenset[int] = frozenset()

    @property
    def numeric(self) -> list[bool]:
        """Whether each column holds numbers; the first names the row, whatever it holds."""
        places = range(1, len(self.columns))
        return [False, *(any(row[i].number is not None for row in self.rows) for i in places)]


def trial_table(summary: Summary) -> Table:
    """Return all trials; those of the front stand out."""
    wanted = [name.format(metric=summary.metric) for name in _TRIAL_COLUMNS]
    return _from_rows(summary.rows(summary.records), wanted, _marked(summary, summary.records))


def front_table(summary: Summary) -> Table:
    """Return the front, cheapest first."""
    mean = "mean" if summary.repeated else summary.metric
    seeds = ("seeds",) if summary.repeated else ()
    costs = ("adapter_params", "share_of_base_percent")
    places = ("method", "targets", "layers", "settings", "learning_rate", "pick")
    wanted = ("trial", mean, "standard_error", *seeds, "on_front", *costs, *places)
    table = _from_rows(summary.rows(summary.front), wanted)
    # Alone, without the column of single seeds, a mean would not say of what.
    of_what = {"mean": f"mean {column_title(summary.metric)}"}
    return replace(table, columns=tuple(of_what.get(title, title) for title in table.columns))


def cost_table(summary: Summary) -> Table:
    """Return what the members of the front cost, with bars by the dearest of them."""
    columns: dict[str, list[float | None]] = {
        "adapter parameters": [r.cost.adapter_params for r in summary.front],
        "head parameters": [r.cost.head_params for r in summary.front],
        "peak memory MiB": [round(r.cost.peak_memory_bytes / 2**20) for r in summary.front],
        "billion operations an example": [_operations(r) for r in summary.front],
        "seconds trained": [round(r.seconds, 1) for r in summary.front],
    }
    shown = {name: values for name, values in columns.items() if any(values)}
    rows = []
    for i, record in enumerate(summary.front):
        name = f"{record.number} {record.spec.configuration.method}"
        bars = [_bar(values[i], values) for values in shown.values()]
        rows.append((Cell(name, record.number), *bars))
    return Table(columns=("trial", *shown), rows=tuple(rows))


def failure_table(summary: Summary) -> Table:
    """Return the trials that failed, and why."""
    failed = [r for r in summary.records if r.status.failed and r.result is not None]
    rows = [
        (
            Cell(str(r.number), r.number),
            Cell(r.status.value),
            Cell(r.spec.configuration.method),
            Cell(r.result.reason if r.result else ""),
            Cell(f"{r.seconds:.1f}", r.seconds),
        )
        for r in failed
    ]
    return Table(columns=("trial", "status", "method", "reason", "seconds"), rows=tuple(rows))


def progress_table(history: Sequence[Progress]) -> Table:
    """Return the trials after which the hypervolume was another."""
    before = [0.0, *(h.hypervolume for h in history)]
    rows = tuple(
        (
            Cell(str(h.n_trials), h.n_trials),
            Cell(f"{h.trainings:.2f}", h.trainings),
            Cell(f"{h.hypervolume:.4f}", h.hypervolume),
        )
        for h, last in zip(history, before, strict=False)
        if h.hypervolume != last
    )
    return Table(columns=("trials", "full trainings", "hypervolume"), rows=rows)


def rung_table(summary: Summary) -> Table:
    """Return how many trials reached each rung, and what they measured there."""
    reached: dict[float, list[float]] = {}
    for record in summary.records:
        for report in record.reports:
            quality = report.metrics[record.quality_metric]
            if math.isfinite(quality):
                reached.setdefault(report.fidelity, []).append(quality)
    rows = []
    for share, values in sorted(reached.items()):
        ordered = sorted(values)
        cells = (ordered[0], ordered[len(ordered) // 2], ordered[-1])
        rows.append(
            (
                Cell(f"{100 * share:.0f} %", share),
                Cell(str(len(values)), len(values)),
                *(Cell(f"{value:.4f}", value) for value in cells),
            )
        )
    columns = ("share of a training", "trials", "lowest", "middle", "highest")
    return Table(columns=columns, rows=tuple(rows))


def winner_table(winners: Sequence[Winner]) -> Table:
    """Return the best method within each budget."""
    rows = tuple(
        (
            Cell(f"{w.budget:,}", w.budget),
            Cell(w.method),
            Cell(f"{w.mean:.4f}", w.mean),
            Cell(f"{w.evaluation_error:.4f}", w.evaluation_error),
            Cell(w.runner_up or ""),
            Cell({True: "yes", False: "no", None: ""}[w.clear]),
        )
        for w in winners
    )
    columns = ("budget", "method", "mean", "evaluation error", "second", "clear")
    return Table(columns=columns, rows=rows)


def importance_table(importances: Sequence[Importance]) -> Table:
    """Return how much each fact explains."""
    rows = tuple(
        (
            Cell(i.name.replace("_", " ")),
            Cell(f"{i.share:.2f}", i.share),
            Cell(f"{i.spread:.2f}", i.spread),
        )
        for i in importances
    )
    return Table(columns=("fact", "share of the variance", "spread"), rows=rows)


def rows_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return flat rows, alike in keys, as a table."""
    return _from_rows(rows, list(rows[0]) if rows else ())


def _from_rows(
    rows: Sequence[Mapping[str, Any]], wanted: Sequence[str], marked: frozenset[int] = frozenset()
) -> Table:
    """Return rows as a table, without the columns that are empty in all."""
    names = [name for name in wanted if any(row[name] not in {None, ""} for row in rows)]
    cells = tuple(tuple(_cell(row[name], name) for name in names) for row in rows)
    return Table(columns=tuple(map(column_title, names)), rows=cells, marked=marked)


def _cell(value: Any, name: str) -> Cell:
    if value is None:
        return Cell("")
    if isinstance(value, int):
        return Cell(f"{value:,}", value)
    if isinstance(value, float):
        return Cell(f"{value:{_FORMATS.get(name, '.4f')}}", value)
    return Cell(str(value))


def _bar(value: float | None, values: Sequence[float | None]) -> Cell:
    most = max((v for v in values if v is not None), default=0)
    if value is None:
        return Cell("")
    return Cell(f"{value:,}", value, value / most if most else 0.0)


def _operations(record: TrialRecord) -> float | None:
    flops = record.cost.flops_per_example
    return None if flops is None else round(flops / 1e9, 2)


def _marked(summary: Summary, records: Sequence[TrialRecord]) -> frozenset[int]:
    return frozenset(i for i, record in enumerate(records) if summary.on_front(record))
