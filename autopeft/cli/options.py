"""The settings of a search as command-line options, shared by the commands that take them."""

import inspect
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from autopeft.cli.run_options import WHERE

Format = Annotated[
    Literal["table", "json", "csv"], typer.Option("--format", help="How to print the result.")
]

_WHAT, _HOW = "What to search", "How to search"

#: Option by field of `SearchRequest`; all default to `None`, which takes the request's default.
_OPTIONS: dict[str, Any] = {
    "task": Annotated[
        str | None,
        typer.Option(
            help="pydoc (built in), one of the Hub such as rte or gsm8k, or a task YAML. "
            "Default: pydoc.",
            rich_help_panel=_WHAT,
        ),
    ],
    "model": Annotated[
        str | None,
        typer.Option(
            help="minilm, a folder, a .gguf file or a Hub id. Default: the task's.",
            rich_help_panel=_WHAT,
        ),
    ],
    "data": Annotated[
        Path | None,
        typer.Option(
            help="Folder with train and validation files, or one file (jsonl, csv, parquet).",
            rich_help_panel=_WHAT,
        ),
    ],
    "text_columns": Annotated[
        list[str] | None,
        typer.Option(
            "--text-column",
            help="Text column of your own data; give it again for more of them.",
            rich_help_panel=_WHAT,
        ),
    ],
    "label_column": Annotated[
        str | None,
        typer.Option(help="Label column of your own data.", rich_help_panel=_WHAT),
    ],
    "completion_column": Annotated[
        str | None,
        typer.Option(
            help="Column of the text that the model is to learn to write, instead of a label.",
            rich_help_panel=_WHAT,
        ),
    ],
    "budget": Annotated[
        str | None,
        typer.Option(
            help="Most adapter parameters: 0.1%, 50k, 1.5M. Default: 1%.", rich_help_panel=_WHAT
        ),
    ],
    "max_memory": Annotated[
        str | None,
        typer.Option(
            help="Most predicted memory of a training step: 8GiB. Batches go through the model in "
            "parts where needed. Default: the GPU's; no limit on a CPU.",
            rich_help_panel=_WHAT,
        ),
    ],
    "space": Annotated[
        str | None,
        typer.Option(
            help="Search space: default, lora and the like, or a YAML file. Default: default.",
            rich_help_panel=_WHAT,
        ),
    ],
    "methods": Annotated[
        str | None,
        typer.Option(help="Only these methods of the space: lora,ia3.", rich_help_panel=_WHAT),
    ],
    "objectives": Annotated[
        str | None,
        typer.Option(
            help="quality and any of params, memory. Default: quality,params.",
            rich_help_panel=_WHAT,
        ),
    ],
    "train_rows": Annotated[
        int | None,
        typer.Option(help="Use this many training rows, stratified.", rich_help_panel=_WHAT),
    ],
    "eval_rows": Annotated[
        int | None,
        typer.Option(help="Use this many validation rows, stratified.", rich_help_panel=_WHAT),
    ],
    "max_length": Annotated[
        int | None,
        typer.Option(help="Longest input in tokens. Default: the task's.", rich_help_panel=_WHAT),
    ],
    "trials": Annotated[
        int | None,
        typer.Option(help="Configurations to try in all. Default: 16.", rich_help_panel=_HOW),
    ],
    "time": Annotated[
        str | None,
        typer.Option(help="Start no trial after this time: 30m, 1h30m.", rich_help_panel=_HOW),
    ],
    "until_converged": Annotated[
        bool | None,
        typer.Option(
            "--until-converged",
            help="End when three points in a row promised less than a thousandth of the "
            "hypervolume, or after --trials, then 100 unless you say so.",
            rich_help_panel=_HOW,
        ),
    ],
    "repeats": Annotated[
        int | None,
        typer.Option(
            help="Seeds to train each member of the front with in all, after the search; 1 for "
            "no further one. Default: 2, with at most a quarter more trainings than --trials.",
            rich_help_panel=_HOW,
        ),
    ],
    "strategy": Annotated[
        str | None,
        typer.Option(
            help="bayesian, or Optuna's random, tpe, nsga2, gp. Default: bayesian.",
            rich_help_panel=_HOW,
        ),
    ],
    "surrogate": Annotated[
        str | None,
        typer.Option(
            help="Model of the quality: matern, or saas or saas-nuts, which take few dimensions "
            "for important. Default: matern.",
            rich_help_panel=_HOW,
        ),
    ],
    "fidelity": Annotated[
        str | None,
        typer.Option(
            help="asha stops weak trials early; hyperband too, but spares some; shortlist "
            "trains all a little and only the best to the end; none trains all. Default: asha.",
            rich_help_panel=_HOW,
        ),
    ],
    "warm_start": Annotated[
        list[str] | None,
        typer.Option(
            help="Learn from an earlier study: its folder, or mlflow:EXPERIMENT; give it again "
            "for more of them.",
            rich_help_panel=_HOW,
        ),
    ],
    "epochs": Annotated[
        float | None,
        typer.Option(help="Epochs of a full training. Default: the task's.", rich_help_panel=_HOW),
    ],
    "batch_size": Annotated[
        int | None,
        typer.Option(help="Examples a step. Default: the task's.", rich_help_panel=_HOW),
    ],
    "batch_tokens": Annotated[
        int | None,
        typer.Option(
            help="Most tokens of a batch, padding included. Default: no limit.",
            rich_help_panel=_HOW,
        ),
    ],
    "head_learning_rate": Annotated[
        float | None,
        typer.Option(
            help="Learning rate of the task head. Default: the task's.", rich_help_panel=_HOW
        ),
    ],
    "precision": Annotated[
        str | None,
        typer.Option(
            help="auto (bf16 where the device is faster in it), float32, bf16, or fp16 on a GPU. "
            "Default: auto.",
            rich_help_panel=_HOW,
        ),
    ],
    "seed": Annotated[
        int | None, typer.Option(help="Seed of everything. Default: 0.", rich_help_panel=_HOW)
    ],
    **WHERE,
}


#: Options that say nothing where one configuration is trained.
ABOUT_MANY = frozenset(
    {"budget", "space", "methods", "objectives", "trials", "time", "strategy", "fidelity"}
    | {"repeats", "until_converged", "surrogate", "warm_start"}
    | {"workers", "runner", "ray_address"}
)
#: Options of a search that say nothing where nothing is trained and no space is searched.
NOT_OF_ADVICE = frozenset(_OPTIONS) - {
    *("task", "model", "budget", "max_memory", "train_rows", "max_length", "epochs", "batch_size"),
}


def with_search_options(
    without: Collection[str] = (),
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of a search; it gets those that were given as `**settings`."""
    options = {name: option for name, option in _OPTIONS.items() if name not in without}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        shared = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)
            for name, option in options.items()
        ]

        def wrapped(**arguments: Any) -> None:
            settings = {
                name: value
                for name in options
                if (value := arguments.pop(name)) is not None and value != []
            }
            command(**arguments, **_converted(settings))

        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + shared
        wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by typer
        wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
        wrapped.__doc__ = command.__doc__
        wrapped.__name__ = command.__name__
        return wrapped

    return decorate


def _converted(settings: dict[str, Any]) -> dict[str, Any]:
    if "text_columns" in settings:
        settings["text_columns"] = tuple(settings["text_columns"])
    if "warm_start" in settings:
        settings["warm_start"] = tuple(settings["warm_start"])
    if "methods" in settings:
        names = (name.strip() for name in settings["methods"].split(","))
        settings["methods"] = tuple(name for name in names if name)
    return settings
