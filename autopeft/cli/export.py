"""`autopeft export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from autopeft.errors import RequestError

if TYPE_CHECKING:
    from autopeft.api.result import SearchResult


def export(  # noqa: PLR0913, PLR0917 - each is an option
    study: Annotated[
        Path | None,
        typer.Argument(help="Study folder, or folder:trial. Default: the newest in ./studies."),
    ] = None,
    pick: Annotated[
        str | None,
        typer.Option(help="best, knee, smallest, or the number of a trial. Default: best."),
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Folder to make.")] = None,
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            help="What is written beside the adapter, with commas between: script (train.py), "
            "mlflow (a model to serve), trl, llama-factory, axolotl.",
        ),
    ] = "peft",
    merge: Annotated[
        bool, typer.Option("--merge", help="Also write base and adapter as one model, in merged/.")
    ] = False,
    compress: Annotated[
        Literal["ternary", "int8"] | None,
        typer.Option(help="ternary or int8: a smaller adapter, whose quality is measured."),
    ] = None,
    keep: Annotated[
        float, typer.Option(help="With --compress ternary: share of the entries that are kept.")
    ] = 0.1,
    push_to_hub: Annotated[
        str | None, typer.Option(help="Send the folder to owner/name on the Hugging Face Hub.")
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="With --push-to-hub: a new repository is private.")
    ] = False,
) -> None:
    """Write a trial as a folder of native PEFT files, with recipes to train it elsewhere."""
    if to is None:
        raise RequestError("Name the folder to make with --to.")
    if private and push_to_hub is None:
        raise RequestError("--private goes with --push-to-hub: name a repository.")
    if compress is not None and merge:
        raise RequestError("--merge folds in the adapter as it was trained: leave --compress out.")
    study, which = _study_and_pick(study, pick)
    # Loads torch, which the help does not need.
    from autopeft.api.export import parse_formats
    from autopeft.cli.output import console
    from autopeft.cli.study import open_study
    from autopeft.export.folder import check_target
    from autopeft.export.hub import check_hub, push

    asked = parse_formats(formats)
    if push_to_hub is not None:
        check_hub(push_to_hub)
    result = open_study(study)
    check_target(to)  # before the work, not after it
    compressed = result.compress(which, compress, keep) if compress else None
    folder = result.export(to, which, asked, merge=merge, compressed=compressed)
    _tell(result, which, to, folder)
    if compressed is not None:
        console().print(compressed.point.sentence(), highlight=False)
    if push_to_hub is not None:
        # An account may have a default of its own, which only --private goes before.
        address = push(folder, push_to_hub, private=True if private else None)
        console().print(f"It is on the Hub:  {address}", highlight=False)


def _tell(result: "SearchResult", which: str, to: Path, folder: Path) -> None:
    from autopeft.cli.output import console
    from autopeft.export.facts import example_texts

    record = result.pick(which)
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
