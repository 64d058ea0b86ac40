"""What a trial is asked, and what it answers: frozen records with a JSON round trip."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from autopeft.cost.cost import Cost
from autopeft.space.configuration import Configuration, Value

#: Origin, in its notes, of a trial that repeats another; `of` beside it is the other's number.
REPEAT = "repeat"


class TrialStatus(StrEnum):
    """How far a trial came, or why it failed."""

    RUNNING = "running"
    COMPLETE = "complete"
    STOPPED = "stopped"
    PAUSED = "paused"
    OOM_GPU = "oom_gpu"
    OOM_HOST = "oom_host"
    NAN = "nan"
    TIMEOUT = "timeout"
    CRASH = "crash"
    LOST = "lost"
    INVALID = "invalid"

    @property
    def failed(self) -> bool:
        """Whether the trial ended without a usable result."""
        return self not in _USABLE

    @property
    def ended(self) -> bool:
        """Whether nothing more comes of the trial."""
        return self not in {TrialStatus.RUNNING, TrialStatus.PAUSED}


_USABLE = {
    TrialStatus.RUNNING,
    TrialStatus.COMPLETE,
    TrialStatus.STOPPED,
    TrialStatus.PAUSED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSpec:
    """What to train, how far and with which seed.

    Attributes:
        number: Number of the trial in its study, from 0.
        configuration: What is trained.
        rungs: Shares of a full training, rising, after which the trial reports; the last is 1.
        epochs: Passes over the training data of a full training.
        seed: Seed of the head, the adapter, the data order and dropout.
    """

    number: int
    configuration: Configuration
    rungs: tuple[float, ...]
    epochs: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RungReport:
    """What a trial measured at a rung.

    Attributes:
        rung: Index of the rung, from 0.
        step: Optimiser steps done.
        fidelity: Share of a full training done, in 0-1.
        metrics: The task's metrics on the validation rows; before the end of the training those
            of weights averaged over the latest steps (`trials/averaging.py`).
        eval_loss: Mean loss of the same weights on the validation rows: cross-entropy, or squared
            error.
        train_loss: Mean loss of the task over the steps since the rung before, without what a
            method adds to it for the optimiser.
        seconds: Training and evaluation time of the trial so far.
        last: Whether this is the full training.
    """

    rung: int
    step: int
    fidelity: float
    metrics: Mapping[str, float]
    eval_loss: float
    train_loss: float
    seconds: float
    last: bool

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `from_dict` reads back."""
        return {**asdict(self), "metrics": dict(self.metrics)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "RungReport":
        """Rebuild a report from plain data."""
        return cls(**data)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """How a trial ended.

    Attributes:
        status: Complete, stopped early, paused at a rung, or how it failed.
        reason: For a failed trial, what happened in one sentence.
        traceback: For a crash, its text.
        seconds: Training and evaluation time.
        measured_memory_bytes: Peak memory of the device, `None` where it cannot be measured.
    """

    status: TrialStatus
    reason: str = ""
    traceback: str = ""
    seconds: float = 0.0
    measured_memory_bytes: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `from_dict` reads back."""
        return {**asdict(self), "status": self.status.value}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "TrialResult":
        """Rebuild a result from plain data."""
        return cls(**{**data, "status": TrialStatus(data["status"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """All that is known of a trial.

    Attributes:
        spec: What was asked.
        assignment: The point of the search space.
        cost: What it costs.
        reports: Measurements at the rungs so far.
        result: How it ended, or where it pauses; `None` while it runs.
        quality_metric: Name of the metric that is maximised.
        notes: What the strategy wants to find again.
    """

    spec: TrialSpec
    assignment: Mapping[str, Value]
    cost: Cost
    reports: tuple[RungReport, ...]
    result: TrialResult | None
    quality_metric: str
    notes: Mapping[str, Any]

    @property
    def number(self) -> int:
        """Number of the trial in its study."""
        return self.spec.number

    @property
    def repeat_of(self) -> int | None:
        """Number of the trial that this one repeats with another seed, if it does."""
        return self.notes.get("of") if self.notes.get("origin") == REPEAT else None

    @property
    def status(self) -> TrialStatus:
        """Status of the trial."""
        return self.result.status if self.result else TrialStatus.RUNNING

    @property
    def quality(self) -> float | None:
        """Quality at the last rung that was reached, `None` before the first."""
        if not self.reports:
            return None
        value = self.reports[-1].metrics[self.quality_metric]
        return value if math.isfinite(value) else None

    @property
    def fidelity(self) -> float:
        """Share of a full training that was done, in 0-1."""
        return self.reports[-1].fidelity if self.reports else 0.0

    @property
    def seconds(self) -> float:
        """Training and evaluation time."""
        if self.result is not None:
            return self.result.seconds
        return self.reports[-1].seconds if self.reports else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the record as the user's JSON shows it."""
        data: dict[str, Any] = {
            "number": self.number,
            "status": self.status.value,
            "configuration": self.spec.configuration.to_dict(),
            "seed": self.spec.seed,
            "quality": self.quality,
            "metrics": dict(self.reports[-1].metrics) if self.reports else {},
            **asdict(self.cost),
            "seconds": round(self.seconds, 3),
            "fidelity": self.fidelity,
        }
        if self.result is not None and self.result.measured_memory_bytes is not None:
            data["measured_memory_bytes"] = self.result.measured_memory_bytes
        if self.repeat_of is not None:
            data["repeat_of"] = self.repeat_of
        if self.status.failed and self.result is not None:
            data["reason"] = self.result.reason
        return data
