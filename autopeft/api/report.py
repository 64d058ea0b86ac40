"""The report of a study: one page of what lies in its folder and its storage."""

import shlex
from datetime import datetime
from pathlib import Path

from autopeft.api.result import SearchResult
from autopeft.errors import RequestError, StudyError
from autopeft.report.page import Findings, Origin, study_figures, study_page
from autopeft.report.pictures import write_pictures
from autopeft.study.analysis.budgets import winners
from autopeft.study.analysis.facts import facts_of
from autopeft.study.analysis.importance import LEAST_TRIALS, Importance, importances
from autopeft.study.uncertainty import Measured, measured_configurations
from autopeft.tasks.metrics import METRICS

REPORT = "report.html"


def write_report_page(result: SearchResult, to: Path | None = None, *, quick: bool = False) -> Path:
    """Write the report of a study as one file; return its path.

    Args:
        result: The study.
        to: The file; `None` writes `report.html` beside the study's other figures.
        quick: Whether to leave out what takes seconds: the importances.

    Raises:
        RequestError: If the file cannot be written.
        StudyError: If the study does not say what was asked.
    """
    path = to or result.folder.report / REPORT
    try:
        origin = _origin(result)
    except KeyError as error:
        raise StudyError(f"'{result.folder.path}' is incomplete: {error} is missing.") from error
    text = study_page(result.summary, origin, _findings(result, quick=quick))
    write_page(text, path, make_folder=to is None)
    return path


def write_report_pictures(result: SearchResult, folder: Path, ending: str = "png") -> list[Path]:
    """Write each figure of a study's report as a picture; return their paths.

    Args:
        result: The study.
        folder: Where to write; it is made if it is not there.
        ending: One of `autopeft.report.pictures.FORMATS`.

    Raises:
        MissingPackageError: If kaleido is not installed.
        RequestError: If there is no browser that draws them, or the folder cannot be written.
        StudyError: If no trial has measured anything.
    """
    figures = study_figures(result.summary, _findings(result, quick=False))
    if not figures:
        raise StudyError("No trial of the study has measured anything: there is nothing to draw.")
    return write_pictures(figures, folder, ending)


def check_page_file(to: Path | None) -> None:
    """Check that a page can have this name, before the work.

    Raises:
        RequestError: If its ending is not that of a page, or there is no such folder.
    """
    if to is None:
        return
    if to.suffix not in {".html", ".htm"}:
        raise RequestError(f"Cannot write a report to '{to}': name a .html file.")
    if not to.resolve().parent.is_dir():
        raise RequestError(f"Cannot write a report to '{to}': there is no such folder.")


def write_page(text: str, path: Path, *, make_folder: bool = False) -> None:
    """Write a page in one step: a browser finds the old one or the new one, never a part.

    Raises:
        RequestError: If the file cannot be written.
    """
    scratch = path.with_name(f".{path.name}.part")
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        raise RequestError(
            f"Cannot write '{path}' ({error.strerror}): name a file in a folder of yours with --to."
        ) from error


def now_text() -> str:
    """Return the time as a page shows it."""
    return datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")


def _findings(result: SearchResult, *, quick: bool) -> Findings:
    summary, metric = result.summary, METRICS[result.summary.metric]
    found = measured_configurations(summary.records)
    if not found:
        return Findings()
    told = winners(found, summary.budget_limit, lambda q: metric.error(q, summary.eval_rows))
    ranked = not quick and len(found) >= LEAST_TRIALS
    return Findings(
        winners=told,
        importances=_importances(found, summary.n_layers) if ranked else (),
        n_trials=len(found),
    )


def _importances(found: list[Measured], n_layers: int) -> list[Importance]:
    rows = [facts_of(m.record, n_layers) for m in found]
    return importances(rows, [m.mean for m in found])


def _origin(result: SearchResult) -> Origin:
    manifest, folder = result.manifest, shlex.quote(str(result.folder.path))
    task, model, request = manifest["task"], manifest["model"], manifest["request"]
    summary = result.summary
    asked = {
        "task": f"{task['name']}: {task['about']}",
        "data": f"{task['origin']}: {task['train_rows']:,} rows to train, "
        f"{task['eval_rows']:,} to evaluate",
        "model": f"{model['name']}, {model['family']}, {model['n_layers']} layers, "
        f"{model['base_params']:,} parameters",
        "quality": f"validation {task['metric']}",
        "objectives": ", ".join(manifest["objectives"]),
        "budget": f"{summary.budget_text}: at most {summary.budget_limit:,} adapter parameters",
        "search space": request["space"],
        "strategy": f"{request['strategy']}, early stopping {request['fidelity']}",
        "trials": str(request["trials"]),
        "epochs of a full training": f"{task['epochs']:g}",
    }
    if summary.memory_limit is not None:
        asked["memory"] = f"at most {summary.memory_limit / 2**30:.3g} GiB predicted"
    again = {
        "seed": str(request["seed"]),
        "data fingerprint": task["fingerprint"],
        "started": manifest["created"],
        "study folder": str(result.folder.path),
        **manifest["versions"],
    }
    commands = {"The search:": manifest["command"]}
    commands["More trials:"] = f"autopeft search --resume --study {folder} --trials N"
    if summary.best() is not None:
        commands["Take the pick:"] = f"autopeft export {folder} --pick best --to my-adapter"
    return Origin(
        asked=tuple(asked.items()),
        again=tuple(again.items()),
        commands=tuple(commands.items()),
        written=now_text(),
    )
