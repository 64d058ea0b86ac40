"""MLflow: one parent run a search, a nested run a trial, written by the driver alone."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from autopeft.report.note import note_text
from autopeft.report.summary import Summary
from autopeft.space.wording import flat_params, layer_text, setting_text, target_text
from autopeft.trials.trial import TrialRecord

logger = logging.getLogger(__name__)

EXPERIMENT = "autopeft"
_NUMBER_TAG = "autopeft.trial"
_STUDY_TAG = "autopeft.study"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingPlace:
    """Where runs are written.

    Attributes:
        uri: Tracking URI.
        artifacts: Folder of artifacts for a local database; `None` lets the server choose.
    """

    uri: str
    artifacts: Path | None


def local_place(studies: Path) -> TrackingPlace:
    """Return the default: a SQLite database and artifacts beside the studies."""
    folder = studies.resolve()
    return TrackingPlace(uri=f"sqlite:///{folder / 'mlflow.db'}", artifacts=folder / "mlartifacts")


class MlflowTracker:
    """Writes a study to MLflow; an observer of the study.

    The study's own storage is the record, so a tracking server that fails costs the tracking,
    never the search: the first failure is logged and the tracker falls silent. When the study is
    resumed, what MLflow has missed is written then.
    """

    def __init__(self, place: TrackingPlace, study_id: str, name: str) -> None:
        """Find or make the experiment and the parent run.

        Args:
            place: Where runs are written.
            study_id: Unique name of the study; a resumed study goes on in the same runs.
            name: Name of the parent run.
        """
        self._place = place
        self._study_id = study_id
        self._name = name
        self._runs: dict[int, str] = {}
        self._broken = False
        self._parent = ""
        self._n_layers = 0
        self._try(self._open)

    @property
    def parent_run_id(self) -> str:
        """Identifier of the parent run; empty if MLflow could not be reached."""
        return self._parent

    def describe_search(self, params: Mapping[str, Any], n_layers: int) -> None:
        """Log what the search was asked."""
        self._n_layers = n_layers
        self._try(self._log_params, self._parent, params)

    def catch_up(self, records: Sequence[TrialRecord]) -> None:
        """Write the trials of a resumed study that MLflow does not know yet."""
        for record in records:
            if record.number not in self._runs:
                self._try(self._write_all, record)

    def started(self, record: TrialRecord) -> None:
        """Begin the trial's run."""
        self._try(self._start, record)

    def reported(self, record: TrialRecord) -> None:
        """Log the metrics of the last rung, by optimiser step."""
        self._try(self._report, record)

    def finished(self, record: TrialRecord) -> None:
        """End the trial's run."""
        self._try(self._finish, record)

    def keep(self, path: Path) -> None:
        """Keep a file with the parent run, in place of one of the same name."""
        self._try(lambda: self._client.log_artifact(self._parent, str(path)))

    def close(
        self, summary: Summary, artifacts: list[Path], facts: Mapping[str, str], status: str
    ) -> None:
        """Log the front and end the parent run, and the runs of trials that were interrupted.

        Args:
            summary: The study.
            artifacts: Files for the parent run.
            facts: Values for the note's template: `folder`, `command`.
            status: MLflow's status of the search: `FINISHED`, `FAILED` or `KILLED`.
        """
        self._try(self._close, summary, artifacts, facts, status)

    def _open(self) -> None:
        if self._place.artifacts is not None:
            self._place.artifacts.parent.mkdir(parents=True, exist_ok=True)
        for name in ("alembic", "mlflow.store.db.utils", "mlflow.tracking.fluent"):
            logging.getLogger(name).setLevel(logging.WARNING)
        mlflow.set_tracking_uri(self._place.uri)
        self._client = MlflowClient(self._place.uri)
        found = self._client.get_experiment_by_name(EXPERIMENT)
        location = self._place.artifacts.as_uri() if self._place.artifacts else None
        if found is None:
            # The kind decides which of MLflow's two faces opens: model training, not GenAI.
            kind = {"mlflow.experimentKind": "custom_model_development"}
            self._experiment = self._client.create_experiment(EXPERIMENT, location, tags=kind)
        else:
            self._experiment = found.experiment_id
        self._parent = self._find_runs().get(-1, "")
        if self._parent:  # resumed
            self._client.update_run(self._parent, status="RUNNING")
        else:
            self._parent = self._create(self._name, -1, parent=None)

    def _find_runs(self) -> dict[int, str]:
        """Return the study's runs by trial number; the parent has number -1."""
        query = f"tags.`{_STUDY_TAG}` = '{self._study_id}'"
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment], query, max_results=1000, page_token=token
            )
            self._runs.update({int(r.data.tags[_NUMBER_TAG]): r.info.run_id for r in page})
            token = page.token
            if not token:
                return self._runs

    def _create(self, name: str, number: int, parent: str | None) -> str:
        tags = {
            _STUDY_TAG: self._study_id,
            _NUMBER_TAG: str(number),
            "mlflow.source.name": "autopeft search",
            "mlflow.source.type": "LOCAL",
        }
        if parent:
            tags["mlflow.parentRunId"] = parent
        run = self._client.create_run(self._experiment, run_name=name, tags=tags)
        self._runs[number] = run.info.run_id
        return str(run.info.run_id)

    def _start(self, record: TrialRecord) -> None:
        if record.number in self._runs:  # resumed
            self._client.update_run(self._runs[record.number], status="RUNNING")
            return
        configuration = record.spec.configuration
        again = "" if record.repeat_of is None else f" (repeats {record.repeat_of:03d})"
        name = f"{record.number:03d} {configuration.method}{again}"
        run_id = self._create(name, record.number, self._parent)
        components = configuration.components
        layers = {layer for component in components for layer in component.layers}
        params = {
            "method": configuration.method,
            "targets": target_text(configuration),
            "layers": layer_text(configuration, self._n_layers),
            "n_layers_adapted": len(layers),
            **flat_params(configuration),
            "settings": setting_text(configuration),
            "learning_rate": configuration.training.learning_rate,
            "batch_size": configuration.training.batch_size,
            "examples_at_once": configuration.training.rows_at_once,
            "weight_decay": configuration.training.weight_decay,
            "warmup_share": configuration.training.warmup_share,
            "seed": record.spec.seed,
            "repeat_of": record.repeat_of,
        }
        self._log_params(run_id, params)
        costs = {
            "adapter_params": record.cost.adapter_params,
            "adapter_share_percent": 100 * record.cost.adapter_params / record.cost.base_params,
            "head_params": record.cost.head_params,
            "predicted_memory_mib": record.cost.peak_memory_bytes / 2**20,
        }
        self._log_metrics(run_id, costs, step=0)

    def _report(self, record: TrialRecord) -> None:
        report = record.reports[-1]
        values = {
            **report.metrics,
            "quality": report.metrics[record.quality_metric],
            "train_loss": report.train_loss,
            "eval_loss": report.eval_loss,
            "fidelity": report.fidelity,
            "seconds": report.seconds,
        }
        self._log_metrics(self._runs[record.number], values, step=report.step)

    def _finish(self, record: TrialRecord) -> None:
        run_id = self._runs[record.number]
        result = record.result
        assert result is not None
        tags = {"status": result.status.value}
        if result.reason:
            tags["failure_reason"] = result.reason[:5000]
        self._client.log_batch(run_id, tags=[RunTag(k, v) for k, v in tags.items()])
        # A trial that was stopped early did what was asked of it: MLflow shows it as finished,
        # and its status tag tells the difference.
        self._client.set_terminated(run_id, "FAILED" if result.status.failed else "FINISHED")

    def _write_all(self, record: TrialRecord) -> None:
        self._start(record)
        for n in range(len(record.reports)):
            self._report(replace(record, reports=record.reports[: n + 1]))
        if record.result is not None:
            self._finish(record)

    def _close(
        self, summary: Summary, artifacts: list[Path], facts: Mapping[str, str], status: str
    ) -> None:
        best = summary.best()
        values: dict[str, float] = {
            "hypervolume": summary.hypervolume,
            "front_size": len(summary.front),
            "trials": len(summary.records),
        }
        if best is not None:
            found = summary.estimate(best)
            assert found is not None
            values["best_quality"] = found.measured.mean
            values["best_quality_error"] = found.error
            values["best_adapter_params"] = best.cost.adapter_params
        self._log_metrics(self._parent, values, step=len(summary.records))
        self._client.set_tag(self._parent, "mlflow.note.content", note_text(summary, facts))
        for path in artifacts:
            self._client.log_artifact(self._parent, str(path))
        for record in summary.records:
            if record.result is None and record.number in self._runs:
                self._client.set_terminated(self._runs[record.number], "KILLED")
        self._client.set_terminated(self._parent, status)

    def _log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        listed = [Param(k, str(v)[:6000]) for k, v in params.items() if v is not None]
        self._client.log_batch(run_id, params=listed)

    def _log_metrics(self, run_id: str, values: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        metrics = [Metric(name, float(value), now, step) for name, value in values.items()]
        self._client.log_batch(run_id, metrics=metrics)

    def _try(self, action: Callable[..., None], *arguments: Any) -> None:
        if self._broken:
            return
        try:
            action(*arguments)
        except (MlflowException, OSError) as error:
            self._broken = True
            reason = str(error).split("\n")[0]
            logger.warning("MLflow at %s failed; the search goes on: %s", self._place.uri, reason)
