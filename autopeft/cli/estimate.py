"""`autopeft estimate`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from autopeft.cli.options import Format

_STEP, _SPACE = "How a step is made", "With --space"


def estimate(  # noqa: PLR0913, PLR0917 - each is an option
    config: Annotated[
        Path | None,
        typer.Option(
            help="Configuration in YAML or JSON, preset:mam and the like, a trial of a study "
            "(studies/mine:17), or peft's adapter_config.json."
        ),
    ] = None,
    space: Annotated[
        str | None, typer.Option(help="Instead: a whole search space, such as default.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="minilm, a folder, a config.json or a Hub id.")
    ] = "minilm",
    num_labels: Annotated[
        int | None, typer.Option(min=1, help="Classes of the task head. Default: 2.")
    ] = None,
    language_modeling: Annotated[
        bool, typer.Option("--language-modeling", help="Write text, with the head that it has.")
    ] = False,
    gpu_memory: Annotated[
        str | None, typer.Option(help="Say whether 24GiB suffice, and for how large a batch.")
    ] = None,
    seq_len: Annotated[
        int | None,
        typer.Option(min=1, help="Longest input in tokens. Default: 128.", rich_help_panel=_STEP),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1, help="Examples a step. Default: the configuration's.", rich_help_panel=_STEP
        ),
    ] = None,
    dtype: Annotated[
        str,
        typer.Option(
            help="float32, bf16, fp16, or bf16-mixed: float32 weights under bf16 autocast.",
            rich_help_panel=_STEP,
        ),
    ] = "float32",
    optimizer: Annotated[
        str,
        typer.Option(
            help="adamw, adamw-8bit, sgd, sgd-momentum, adafactor or lion.", rich_help_panel=_STEP
        ),
    ] = "adamw",
    gradient_checkpointing: Annotated[
        bool,
        typer.Option(
            "--gradient-checkpointing",
            help="Compute layers again to go backward.",
            rich_help_panel=_STEP,
        ),
    ] = False,
    base_bits: Annotated[
        int | None,
        typer.Option(
            help="Linear weights in the layers in 16, 8 or 4 (NF4) bits.", rich_help_panel=_STEP
        ),
    ] = None,
    double_quantization: Annotated[
        bool,
        typer.Option(
            "--double-quantization",
            help="Quantise NF4's constants too.",
            rich_help_panel=_STEP,
        ),
    ] = False,
    budget: Annotated[
        str | None,
        typer.Option(help="Most adapter parameters. Default: no limit.", rich_help_panel=_SPACE),
    ] = None,
    points: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Points to predict memory and operations of. Default: 24.",
            rich_help_panel=_SPACE,
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(help="A .html or .png file for the figure.", rich_help_panel=_SPACE),
    ] = None,
    output: Format = "table",
) -> None:
    """Count parameters and operations of a configuration exactly; predict its training memory.

    With --space: how the costs of a whole search space are spread, method by method.
    """
    from autopeft.cli.inspect import estimate_command
    from autopeft.cli.space_costs import check_one_of, space_costs_command

    check_one_of(config, space, {"--budget": budget, "--points": points, "--to": to})
    settings: dict[str, Any] = {"n_labels": num_labels, "seq_length": seq_len, "batch_size": batch}
    settings |= {"language_modeling": language_modeling, "device_memory": gpu_memory}
    step = {
        "dtype": dtype,
        "optimizer": optimizer,
        "gradient_checkpointing": gradient_checkpointing,
        "base_bits": base_bits,
        "double_quantization": double_quantization,
    }
    if config is not None:
        estimate_command(model, config, settings, step, output)
    elif space is not None:
        settings |= {"budget": budget} if points is None else {"budget": budget, "n_steps": points}
        space_costs_command(model, space, settings, step, to, output)
