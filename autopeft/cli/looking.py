"""The commands that look at what a search found."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from autopeft.cli.options import Format

StudyArgument = Annotated[
    Path | None, typer.Argument(help="Study folder. Default: the newest in ./studies.")
]

PicturesOption = Annotated[
    Path | None,
    typer.Option(help="Folder for the figures as pictures, too. Needs autopeft\\[pictures]."),
]
PictureFormat = Annotated[
    Literal["png", "svg", "pdf"] | None,
    typer.Option("--pictures-format", help="How to write them. Default: png."),
]


def pareto(
    study: StudyArgument = None,
    every: Annotated[bool, typer.Option("--all", help="All trials, not the front alone.")] = False,
    output: Format = "table",
) -> None:
    """Print the Pareto front of a study."""
    from autopeft.cli.study import pareto_command

    pareto_command(study, output, every=every)


def analyze(
    study: StudyArgument = None,
    pictures: PicturesOption = None,
    ending: PictureFormat = None,
    output: Format = "table",
) -> None:
    """Say what matters in a study, which method wins at which budget, what more would buy."""
    from autopeft.cli.analyze import analyze_command

    analyze_command(study, output, (pictures, ending))


def report(
    study: StudyArgument = None,
    to: Annotated[
        Path | None, typer.Option(help="A .html file. Default: report/report.html of the study.")
    ] = None,
    opened: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    pictures: PicturesOption = None,
    ending: PictureFormat = None,
) -> None:
    """Write a study as one page that needs no network: answer, figures, all trials."""
    from autopeft.cli.report import report_command

    report_command(study, to, (pictures, ending), opened=opened)


def compare(
    studies: Annotated[list[Path], typer.Argument(help="Two or more study folders.")],
    to: Annotated[Path | None, typer.Option(help="A .html file for the page.")] = None,
    opened: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    pictures: PicturesOption = None,
    ending: PictureFormat = None,
    output: Format = "table",
) -> None:
    """Show several studies side by side: their fronts, their picks, what each size reaches."""
    from autopeft.cli.report import compare_command

    compare_command(studies, to, output, (pictures, ending), opened=opened)


def ui(
    studies: Annotated[
        Path, typer.Option(help="Folder of studies; its mlflow.db is shown.")
    ] = Path("studies"),
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port. Default: 5000, or a free one.")
    ] = None,
) -> None:
    """Open MLflow's UI for this folder's runs, on this machine only."""
    from autopeft.cli.ui import ui_command

    ui_command(studies, port)


#: In the order of the help.
LOOKING = (pareto, analyze, report, compare, ui)
