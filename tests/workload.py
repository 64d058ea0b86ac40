"""A tiny workload, and an engine for it."""

from pathlib import Path
from typing import Any

import torch

from autopeft.methods.compose import read_configuration
from autopeft.models.registry import resolve_model
from autopeft.tasks.data import load_data
from autopeft.tasks.task import TaskSpec, find_task
from autopeft.trials.engine import Engine, Workload
from autopeft.trials.trial import TrialSpec
from tests.tiny import data_of

#: The tiny data the other way round: a sentence for a label.
WRITING = TaskSpec(
    schema_version=1,
    name="writing",
    kind="language_modeling",
    text_columns=("label",),
    label_column="sentence",
    metrics=("token_accuracy",),
)


def tiny_workload(
    model: Path, data: Path, cache_bytes: int = 2**24, task: TaskSpec | None = None
) -> Workload:
    """Return a workload in float32, so that numbers are the same on all CPUs."""
    loaded = load_data(task or find_task("sst2"), data)
    return Workload.prepare(
        resolve_model(str(model)), loaded, 16, cache_bytes=cache_bytes, precision="float32"
    )


def tiny_engine(
    model: Path, data: Path, cache_bytes: int = 2**24, task: TaskSpec | None = None
) -> Engine:
    return Engine(tiny_workload(model, data, cache_bytes, task), torch.device("cpu"))


def trial(engine: Engine, number: int = 0, **changes: Any) -> TrialSpec:
    """Return a trial of a method's defaults; `changes` go into its configuration."""
    data = {"method": "lora", "rank": 2, "training": {"learning_rate": 1e-2}, **changes}
    if data["method"] != "lora":
        data.pop("rank")
    training = data.pop("training")
    data = {**data_of(**data), "training": training}
    configuration = read_configuration(data, engine.spec)
    return TrialSpec(
        number=number, configuration=configuration, rungs=(0.34, 1.0), epochs=2, seed=0
    )
