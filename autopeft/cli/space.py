"""`autopeft space`: search spaces on a model; nothing is trained."""

from typing import Annotated

import typer

from autopeft.cli.options import Format

space_app = typer.Typer(name="space", help="Look at search spaces.", no_args_is_help=True)


@space_app.command()
def show(
    space: Annotated[str, typer.Argument(help="default, lora and the like, or a YAML file.")],
    model: Annotated[
        str, typer.Option(help="minilm, a folder, a config.json or a Hub id.")
    ] = "minilm",
    output: Format = "table",
) -> None:
    """Show the dimensions of a space, how many points it has and what they cost on a model."""
    from autopeft.cli.inspect import show_space_command

    show_space_command(space, model, output)


@space_app.command()
def validate(
    space: Annotated[str, typer.Argument(help="default, lora and the like, or a YAML file.")],
    model: Annotated[
        str | None, typer.Option(help="Check it for this model. Default: 12 layers of width 768.")
    ] = None,
) -> None:
    """Check a search-space file; a mistake is named by line and key."""
    from autopeft.cli.inspect import validate_space_command

    validate_space_command(space, model)
