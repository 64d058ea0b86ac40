"""`autopeft pareto` and `autopeft export`."""

from pathlib import Path

from autopeft.api.result import SearchResult
from autopeft.api.search import STUDIES
from autopeft.cli.output import console, print_rows
from autopeft.errors import RequestError
from autopeft.export.facts import example_texts
from autopeft.trials.folder import newest_study


def pareto_command(study: Path | None, output: str, *, every: bool) -> None:
    """Print the front, or all trials."""
    result = open_study(study)
    records = result.trials if every else result.front
    rows = result.summary.rows(records)
    title = f"{'Trials' if every else 'Pareto front'} of {result.summary.name}"
    data = result.to_dict()
    if not every:
        data["trials"] = [t for t in data["trials"] if t["number"] in set(data["front"])]
    print_rows(rows, output, title=title, data=data)
    if output == "table" and not rows:
        console(stderr=True).print("No trial is complete yet.", highlight=False)


def export_command(study: Path | None, pick: str | None, to: Path | None, formats: str) -> None:
    """Write a trial as a folder of its own."""
    if to is None:
        raise RequestError("Name the folder to make with --to.")
    from autopeft.api.export import parse_formats

    asked = parse_formats(formats)
    study, pick = _study_and_pick(study, pick)
    result = open_study(study)
    record = result.pick(pick)
    folder = result.export(to, pick, asked)
    texts = " ".join(f'"{text}"' for text in example_texts(result.manifest["task"]["n_texts"]))
    method = record.spec.configuration.method
    console().print(
        f"Trial {record.number} ({method}, {result.summary.metric} {record.quality:.4f}, "
        f"{record.cost.adapter_params:,} adapter parameters) is in {folder}\n"
        f"Try it:  python {to}/predict.py {texts}",
        highlight=False,
    )


def _study_and_pick(study: Path | None, pick: str | None) -> tuple[Path | None, str]:
    """Return what is exported, also where both are given as `studies/mine:17`."""
    folder, colon, named = str(study or "").rpartition(":")
    if study is None or study.exists() or not colon:
        return study, pick or "best"
    if pick is not None and pick != named:
        raise RequestError(f"'{study}' names the trial {named}, and --pick names {pick}.")
    return Path(folder), named


def open_study(study: Path | None) -> SearchResult:
    """Open the study that was named, or the newest."""
    return SearchResult.open(study) if study else SearchResult(newest_study(STUDIES))
