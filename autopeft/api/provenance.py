"""What a study's folder says about how it was made, so that it can be made again."""

import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from autopeft.api.problem import Problem
from autopeft.study.objective import ReferencePoint
from autopeft.study.past import PastStudy

PACKAGES = (
    *("autopeft", "torch", "transformers", "peft", "botorch", "gpytorch", "optuna", "ray"),
    *("mlflow", "datasets", "numpy"),
)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def command_line() -> str:
    """Return the command that this process was started with."""
    program = sys.argv[0].rsplit("/", 1)[-1]
    if program in {"__main__.py", "main.py"}:
        program = "autopeft"
    return shlex.join([program, *sys.argv[1:]])


def manifest(
    problem: Problem,
    study_id: str,
    reference: ReferencePoint,
    past: Sequence[PastStudy] = (),
) -> dict[str, Any]:
    """Return the content of `study.json`."""
    data = problem.data
    return {
        "study_id": study_id,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command_line(),
        "request": problem.request.model_dump(mode="json"),
        "versions": versions(),
        "model": {
            "name": problem.reference.name,
            "location": problem.reference.location,
            "hub_id": problem.reference.hub_id,
            "family": problem.spec.family,
            "n_layers": problem.spec.n_layers,
            "base_params": problem.spec.base_params,
            "head_params": problem.spec.head_params,
        },
        "task": {
            "name": data.task.name,
            "about": data.task.about,
            "kind": data.task.kind,
            "metric": data.task.quality,
            "labels": list(data.labels),
            "n_texts": len(data.task.text_columns),
            "writing": _writing(problem),
            "origin": data.origin,
            "fingerprint": data.fingerprint,
            "train_rows": len(data.train),
            "eval_rows": len(data.validation),
            "max_length": problem.max_length,
            "epochs": problem.epochs,
            "batch_size": problem.batch_size,
        },
        "budget": {"text": problem.space.budget.text, "limit": problem.space.budget.limit},
        "max_memory_bytes": problem.space.memory and problem.space.memory.limit,
        "objectives": [o.name for o in problem.objectives],
        "reference": reference.to_dict(),
        "warm_start": [study.facts() for study in past],
    }


def _writing(problem: Problem) -> dict[str, Any] | None:
    """Return how the model is asked to write; `None` for a task that is not of writing."""
    task = problem.data.task
    if task.kind != "language_modeling":
        return None
    return {
        "output": problem.spec.output,
        "text_columns": list(task.text_columns),
        "prompt": task.prompt_template,
    }
