"""`SearchRequest`: all settings of a search, checked at once."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from autopeft.api.duration import seconds
from autopeft.errors import RequestError
from autopeft.study.convergence import MOST_TRIALS
from autopeft.study.rungs import Fidelity
from autopeft.study.strategy import Surrogate
from autopeft.trials.database import check_storage_url
from autopeft.trials.kept_checkpoints import MOST_CHECKPOINTS

_WITH_PASSWORD = re.compile(r"\w+(\+\w+)?://[^/@:]*:[^/@]+@")
#: What a resumed search may change: how long and where, never what is searched.
RESUMABLE = frozenset(
    {
        "trials",
        "time",
        "until_converged",
        "repeats",
        "workers",
        "devices",
        "runner",
        "ray_address",
        "mlflow_uri",
        "system_metrics",
        "cache",
    }
)


class SearchRequest(BaseModel):
    """What a search is asked.

    Attributes:
        task: Name of a task, or a task YAML; taken from the data when `text_columns` are given.
        model: Packaged name, folder, GGUF file or Hub id; `None` takes the task's default.
        data: File or folder with the data; `None` takes the task's own.
        text_columns: Columns of the user's own data, one or two.
        label_column: Column of the label of the user's own data.
        completion_column: Column of the text to write, instead of a label; what comes before it
            is in `text_columns`, any number of them.
        budget: Upper limit on adapter parameters: `0.1%`, `50k`, `1.5M`.
        space: Name of a shipped search space, or a YAML file.
        configuration: One configuration instead of a space: a YAML or JSON file, or
            `preset:NAME`. It is trained once, to the end, whatever it costs.
        methods: Methods to search; `None` takes all of the space.
        objectives: `quality` and at least one of `params` and `memory`.
        strategy: `bayesian`, or Optuna's `random`, `tpe`, `nsga2`, `gp`.
        surrogate: The model of quality in a Bayesian search: `matern`, `saas` or `saas-nuts`.
        fidelity: Which trials are trained to the end: `asha` stops weak ones early, `hyperband`
            too, but spares some of the trials, `shortlist` trains all a little and only the best to
            the end, `none` trains all to the end.
        trials: Configurations to try in all; repeats come on top.
        time: Time after which no trial is started, such as `30m` or `1h30m`; with repeats, no new
            configuration in its last fifth before these are done.
        until_converged: Whether the search ends once its model expects next to nothing of any
            further point (`study/convergence.py`); where `trials` is not given, it is 100.
        repeats: Trainings of each member of the front in all, each with a seed of its own; 1 for
            one only. `None` takes two, with at most a quarter more trainings than `trials`.
        epochs: Passes over the training rows of a full training; `None` takes the task's.
        batch_size: Examples a step, unless the space chooses it; `None` takes the task's.
        batch_tokens: Most tokens of a batch, padding included; where rows are long a batch then
            holds fewer examples. `None` sets no limit.
        head_learning_rate: Peak learning rate of the task head; `None` takes the task's.
        max_length: Longest input in tokens; `None` takes the task's.
        train_rows: Training rows to use, stratified; `None` takes the task's.
        eval_rows: Validation rows to use, stratified; `None` takes the task's.
        max_memory: Most predicted memory of a training step, such as `8GiB`; `None` takes a GPU's,
            and no limit on a CPU.
        precision: What to compute in; `auto` takes bf16 where it is faster than float32.
        warm_start: Earlier studies to learn from: their folders, or `mlflow:EXPERIMENT` for all of
            an MLflow experiment.
        checkpoints: States of each training to keep, evenly over its last half, its end one of
            them; 1 keeps the end alone. With more no trial is stopped early.
        seed: Seed of everything.
        runner: `local` (this process), `ray`, or `auto`.
        workers: Trials at a time; `None` takes the number of GPUs, or 1.
        devices: Devices that each training of one configuration is spread over: GPUs of this
            machine, or processes where it has none.
        ray_address: Address of a Ray cluster.
        mlflow_uri: Tracking server; `None` takes that of `MLFLOW_TRACKING_URI`, without one a
            SQLite file beside the studies.
        system_metrics: Whether MLflow's run of the search shows this machine's load.
        storage: SQLAlchemy URL of the study's storage; `None` takes SQLite in its folder.
        cache: Most that tokens and hidden states may take on this machine's disk, such as `8GiB`;
            `0` keeps none of them.
        trust_remote_code: Whether Python code that comes with a model may run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str = "pydoc"
    model: Annotated[str, Field(min_length=1)] | None = None
    data: Path | None = None
    text_columns: tuple[str, ...] = ()
    label_column: str | None = None
    completion_column: str | None = None
    budget: str = "1%"
    space: str = "default"
    configuration: str | None = None
    methods: tuple[str, ...] | None = None
    objectives: str = "quality,params"
    strategy: Literal["bayesian", "random", "tpe", "nsga2", "gp"] = "bayesian"
    surrogate: Surrogate = "matern"
    fidelity: Fidelity = "asha"
    trials: Annotated[int, Field(ge=1)] = 16
    time: str | None = None
    until_converged: bool = False
    repeats: Annotated[int, Field(ge=1)] | None = None
    epochs: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    batch_size: Annotated[int, Field(ge=1)] | None = None
    batch_tokens: Annotated[int, Field(ge=1)] | None = None
    head_learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    max_length: Annotated[int, Field(ge=4)] | None = None
    train_rows: Annotated[int, Field(ge=2)] | None = None
    eval_rows: Annotated[int, Field(ge=2)] | None = None
    max_memory: str | None = None
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    warm_start: tuple[str, ...] = ()
    checkpoints: Annotated[int, Field(ge=1, le=MOST_CHECKPOINTS)] = 1
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    runner: Literal["auto", "local", "ray"] = "auto"
    workers: Annotated[int, Field(ge=1)] | None = None
    devices: Annotated[int, Field(ge=1)] = 1
    ray_address: str | None = None
    mlflow_uri: str | None = None
    system_metrics: bool = False
    storage: str | None = None
    cache: str = "8GiB"
    trust_remote_code: bool = False

    @model_validator(mode="before")
    @classmethod
    def _as_many_as_it_takes(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {"trials": MOST_TRIALS, **values} if values.get("until_converged") else values

    @model_validator(mode="after")
    def _has_its_model(self) -> "SearchRequest":
        if self.strategy == "bayesian":
            return self
        if self.until_converged:
            raise ValueError(
                "--until-converged follows the model of a Bayesian search: leave --strategy out, "
                "or limit the search by --trials or --time"
            )
        if self.warm_start:
            raise ValueError(
                "--warm-start is for the model of a Bayesian search: leave --strategy out"
            )
        if self.surrogate != "matern":
            raise ValueError(
                "--surrogate is the model of a Bayesian search: leave it or --strategy out"
            )
        return self

    @model_validator(mode="after")
    def _can_run(self) -> "SearchRequest":
        if self.methods == ():
            raise ValueError("--methods: name at least one method, such as lora")
        if self.checkpoints > 1 and self.fidelity != "none":
            raise ValueError("--checkpoints are of trainings to the end: use --fidelity none")
        if self.runner == "local" and (self.workers or 1) > 1:
            raise ValueError(
                f"--runner local runs one trial at a time, and --workers is {self.workers}: use "
                "--workers 1, or --runner ray or auto"
            )
        if self.runner == "local" and self.ray_address:
            raise ValueError("--runner local does not use a --ray-address")
        if self.devices > 1 and self.configuration is None:
            raise ValueError(
                "--devices spreads the training of one configuration: a search gives each device "
                "a trial of its own, so leave it out and set --workers"
            )
        if self.devices > 1 and ((self.workers or 1) > 1 or self.runner == "ray"):
            raise ValueError(
                "--devices spreads one training at a time, without Ray: leave --workers and "
                "--runner ray out"
            )
        if self.devices > 1 and self.ray_address:
            raise ValueError("--devices are those of this machine: leave --ray-address out")
        return self

    @model_validator(mode="after")
    def _go_together(self) -> "SearchRequest":
        if self.completion_column and self.label_column:
            raise ValueError(
                "--label-column is for a class and --completion-column for a text to write: give "
                "one of them"
            )
        if not self.completion_column and bool(self.text_columns) != bool(self.label_column):
            raise ValueError(
                "--text-column goes with --label-column, or with --completion-column where a text "
                "is to be written"
            )
        self._check_columns()
        if self.completion_column and set("".join(self.text_columns)) & set("{}"):
            raise ValueError("a --text-column with braces cannot stand in a prompt: rename it")
        if self.describes_data and self.data is None:
            raise ValueError("the named columns are those of --data, which is missing")
        if self.label_column and len(self.text_columns) > 2:
            raise ValueError("at most two text columns can be classified")
        self._check_passwords()
        self._check_storage()
        if self.time is not None:
            seconds(self.time)
        return self

    def _check_passwords(self) -> None:
        places = {
            "storage": "PGPASSWORD or ~/.pgpass",
            "mlflow_uri": "MLFLOW_TRACKING_PASSWORD (of a database PGPASSWORD)",
        }
        for name, place in places.items():
            if _WITH_PASSWORD.match(getattr(self, name) or ""):
                raise ValueError(
                    f"the password of --{name.replace('_', '-')} would be written into the study "
                    f"folder: put it into {place} and leave it out of the URL"
                )

    def _check_storage(self) -> None:
        if self.storage is not None:
            try:
                check_storage_url(self.storage)
            except ValueError as error:
                raise ValueError(f"--storage: {error}") from error

    def _check_columns(self) -> None:
        asked = self.completion_column or self.label_column
        if asked in self.text_columns:
            raise ValueError(
                f"the column '{asked}' is what a model is to tell: leave it out of --text-column"
            )
        if len(set(self.text_columns)) < len(self.text_columns):
            raise ValueError("a --text-column is named twice: name each once")
        if self.describes_data and "task" in self.model_fields_set:
            raise ValueError(
                "the columns of --data are a task of their own: leave --task or the columns out"
            )

    @classmethod
    def build(cls, **values: Any) -> "SearchRequest":
        """Check settings; those that are `None` take their defaults.

        Raises:
            RequestError: If settings are wrong; all mistakes in one sentence.
        """
        try:
            return cls(**{name: value for name, value in values.items() if value is not None})
        except ValidationError as error:
            raise RequestError("; ".join(_message(e) for e in error.errors()) + ".") from error

    @staticmethod
    def described(recorded: Mapping[str, Any]) -> dict[str, Any]:
        """Return a recorded request without its task where columns describe the data.

        All settings are recorded, that of the task too, which would contradict them.
        """
        columns = recorded.get("label_column") or recorded.get("completion_column")
        return {k: v for k, v in recorded.items() if not (columns and k == "task")}

    @property
    def describes_data(self) -> bool:
        """Whether the task is told by the columns of the user's own data."""
        return bool(self.label_column or self.completion_column)

    @property
    def max_seconds(self) -> float | None:
        """Time limit in seconds."""
        return None if self.time is None else seconds(self.time)


def _message(error: Any) -> str:
    text = str(error["msg"]).removeprefix("Value error, ")
    name = ".".join(str(part) for part in error["loc"])
    if not name:
        return text[:1].upper() + text[1:]
    if error["type"] == "extra_forbidden":
        return f"Unknown setting '{name}'"
    return f"--{name.replace('_', '-')}: {text[:1].lower() + text[1:]} (given: {error['input']!r})"
