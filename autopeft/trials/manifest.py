"""What a study's `study.json` has to hold, so that whoever reads it can rely on it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    FiniteFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_validator,
)

from autopeft.errors import StudyError
from autopeft.tasks.metrics import METRICS
from autopeft.trials.database import check_storage_url

#: Most letters of a wrong value that are shown.
_SHOWN = 60


def _known_metric(name: str) -> str:
    if name not in METRICS:
        raise ValueError(f"should be one of {', '.join(METRICS)}")
    return name


def _storage(url: str) -> str:
    try:
        check_storage_url(url)
    except ValueError as error:
        raise ValueError("should be the URL of a database") from error
    return url


class _Part(BaseModel):
    """A part of the manifest; later versions add keys, which have defaults here."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Request(_Part):
    """What the study's readers take from the request; resuming checks all of it."""

    storage: Annotated[str, AfterValidator(_storage)] | None
    mlflow_uri: str | None
    space: str
    strategy: str
    fidelity: str
    seed: int
    trials: int
    trust_remote_code: bool
    warm_start: list[str] = []


class _Model(_Part):
    name: str
    location: str
    hub_id: str | None
    family: str
    n_layers: PositiveInt
    base_params: PositiveInt


class _Writing(_Part):
    output: str
    text_columns: list[str]
    prompt: str


class _Task(_Part):
    name: str
    about: str
    metric: Annotated[str, AfterValidator(_known_metric)]
    labels: list[str]
    n_texts: NonNegativeInt
    writing: _Writing | None = None
    origin: str
    fingerprint: str
    train_rows: PositiveInt
    eval_rows: PositiveInt
    max_length: PositiveInt
    epochs: FiniteFloat


class _Budget(_Part):
    text: str
    limit: NonNegativeInt  # none where the head alone is trained


class _Reference(_Part):
    best: list[FiniteFloat]
    worst: list[FiniteFloat]
    position: list[FiniteFloat]


class _LeftOut(_Part):
    reason: str


class _Past(_Part):
    name: str
    task: str
    model: str
    trials: NonNegativeInt
    left_out: list[_LeftOut]


class _Manifest(_Part):
    study_id: str
    created: str
    command: str
    request: _Request
    versions: dict[str, str]
    model: _Model
    task: _Task
    budget: _Budget
    max_memory_bytes: PositiveInt | None = None
    objectives: list[Literal["quality", "params", "memory"]]
    reference: _Reference
    warm_start: list[_Past] = []

    @model_validator(mode="after")
    def _of_the_objectives(self) -> "_Manifest":
        names, corner = self.objectives, self.reference
        if "quality" not in names or not 1 < len(names) == len(set(names)):
            raise ValueError("'objectives' should be quality and at least one of params and memory")
        if not len(names) == len(corner.best) == len(corner.worst) == len(corner.position):
            raise ValueError("'reference' should have a number for each of the 'objectives'")
        if any(w <= b for b, w in zip(corner.best, corner.worst, strict=True)):
            raise ValueError("'reference.worst' should be above 'reference.best'")
        return self


def check_manifest(data: Mapping[str, Any], file: Path) -> None:
    """Check what was read from a study's `study.json`.

    Args:
        data: What was read.
        file: The file, for the error.

    Raises:
        StudyError: If something is missing or has a wrong value; the first such is named.
    """
    try:
        _Manifest.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "missing":
            words = f"is incomplete: '{key}' is missing"
        elif key:
            words = f"is wrong: '{key}' {_should(first)}, and is {_short(first['input'])}"
        else:
            words = f"is wrong: {_should(first)}"
        raise StudyError(f"'{file}' {words}. Bring the file back.") from error


def _should(error: Any) -> str:
    if error["type"] in {"model_type", "dict_type"}:
        return "should be an object with keys"
    return str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
