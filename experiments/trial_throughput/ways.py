"""The ways of running trials: an Optuna loop, Ray Tune, and autopeft's two runners."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from material import Material, Measurement, clock, cores, peak_of
from user_code import Job, Recipe, job_of, recipe_of, train_and_score

from autopeft.runners.local import LocalRunner
from autopeft.trials.folder import StudyFolder
from autopeft.trials.ports import Decision, NoTrial
from autopeft.trials.trial import RungReport, TrialResult, TrialSpec, TrialStatus

#: Runs the configurations with these numbers, returns a measurement of each.
Way = Callable[[Material, Sequence[int]], list[Measurement]]


def optuna_loop(material: Material, indices: Sequence[int]) -> list[Measurement]:
    """An objective that does everything anew, in a loop of Optuna."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    job = job_of(material)
    recipes = {index: recipe_of(material.configurations[index], material) for index in indices}
    measured: list[Measurement] = []

    def objective(trial: optuna.Trial) -> float:
        index = trial.suggest_categorical("configuration", list(indices))
        found = train_and_score(recipes[index], job)
        trial.set_user_attr("found", found)
        return float(found["accuracy"])

    def ended(_: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        index = trial.params["configuration"]
        measured.append(Measurement(index=index, ended=clock(), **trial.user_attrs["found"]))

    study = optuna.create_study(direction="maximize")
    for index in indices:
        study.enqueue_trial({"configuration": index})
    study.optimize(objective, n_trials=len(indices), callbacks=[ended])
    return measured


def ray_tune(material: Material, indices: Sequence[int]) -> list[Measurement]:
    """The same function as a trainable of Ray Tune, with its defaults, one trial at a time."""
    import ray
    from ray import tune

    job = job_of(material)
    recipes = {index: recipe_of(material.configurations[index], material) for index in indices}
    measured: list[Measurement] = []

    class Ended(tune.Callback):
        def on_trial_complete(self, trial: Any, **_: Any) -> None:
            found = {name: trial.last_result[name] for name in FOUND}
            measured.append(Measurement(index=trial.config["index"], ended=clock(), **found))

    ray.init(num_cpus=cores(), include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    share = {"cpu": cores(), "gpu": ray.cluster_resources().get("GPU", 0.0)}
    trainable = tune.with_parameters(_trainable, recipes=recipes, job=job)
    with tempfile.TemporaryDirectory() as scratch:
        results = tune.Tuner(
            tune.with_resources(trainable, share),
            param_space={"index": tune.grid_search(list(indices))},
            run_config=tune.RunConfig(storage_path=scratch, verbose=0, callbacks=[Ended()]),
        ).fit()
    ray.shutdown()
    if results.errors:
        raise results.errors[0]
    return measured


FOUND = ("accuracy", "busy", "cpu", "peak_bytes", "device_bytes")


def _trainable(config: dict[str, Any], recipes: dict[int, Recipe], job: Job) -> None:
    from ray import tune

    tune.report(train_and_score(recipes[config["index"]], job))


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a process has used: processor seconds, and memory at its peak."""

    cpu: float
    peak_bytes: int


def usage_of_this_process() -> Usage:
    """Return what this process has used."""
    return Usage(cpu=time.process_time(), peak_bytes=peak_of())


class GivenTrials:
    """A source of trials that hands out these configurations and records what comes back."""

    def __init__(
        self,
        material: Material,
        indices: Sequence[int],
        usage: Callable[[], Usage] = usage_of_this_process,
    ) -> None:
        self._material = material
        self._waiting = list(indices)
        self._usage = usage
        self._reports: dict[int, tuple[RungReport, Usage]] = {}
        self.measured: list[Measurement] = []

    def next_trial(self) -> TrialSpec | NoTrial:
        if not self._waiting:
            return NoTrial.FINISHED
        index = self._waiting.pop(0)
        return TrialSpec(
            number=index,
            configuration=self._material.configurations[index],
            rungs=(1.0,),
            epochs=self._material.settings.epochs,
            seed=self._material.settings.seed,
        )

    def report(self, number: int, report: RungReport) -> Decision:
        self._reports[number] = report, self._usage()  # the worker is still there
        return Decision.CONTINUE

    def finish(self, number: int, result: TrialResult) -> None:
        if result.status is not TrialStatus.COMPLETE:
            raise RuntimeError(f"trial {number}: {result.reason}\n{result.traceback}")
        report, usage = self._reports[number]
        self.measured.append(
            Measurement(
                index=number,
                accuracy=report.metrics["accuracy"],
                busy=report.seconds,
                ended=clock(),
                cpu=usage.cpu,
                peak_bytes=usage.peak_bytes,
                device_bytes=result.measured_memory_bytes,
            )
        )


def local_runner(material: Material, indices: Sequence[int]) -> list[Measurement]:
    """autopeft in this process."""
    source = GivenTrials(material, indices)
    with tempfile.TemporaryDirectory() as scratch:
        LocalRunner(material.workload(), lambda number: Path(scratch) / str(number)).run(source)
    return source.measured


def ray_runner(material: Material, indices: Sequence[int]) -> list[Measurement]:
    """autopeft on Ray, with one worker."""
    from autopeft.runners.ray_cluster import RayRunner

    source = GivenTrials(material, indices, usage_of_the_ray_worker)
    with tempfile.TemporaryDirectory() as scratch, StudyFolder(Path(scratch) / "study") as folder:
        RayRunner(material.workload(), folder, 1, None).run(source)
    return source.measured


def usage_of_the_ray_worker() -> Usage:
    """Return what the largest of Ray's workers below this process has used: the one that trains."""
    import psutil

    children = psutil.Process().children(recursive=True)
    workers = [p for p in children if "".join(p.cmdline()).startswith("ray::")]
    largest = max(workers, key=lambda worker: peak_of(worker.pid))
    times = largest.cpu_times()
    return Usage(cpu=times.user + times.system, peak_bytes=peak_of(largest.pid))


WAYS: dict[str, Way] = {
    "optuna": optuna_loop,
    "tune": ray_tune,
    "local": local_runner,
    "ray": ray_runner,
}
