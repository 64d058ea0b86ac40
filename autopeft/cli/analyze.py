"""`autopeft analyze`."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from autopeft.api.result import SearchResult
from autopeft.cli.output import console, print_notes, print_rows
from autopeft.cli.pictures import Wish, check_wish, draw
from autopeft.cli.study import open_study
from autopeft.report.analysis_figure import analysis_figures, write_analysis_page
from autopeft.report.pictures import write_pictures
from autopeft.space.wording import count_text
from autopeft.study.analysis.analysis import Analysis, TenTimes
from autopeft.trials.database import is_writable


def analyze_command(study: Path | None, output: str, pictures: Wish) -> None:
    """Print what a study tells beyond its front, and write it as a page, on request as pictures."""
    check_wish(pictures)
    result = open_study(study)
    analysis = result.analyze()
    figures = analysis_figures(analysis, f"validation {result.summary.metric}")
    draw(partial(write_pictures, figures), pictures, quiet=output != "table")
    page, unwritten = _write_page(analysis, result)
    rows = list(_winner_rows(analysis))
    if output == "table":
        _print_tables(analysis)
    title = f"Which method wins at which budget, by mean {result.summary.metric}"
    data = {"study": str(result.folder.path), "page": page, **analysis.to_dict()}
    print_rows(rows, output, title=title, data=data)
    if output == "table":
        words = [
            *map(_ten_times_text, analysis.ten_times),
            *([f"As a page: {page}"] if page else []),
        ]
        console().print("\n".join(words), highlight=False, markup=False)
    print_notes([*analysis.notes, *unwritten])


def _write_page(analysis: Analysis, result: SearchResult) -> tuple[str | None, list[str]]:
    """Write the page into the study; return its path, or why there is none.

    A study that can only be read is analysed all the same.
    """
    place = result.folder.report
    if not is_writable(place):
        return None, [f"No page is written, because '{place}' cannot be."]
    return str(write_analysis_page(analysis, f"What {result.summary.name} tells", place)), []


def _print_tables(analysis: Analysis) -> None:
    if analysis.importances:
        rows = [
            {
                "fact": _words(importance.name),
                "explains": round(importance.share, 2),
                "spread": round(importance.spread, 2),
            }
            for importance in analysis.importances
        ]
        trials = count_text(analysis.n_trials, "trial")
        title = f"What matters: share of the variance of quality in {trials}"
        print_rows(rows, "table", title=title)
    if analysis.curves:
        print_rows(list(_curve_rows(analysis)), "table", title="Expected quality, all else equal")
        words = f"Rank correlation of trials with their prediction: {analysis.predictability:.2f}"
        console().print(words, highlight=False)


def _curve_rows(analysis: Analysis) -> Iterator[dict[str, Any]]:
    """Yield a row for each curve: its ends, its middle, and where it is highest."""
    for curve in analysis.curves:
        last = len(curve.values) - 1
        best = max(range(last + 1), key=lambda i: curve.qualities[i])
        shown = {"lowest": 0, "middle": last // 2, "highest": last, "best": best}
        yield {"fact": _words(curve.name)} | {
            place: f"{curve.qualities[i]:.3f} ± {curve.errors[i]:.3f} at {_number(curve.values[i])}"
            for place, i in shown.items()
        }


def _winner_rows(analysis: Analysis) -> Iterator[dict[str, Any]]:
    for winner in analysis.winners:
        second = winner.runner_up
        yield {
            "budget": winner.budget,
            "method": winner.method,
            "mean": round(winner.mean, 4),
            "evaluation_error": round(winner.evaluation_error, 4),
            "trial": winner.trial,
            "second": second,
            "second_mean": None if second is None else round(winner.by_method[second], 4),
            "clear": winner.clear,
        }


def _ten_times_text(found: TenTimes) -> str:
    head = f"10 times the {count_text(found.start, 'parameter')} of the {found.pick}: "
    if found.gain is None:
        return f"{head}{found.reason}."
    return (
        f"{head}{found.gain:+.4f} ± {found.error:.4f} expected, to {found.quality:.4f} "
        f"(trial {found.trial})."
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _words(name: str) -> str:
    return name.replace("_", " ")
