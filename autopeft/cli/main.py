"""The commands. Heavy libraries are imported inside the command that needs them."""

import errno
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from autopeft import __version__
from autopeft.cli.estimate import estimate
from autopeft.cli.export import export
from autopeft.cli.looking import LOOKING, StudyArgument
from autopeft.cli.network import go_offline_without_hub
from autopeft.cli.options import (
    ABOUT_MANY,
    NOT_OF_ADVICE,
    Format,
    with_search_options,
)
from autopeft.cli.space import space_app
from autopeft.errors import AutopeftError

#: What is wrong with a place that the user named, and no mistake of ours.
_PLACES = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT} | {
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG)
}

app = typer.Typer(
    name="autopeft",
    help="Find the best way to fine-tune a model parameter-efficiently, within a budget.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
@with_search_options()
def search(
    study: Annotated[
        Path | None,
        typer.Option(help="Study folder. Default: studies/TASK-MODEL-DATE."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a study (the newest, or --study).")
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print nothing but the result, as JSON.")
    ] = False,
    **settings: Any,
) -> None:
    """Search PEFT configurations; end with the Pareto front of quality against cost."""
    from autopeft.cli.search import search_command

    search_command(study, settings, resume=resume, json_output=json_output)


@app.command()
@with_search_options(ABOUT_MANY)
def train(
    config: Annotated[
        str,
        typer.Option(
            help="Configuration in YAML or JSON, preset:mam and the like, or a trial of a study: "
            "studies/mine:17 or studies/mine:best."
        ),
    ],
    seeds: Annotated[
        int, typer.Option(min=1, help="Train it with so many seeds; mean and error are shown.")
    ] = 1,
    checkpoints: Annotated[
        int,
        typer.Option(
            min=1,
            help="Evaluate and keep so many states over the last half of a training, for export "
            "--average; 1 keeps the end alone.",
        ),
    ] = 1,
    to: Annotated[
        Path | None, typer.Option(help="Folder to make of the result. Default: none yet.")
    ] = None,
    study: Annotated[
        Path | None,
        typer.Option(help="Study folder. Default: studies/TASK-MODEL-DATE."),
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print nothing but the result, as JSON.")
    ] = False,
    **settings: Any,
) -> None:
    """Train one configuration to the end, as a study of one trial."""
    from autopeft.cli.train import train_command

    settings |= {"repeats": seeds, "checkpoints": checkpoints}
    train_command(config, to, study, settings, json_output=json_output)


@app.command()
@with_search_options({"devices"})
def plan(output: Format = "table", **settings: Any) -> None:
    """Show what a search would cover, what fits the budget and what it would cost."""
    from autopeft.cli.inspect import plan_command

    plan_command(settings, output)


@app.command()
@with_search_options(NOT_OF_ADVICE)
def recommend(
    num_labels: Annotated[
        int | None,
        typer.Option(min=2, help="Classes of the task. Default: those that its file names, or 2."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="A .yaml file for the pick, for train and estimate.")
    ] = None,
    output: Format = "table",
    **settings: Any,
) -> None:
    """Name a well-known configuration for a model, a task and a budget; nothing is trained."""
    from autopeft.cli.recommend import recommend_command

    recommend_command(settings, num_labels, to, output)


for command in LOOKING:
    app.command()(command)


app.command()(export)


@app.command()
def methods(
    model: Annotated[
        str | None, typer.Option(help="Say which methods this model takes, and why not.")
    ] = None,
    output: Format = "table",
) -> None:
    """List the PEFT methods, their ranges and their defaults."""
    from autopeft.cli.inspect import methods_command

    methods_command(model, output)


app.command()(estimate)
app.add_typer(space_app)


@app.command()
def sync(
    study: StudyArgument = None,
    mlflow_uri: Annotated[
        str | None, typer.Option(help="MLflow tracking server. Default: as the search.")
    ] = None,
    register: Annotated[
        str | None, typer.Option(help="Register the best trial's model under this name, too.")
    ] = None,
) -> None:
    """Write to MLflow what it lacks of a study, after its server was away."""
    from autopeft.cli.ui import sync_command

    sync_command(study, mlflow_uri, register)


@app.command()
def doctor(output: Format = "table") -> None:
    """Show versions, devices and what is missing."""
    from autopeft.cli.doctor import doctor_command

    doctor_command(output)


def _version(*, value: bool) -> None:
    if value:
        print(f"autopeft {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=lambda value: _version(value=value),
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line: 2 is a wrong request, 130 an interrupt."""
    # transformers would warn about image packages that texts do not need.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    go_offline_without_hub()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    # That a server did not answer is told by what asked it.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    try:
        app()
    except AutopeftError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in _PLACES:
            raise
        place = f"'{error.filename}'" if error.filename else "a file"
        print(f"Error: Cannot use {place}: {error.strerror}.", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
