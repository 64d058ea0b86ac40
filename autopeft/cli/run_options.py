"""Where a search runs, as command-line options."""

from typing import Annotated, Any

import typer

_WHERE = "Where to run"

#: Option by field of `SearchRequest`; all default to `None`, which takes the request's default.
WHERE: dict[str, Any] = {
    "workers": Annotated[
        int | None,
        typer.Option(
            help="Trials at a time. Default: the number of GPUs, or 1.", rich_help_panel=_WHERE
        ),
    ],
    "devices": Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Devices that share each batch of one configuration (train, or search --resume "
            "of it): GPUs, or on a machine without any so many processes. Default: all GPUs, or 1.",
            rich_help_panel=_WHERE,
        ),
    ],
    "runner": Annotated[
        str | None,
        typer.Option(
            help="local (this process), ray, or auto: ray for several workers. Default: auto.",
            rich_help_panel=_WHERE,
        ),
    ],
    "ray_address": Annotated[
        str | None,
        typer.Option(help="Address of a running Ray cluster.", rich_help_panel=_WHERE),
    ],
    "mlflow_uri": Annotated[
        str | None,
        typer.Option(
            help="MLflow tracking server. Default: that of MLFLOW_TRACKING_URI, else mlflow.db "
            "beside the studies.",
            rich_help_panel=_WHERE,
        ),
    ],
    "system_metrics": Annotated[
        bool | None,
        typer.Option(
            "--system-metrics",
            help="Show this machine's load in MLflow while the search runs.",
            rich_help_panel=_WHERE,
        ),
    ],
    "storage": Annotated[
        str | None,
        typer.Option(
            help="SQLAlchemy URL of the study's storage: sqlite:///FILE or "
            "postgresql+psycopg://HOST/DB. Default: SQLite in its folder.",
            rich_help_panel=_WHERE,
        ),
    ],
    "cache": Annotated[
        str | None,
        typer.Option(
            help="Disk for tokens and hidden states that trials share; 0 for none. Default: 8GiB.",
            rich_help_panel=_WHERE,
        ),
    ],
    "trust_remote_code": Annotated[
        bool | None,
        typer.Option(
            "--trust-remote-code",
            help="Run Python code that comes with a model.",
            rich_help_panel=_WHERE,
        ),
    ],
}
