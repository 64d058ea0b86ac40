"""Trials in parallel on Ray: Ray Tune runs what the study hands out and stops what it drops.

Tune's own search and scheduling are switched through to the study, which is the one record; what
Tune writes to disk is scratch. The actors are reused: the base model is loaded once a worker.
"""

import json
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneConfig, Tuner
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from autopeft.runners.ray_connection import cluster, connect
from autopeft.runners.share import gpu_share
from autopeft.space.configuration import Configuration
from autopeft.trials.engine import Engine, Workload, pick_device
from autopeft.trials.evaluate import TrialExecution
from autopeft.trials.folder import StudyFolder
from autopeft.trials.ports import Decision, NoTrial, TrialSource
from autopeft.trials.threads import ThreadShare, available_cores
from autopeft.trials.trial import RungReport, TrialResult, TrialSpec, TrialStatus

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """The workers of a search, and what sizes them.

    Attributes:
        size: Trials at a time.
        trial_bytes: Most memory that a trial is predicted to take, `None` if there is no limit.
        gpu_bytes: Memory of the smallest GPU, `None` if it is not known.
    """

    size: int
    trial_bytes: int | None
    gpu_bytes: int | None

    def resources(self, n_gpus: int, n_cpus: int) -> dict[str, float]:
        """Return what Ray sets aside for a trial on so many GPUs and cores."""
        share = gpu_share(self.size, n_gpus, self.trial_bytes, self.gpu_bytes)
        return {"cpu": max(1, n_cpus // self.size), "gpu": share}


class RayRunner:
    """Runs trials in parallel Ray actors."""

    def __init__(
        self, workload: Workload, folder: StudyFolder, crew: Crew, address: str | None
    ) -> None:
        """Take the workload.

        Args:
            workload: Model, task and data; sent to each actor once.
            folder: The study's folder; on a cluster of several machines it must be shared.
            crew: The workers.
            address: Address of a running cluster; `None` starts Ray on this machine.

        Raises:
            RequestError: If no cluster answers at the address.
        """
        self._workload = workload
        self._folder = folder
        self._crew = crew
        self._workers = crew.size
        self._address = address
        if address is not None:
            connect(address, crew.size)  # before anything is written

    def run(self, source: TrialSource) -> None:
        """Run trials until the source has no more; Ray is started and shut down here."""
        with (
            cluster(self._address, self._workers),
            tempfile.TemporaryDirectory(prefix="autopeft-ray-") as scratch,
        ):
            bridge = _Bridge(source)
            trainable = tune.with_parameters(
                TrialActor,
                workload=self._workload,
                folder=str(self._folder.path),
                threads=ThreadShare(self._workers),
            )
            tuner = Tuner(
                tune.with_resources(trainable, self._resources()),
                tune_config=TuneConfig(
                    search_alg=_StudySearcher(bridge),
                    scheduler=_StudyScheduler(bridge),
                    num_samples=-1,
                    max_concurrent_trials=self._workers,
                    reuse_actors=True,
                    trial_dirname_creator=lambda trial: trial.trial_id,
                ),
                run_config=RunConfig(
                    storage_path=scratch,
                    verbose=0,
                    # A lost worker's trial goes on once from its last rung.
                    failure_config=FailureConfig(max_failures=1),
                    checkpoint_config=CheckpointConfig(checkpoint_at_end=False),
                ),
            )
            tuner.fit()
        if bridge.error is not None:
            raise bridge.error

    def _resources(self) -> dict[str, float]:
        """Return the share of a trial: all of one machine's cores, or one core on a cluster."""
        n_gpus = int(ray.cluster_resources().get("GPU", 0))
        resources = self._crew.resources(n_gpus, 1 if self._address else available_cores())
        if n_gpus and resources["gpu"] * self._workers > n_gpus:
            logger.warning(
                "memory holds %d trials at a time, not %d: the other workers wait",
                n_gpus * round(1 / resources["gpu"]),
                self._workers,
            )
        return resources


class TrialActor(tune.Trainable):
    """A Ray Tune trainable: one step a rung, the base model kept between trials."""

    def setup(  # type: ignore[override]  # tune.with_parameters passes the others
        self, config: dict[str, Any], workload: Workload, folder: str, threads: ThreadShare
    ) -> None:
        """Load the base model and take up the first trial."""
        threads.take()
        self._folder = StudyFolder(Path(folder))
        self._engine = Engine(workload, pick_device())
        self._execution = self._begin(config)

    def step(self) -> dict[str, Any]:
        """Train to the next rung; the last one also writes the adapter.

        The answers are JSON texts, because Tune flattens nested results.
        """
        outcome = self._execution.advance()
        if isinstance(outcome, TrialResult):
            return {"result": json.dumps(outcome.to_dict()), "done": True}
        if outcome.last:
            result = self._execution.finish()
            report = json.dumps(outcome.to_dict())
            return {"report": report, "result": json.dumps(result.to_dict()), "done": True}
        return {"report": json.dumps(outcome.to_dict())}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up another trial in the same process."""
        # A trial that pauses needs its checkpoint; that of a stopped one goes with its end.
        self._execution.leave()
        self._execution = self._begin(new_config)
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write adapter, head, optimiser and random state; never the base."""
        self._execution.save(Path(checkpoint_dir))

    def load_checkpoint(self, checkpoint_dir: Any) -> None:
        """Go on from what `save_checkpoint` wrote."""
        self._execution.load(Path(checkpoint_dir))

    def cleanup(self) -> None:
        """Detach, and keep the checkpoint of a trial that was interrupted."""
        self._execution.leave()

    def _begin(self, config: dict[str, Any]) -> TrialExecution:
        data = config["spec"]
        configuration = Configuration.from_dict(data["configuration"])
        spec = TrialSpec(**{**data, "configuration": configuration, "rungs": tuple(data["rungs"])})
        return TrialExecution(self._engine, spec, self._folder.trial(spec.number))


class _Bridge:
    """Between Tune's callbacks and the study; an error of the study ends the run."""

    def __init__(self, source: TrialSource) -> None:
        self._source = source
        self._paused: set[int] = set()
        self.error: Exception | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its parts for its own resumption, which the study replaces."""
        return {}

    def next_config(self) -> dict[str, Any] | NoTrial:
        if self.error is not None:
            return NoTrial.FINISHED
        try:
            spec = self._source.next_trial()
        except Exception as error:  # noqa: BLE001 - raised again when Tune has stopped
            self.error = error
            return NoTrial.FINISHED
        if isinstance(spec, NoTrial):
            return spec
        return {
            "spec": {
                "number": spec.number,
                "configuration": spec.configuration.to_dict(),
                "rungs": list(spec.rungs),
                "epochs": spec.epochs,
                "seed": spec.seed,
            }
        }

    def report(self, number: int, report: RungReport) -> Decision:
        if self.error is not None:
            return Decision.STOP
        try:
            decision = self._source.report(number, report)
        except Exception as error:  # noqa: BLE001 - raised again when Tune has stopped
            self.error = error
            return Decision.STOP
        if decision is Decision.PAUSE:
            self._paused.add(number)
        return decision

    def pauses(self, number: int) -> bool:
        """Tell once whether Tune's trial ended because the study's trial pauses."""
        if number not in self._paused:
            return False
        self._paused.remove(number)
        return True

    def finish(self, number: int, result: TrialResult) -> None:
        if self.error is not None:
            return
        try:
            self._source.finish(number, result)
        except Exception as error:  # noqa: BLE001 - raised again when Tune has stopped
            self.error = error


class _StudySearcher(Searcher):
    """Gives Tune the study's trials."""

    def __init__(self, bridge: _Bridge) -> None:
        # Every result of Tune has this number; the study looks at the report alone.
        super().__init__(metric="training_iteration", mode="max")
        self._bridge = bridge

    def suggest(self, trial_id: str) -> Any:  # noqa: ARG002 - Tune's name
        """Return a trial's config, `None` to be asked again later, or Tune's end mark."""
        config = self._bridge.next_config()
        if config is NoTrial.FINISHED:
            return Searcher.FINISHED
        return None if isinstance(config, NoTrial) else config

    def on_trial_complete(
        self,
        trial_id: str,
        result: dict[str, Any] | None = None,
        error: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        """Nothing: the scheduler has told the study."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study's storage is the record."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a resumed study makes a new searcher."""


class _StudyScheduler(FIFOScheduler):
    """Tells the study what trials report, and Tune what the study decides."""

    def __init__(self, bridge: _Bridge) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Ray has no types here
        self._bridge = bridge

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:  # noqa: ARG002
        report = RungReport.from_dict(json.loads(result["report"]))
        decision = self._bridge.report(trial.config["spec"]["number"], report)
        stop, go_on = TrialScheduler.STOP, TrialScheduler.CONTINUE
        return go_on if decision is Decision.CONTINUE else stop

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:  # noqa: ARG002
        """Record the end of a trial; Tune calls this for a stopped one too."""
        number = trial.config["spec"]["number"]
        if self._bridge.pauses(number):
            return
        if "result" not in result:
            seconds = RungReport.from_dict(json.loads(result["report"])).seconds
            self._bridge.finish(number, TrialResult(status=TrialStatus.STOPPED, seconds=seconds))
            return
        if "report" in result:
            self._bridge.report(number, RungReport.from_dict(json.loads(result["report"])))
        self._bridge.finish(number, TrialResult.from_dict(json.loads(result["result"])))

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:  # noqa: ARG002
        reason = (trial.get_pickled_error() or "the worker died").__str__().strip()
        lost = TrialResult(status=TrialStatus.LOST, reason=reason.split("\n")[-1][:500])
        self._bridge.finish(trial.config["spec"]["number"], lost)
