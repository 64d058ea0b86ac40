"""`TaskSpec`: what a task is, read from YAML."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from autopeft.errors import DataError, UnknownNameError
from autopeft.models.head import TaskKind
from autopeft.space.text import form_mistake, load_yaml, text_of, yaml_mistake
from autopeft.tasks.metrics import METRICS

#: A brace that stands for itself in a prompt, or a column's name.
_MARK = re.compile(r"\{\{|\}\}|\{([^{}]+)\}")


class HubSource(BaseModel):
    """Where the data set is on the Hugging Face Hub.

    Attributes:
        path: Its name, `owner/name`.
        subset: Name of a part of it.
        revision: Branch; data sets that are still Python scripts, which `datasets` does not run,
            have their rows on `refs/convert/parquet`.
        train: Split to train on.
        validation: Split to evaluate on; `None` holds a part of the training rows out.
        test: Split that nothing here reads.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    path: str
    subset: str | None = None
    revision: str | None = None
    train: str = "train"
    validation: str | None = "validation"
    test: str | None = None


class TaskSpec(BaseModel):
    """A task on texts or text pairs: to classify, to rate, or to write a text.

    Attributes:
        name: Registered name.
        about: One line for the user.
        kind: `classification`, `regression` with one number as label, or `language_modeling` with
            a text as label.
        text_columns: One column, or two for pairs. What a model is to write may go with any
            number of them; with none it is a text from its beginning.
        label_column: Column of the label, or of the text to write.
        prompt: What comes before the text to write, with `{column}` where a text column goes, and
            `{{` and `}}` for braces; `None` puts every text column on a line of its own.
        labels: Names of the classes, in the order of their numbers; `None` takes what the
            training data holds, sorted.
        metrics: Measured at each evaluation; the first is the quality that a search maximises.
        max_length: Longest input in tokens; longer ones are cut.
        epochs: Passes over the training data of a full training.
        batch_size: Examples a step, unless the search space chooses it.
        head_learning_rate: Peak learning rate of the task head, alike for all configurations;
            `None` gives it that of the adapter.
        hub: Where the data is; `None` if it must be given or is built in.
        builtin: Name of a built-in data set.
        default_model: Model that a search takes when none is named.
        train_rows: Rows a search trains on when the user names no number; `None` takes all.
        eval_rows: Likewise for evaluation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_version: Literal[1]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    about: str = ""
    kind: TaskKind = "classification"
    text_columns: tuple[str, ...]
    label_column: str = "label"
    prompt: str | None = None
    labels: tuple[str, ...] | None = None
    metrics: Annotated[tuple[str, ...], Field(min_length=1)]
    max_length: Annotated[int, Field(gt=0)] = 128
    epochs: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 3.0
    batch_size: Annotated[int, Field(gt=0)] = 16
    head_learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    hub: HubSource | None = None
    builtin: Literal["pydoc"] | None = None
    default_model: str | None = None
    train_rows: Annotated[int, Field(gt=0)] | None = None
    eval_rows: Annotated[int, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _known_metrics(self) -> "TaskSpec":
        for metric in self.metrics:
            if metric not in METRICS or METRICS[metric].kind != self.kind:
                known = ", ".join(n for n, m in METRICS.items() if m.kind == self.kind)
                raise ValueError(f"metric '{metric}' is not for {self.kind}: choose from {known}")
        return self

    @model_validator(mode="after")
    def _columns_and_prompt(self) -> "TaskSpec":
        if self.kind != "language_modeling":
            if len(self.text_columns) not in {1, 2}:
                raise ValueError("text_columns must name one column, or two for pairs")
            if self.prompt is not None:
                raise ValueError("a prompt is for language_modeling alone")
        elif marked := [c for c in self.text_columns if set(c) & set("{}")]:
            raise ValueError(f"the column '{marked[0]}' has braces, which a prompt cannot name")
        for column in _MARK.findall(self.prompt or ""):
            if column and column not in self.text_columns:
                raise ValueError(f"the prompt names '{column}', which is not in text_columns")
        return self

    @property
    def prompt_template(self) -> str:
        """The prompt, with `{column}` where a text column goes, also where none is named."""
        if self.prompt is not None:
            return self.prompt
        return "".join(f"{{{column}}}\n" for column in self.text_columns)

    def prompt_of(self, row: Mapping[str, Any]) -> str:
        """Return what comes before the text to write in a row."""
        return _MARK.sub(
            lambda match: str(row[match[1]]) if match[1] else match[0][0], self.prompt_template
        )

    @property
    def quality(self) -> str:
        """Name of the metric that a search maximises."""
        return self.metrics[0]


def _shipped() -> dict[str, Path]:
    return {path.stem: path for path in sorted((Path(__file__).parent / "specs").glob("*.yaml"))}


def task_names() -> tuple[str, ...]:
    """Return the names of the tasks that come with autopeft."""
    return tuple(_shipped())


def find_task(name_or_path: str) -> TaskSpec:
    """Return a shipped task, or the task of a YAML file.

    Raises:
        UnknownNameError: If it is neither.
        DataError: If the file is no task; names file and key.
    """
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise DataError(f"There is no task file '{path}'.")
        return read_task(path)
    shipped = _shipped()
    if name_or_path not in shipped:
        raise UnknownNameError("task", name_or_path, shipped, "A path to a task YAML also does.")
    return read_task(shipped[name_or_path])


def read_task(path: Path) -> TaskSpec:
    """Read a task file.

    Raises:
        DataError: If the file is no task; names file, line and key.
    """
    try:
        data = load_yaml(text_of(path, DataError))
        return TaskSpec.model_validate(data)
    except yaml.YAMLError as error:
        line, problem = yaml_mistake(error)
        raise DataError(f"{path.name}{line}: not valid YAML: {problem}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "model_type" and not first["loc"]:
            raise DataError(
                f"{path.name} holds no keys with values, such as 'name: mine'."
            ) from error
        key = ".".join(str(part) for part in first["loc"]) or "task"
        raise DataError(f"{path.name}, key '{key}': {form_mistake(first)}.") from error
