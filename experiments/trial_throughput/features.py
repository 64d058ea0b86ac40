"""What each feature of the engine gains: it is switched off from outside, for one trial.

The variants of a configuration run one after the other in the same process, in an order that
rotates, on the same resident engine.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from arithmetic import batch_shapes, flops_of_training, measure_arithmetic
from material import Material, clock
from ways import GivenTrials

from autopeft.runners import local
from autopeft.runners.local import LocalRunner
from autopeft.trials import batches, training
from autopeft.trials.batches import EncodedSplit

TRAINER_EVAL_BATCH = 8


def random_batches(
    split: EncodedSplit, batch_size: int, seed: int, epoch: int, *_: Any
) -> list[list[int]]:
    """Return batches as `Trainer` has them: rows of any length together."""
    order = np.random.default_rng([seed, epoch]).permutation(len(split)).tolist()
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def unsorted_batches(split: EncodedSplit, *_: Any) -> list[list[int]]:
    """Return evaluation batches as `Trainer` has them: in the order of the file, 8 each."""
    order = list(range(len(split)))
    size = TRAINER_EVAL_BATCH
    return [order[start : start + size] for start in range(0, len(order), size)]


@contextmanager
def replaced(owner: Any, name: str, by: Callable[..., Any]) -> Iterator[None]:
    """Let `by` stand for a function of autopeft; if nobody calls it any more, that is an error."""
    with patch.object(owner, name, side_effect=by) as stand_in:
        yield
    if not stand_in.called:
        raise RuntimeError(f"{owner.__name__}.{name} was not called: this measures nothing.")


def before_each_trial(work: Callable[[Any], object]) -> AbstractContextManager[None]:
    """Do `work(engine)` before every trial of the local runner."""
    run_trial = local.run_trial

    def run(engine: Any, *arguments: Any) -> None:
        work(engine)
        run_trial(engine, *arguments)

    return replaced(local, "run_trial", run)


def variants(material: Material) -> dict[str, Callable[[], AbstractContextManager[None]]]:
    """Return what switches each feature off."""
    return {
        "all on": nullcontext,
        "length buckets": lambda: replaced(batches, "epoch_batches", random_batches),
        "sorted evaluation": lambda: replaced(training, "sorted_batches", unsorted_batches),
        "resident base": lambda: before_each_trial(lambda engine: engine.reload()),
        "tokenise once": lambda: before_each_trial(lambda _: material.workload(cached=False)),
        "frozen prefix": lambda: replaced(training, "frozen_depth", lambda *_: 0),
    }


def run_features(material: Material, indices: Sequence[int]) -> dict[str, Any]:
    """Run configurations with everything on and with each feature off.

    Returns:
        `walls` and `cpus`: seconds of a trial by variant and configuration, and those of the
        processor; `arithmetic`: what a step reaches of the processor's matrix products, with
        everything on.
    """
    switches = list(variants(material).items())
    walls: dict[str, dict[int, float]] = {name: {} for name, _ in switches}
    cpus: dict[str, dict[int, float]] = {name: {} for name, _ in switches}
    step_seconds: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        runner = LocalRunner(material.workload(), lambda number: Path(scratch) / str(number))
        for turn, index in enumerate(indices):
            # The model is loaded, the states below its lowest layer are on the disk.
            _timed(runner, material, index)
            shift = turn % len(switches)
            for name, off in switches[shift:] + switches[:shift]:
                with off(), _step_watch() as steps:
                    walls[name][index], cpus[name][index] = _timed(runner, material, index)
                if name == "all on":
                    step_seconds[index] = sum(steps)
    return {"walls": walls, "cpus": cpus, "arithmetic": _arithmetic(material, step_seconds)}


def _timed(runner: LocalRunner, material: Material, index: int) -> tuple[float, float]:
    source = GivenTrials(material, [index])
    started, cpu = clock(), time.process_time()
    runner.run(source)
    [measurement] = source.measured
    return measurement.ended - started, time.process_time() - cpu


@contextmanager
def _step_watch() -> Iterator[list[float]]:
    """Collect the seconds of training: those of `advance` without those of `evaluate`."""
    advance, evaluate = training.TrialRun.advance, training.TrialRun.evaluate
    seconds: list[float] = []

    def timed(method: Callable[..., Any], sign: int) -> Callable[..., Any]:
        def run(trial: Any) -> Any:
            started = time.perf_counter()
            result = method(trial)
            seconds.append(sign * (time.perf_counter() - started))
            return result

        return run

    with (
        patch.object(training.TrialRun, "advance", timed(advance, 1)),
        patch.object(training.TrialRun, "evaluate", timed(evaluate, -1)),
    ):
        yield seconds


def _arithmetic(material: Material, step_seconds: dict[int, float]) -> dict[str, Any]:
    shapes = batch_shapes(material)
    rates = measure_arithmetic(material, shapes)
    reached = {
        index: flops_of_training(material, index, shapes) / seconds
        for index, seconds in step_seconds.items()
    }
    return {"peak": rates.peak, "same_shapes": rates.same_shapes, "reached": reached}
