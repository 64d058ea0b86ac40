"""`autopeft export`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from autopeft.errors import RequestError

if TYPE_CHECKING:
    from autopeft.api.result import SearchResult
    from autopeft.export.average import Averaged
    from autopeft.export.compress import Compressed


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
        float | None,
        typer.Option(
            help="With --compress ternary: share of the entries that are kept. Default: 0.1."
        ),
    ] = None,
    average: Annotated[
        Literal["mwa"] | None,
        typer.Option(
            help="mwa: the mean of the checkpoints that train --checkpoints kept, weighted by "
            "their loss; its quality is measured.",
        ),
    ] = None,
    penalty: Annotated[
        float | None,
        typer.Option(
            help="With --average: how much a larger loss counts against a checkpoint; 0 for a "
            "mean of all alike. Default: 1.",
        ),
    ] = None,
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
    _check_adapter(compress, average, merge=merge)
    _check_numbers(compress, keep, average, penalty)
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
    derived: Compressed | Averaged | None = None
    if compress is not None:
        derived = result.compress(which, compress, **_given(keep=keep))
    elif average is not None:
        derived = result.average(which, **_given(penalty=penalty))
    folder = result.export(to, which, asked, merge=merge, derived=derived)
    _tell(result, which, to, folder)
    if derived is not None:
        console().print(derived.point.sentence(), highlight=False)
        if average is not None and derived.point.quality < derived.point.quality_before:
            console().print("Here the mean is worse: leave --average out.", highlight=False)
    if push_to_hub is not None:
        # An account may have a default of its own, which only --private goes before.
        address = push(folder, push_to_hub, private=True if private else None)
        console().print(f"It is on the Hub:  {address}", highlight=False)


def _check_adapter(compress: str | None, average: str | None, *, merge: bool) -> None:
    """Check that one adapter is asked for: the trained one, or one that is made of it.

    Raises:
        RequestError: If the options do not go together.
    """
    if compress is not None and average is not None:
        raise RequestError("--compress and --average each make an adapter: leave one of them out.")
    if merge and (compress or average):
        option = "--compress" if compress else "--average"
        raise RequestError(f"--merge folds in the adapter as it was trained: leave {option} out.")


def _check_numbers(
    compress: str | None, keep: float | None, average: str | None, penalty: float | None
) -> None:
    """Check that each number goes with what it is for.

    Raises:
        RequestError: If one would do nothing.
    """
    if keep is not None and compress != "ternary":
        raise RequestError("--keep goes with --compress ternary: add it, or leave --keep out.")
    if penalty is not None and average is None:
        raise RequestError("--penalty goes with --average mwa: add it, or leave --penalty out.")


def _given(**numbers: float | None) -> dict[str, float]:
    """Return the numbers that the user gave; the others keep their defaults."""
    return {name: number for name, number in numbers.items() if number is not None}


def _tell(result: "SearchResult", which: str, to: Path, folder: Path) -> None:
    from autopeft.cli.output import console
    from autopeft.export.facts import example_texts
    from autopeft.space.wording import count_text

    record = result.pick(which)
    texts = " ".join(f'"{text}"' for text in example_texts(result.manifest["task"]["n_texts"]))
    model = result.manifest["model"]
    # The folder does not say where the base model lies on this machine.
    local = model["location"] != model["hub_id"]
    base = f" --base-model {shlex.quote(model['location'])}" if local else ""
    method = record.spec.configuration.method
    console().print(
        f"Trial {record.number} ({method}, {result.summary.metric} {record.quality:.4f}, "
        f"{count_text(record.cost.adapter_params, 'adapter parameter')}) is in {folder}\n"
        f"Try it:  python {to}/predict.py{base} {texts}",
        highlight=False,
    )


def _study_and_pick(study: Path | None, pick: str | None) -> tuple[Path | None, str]:
    """Return what is exported, also where both are given as `studies/mine:17`."""
    folder, colon, named = str(study or "").rpartition(":")
    if study is None or study.exists() or not colon:
        return study, "best" if pick is None else pick
    if pick is not None and pick != named:
        raise RequestError(f"'{study}' names the trial {named}, and --pick names {pick}.")
    return Path(folder), named
