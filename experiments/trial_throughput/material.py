"""What every way of running trials gets: the same model, rows, configurations and settings."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autopeft.api.problem import Problem, resolve
from autopeft.api.request import SearchRequest
from autopeft.space.configuration import Configuration
from autopeft.study.strategies.drawing import untried_sobol
from autopeft.trials.engine import Workload

CONFIGURATIONS = Path(__file__).with_name("configurations.json")
BUDGET = "1%"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of the benchmark, alike for all ways.

    Attributes:
        data: Folder of sst2; `None` takes the embedded task.
        model: Name or folder.
        rows: Training rows.
        eval_rows: Validation rows.
        epochs: Passes over the training rows.
        seed: Seed of heads, adapters, order and dropout.
        indices: Numbers of the configurations to run.
    """

    data: str | None
    model: str
    rows: int
    eval_rows: int
    epochs: float
    seed: int
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One trial.

    Attributes:
        index: Number of the configuration.
        accuracy: On the validation rows.
        busy: Seconds in training steps, their batches and the evaluation.
        ended: When the next trial could begin.
        cpu: Processor seconds of the process that trained, since it was started.
        peak_bytes: Peak resident memory of the process that trained, until then.
        device_bytes: Peak memory of the GPU, if there is one.
    """

    index: int
    accuracy: float
    busy: float
    ended: float
    cpu: float
    peak_bytes: int
    device_bytes: int | None


class Material:
    """The benchmark's settings with all names resolved."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.problem = problem_of(settings, "100%")
        space = self.problem.space
        self.configurations: dict[int, Configuration] = {
            index: space.configuration(point) for index, point in enumerate(drawn_points())
        }

    @property
    def steps(self) -> int:
        """Optimiser steps of a trial."""
        per_epoch = -(-len(self.problem.data.train) // self.problem.batch_size)
        return max(1, round(self.settings.epochs * per_epoch))

    def workload(self, *, cached: bool = True) -> Workload:
        """Return autopeft's workload: this tokenises, unless the tokens are on the disk."""
        problem = self.problem
        parts = (problem.reference, problem.data, problem.max_length)
        return Workload.prepare(
            *parts,
            cache_bytes=problem.cache_bytes if cached else 0,
            precision="float32",  # as a Trainer computes that was not asked for anything else
        )


def problem_of(settings: Settings, budget: str) -> Problem:
    """Return the search that the benchmark takes its parts from."""
    return resolve(
        SearchRequest.build(
            task="pydoc" if settings.data is None else "sst2",
            data=settings.data,
            model=settings.model,
            budget=budget,
            space="default",
            train_rows=settings.rows,
            eval_rows=settings.eval_rows,
            epochs=settings.epochs,
            seed=settings.seed,
        )
    )


def drawn_points() -> list[dict[str, Any]]:
    """Return the points of the space `default` that everyone measures."""
    points: list[dict[str, Any]] = json.loads(CONFIGURATIONS.read_text(encoding="utf-8"))["points"]
    return points


def draw_points(settings: Settings, n: int = 24) -> dict[str, Any]:
    """Return new points: of a Sobol sequence within 1 % of the model, and one full fine-tuning."""
    within = untried_sobol(problem_of(settings, BUDGET).space, settings.seed, set())
    points = [dict(next(within)) for _ in range(n - 1)]
    everything = untried_sobol(problem_of(settings, "100%").space, settings.seed, set())
    full = next(dict(point) for point in everything if point["method"] == "full")
    points.insert(n // 2, full)
    about = f"{n - 1} Sobol points of `default` within {BUDGET} of {settings.model}, and one `full`"
    return {"about": about, "seed": settings.seed, "points": points}


def peak_of(process: int | str = "self") -> int:
    """Return the peak resident memory of a process in bytes, as Linux counts it."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def clock() -> float:
    """Return seconds that all processes of this machine agree on."""
    return time.time()


def rounds_of(indices: tuple[int, ...], n_rounds: int) -> Iterator[tuple[int, ...]]:
    """Yield the configurations of each round; every round has some of each part of the list."""
    yield from (indices[start::n_rounds] for start in range(min(n_rounds, len(indices))))
