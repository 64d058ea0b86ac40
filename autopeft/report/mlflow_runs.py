"""The runs of a study in MLflow: one for the search, a nested one for each trial."""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, Metric, Param, Run, RunTag
from mlflow.tracking import MlflowClient

from autopeft.space.wording import flat_params, layer_text, setting_text, target_text
from autopeft.trials.database import check_takes_writes, sqlite_file, sqlite_url
from autopeft.trials.trial import RungReport, TrialRecord

EXPERIMENT = "autopeft"
#: Tags: the trial's number (the search has -1), its study, and how many rungs were written.
NUMBER_TAG, STUDY_TAG, REPORTS_TAG = "autopeft.trial", "autopeft.study", "autopeft.reports"
#: Tags by which a later search learns: a trial's configuration as JSON, the model's layers.
CONFIGURATION_TAG, LAYERS_TAG = "autopeft.configuration", "autopeft.n_layers"
SEARCH = -1
#: Seconds that MLflow, too, waits for another program to have written to its file.
BUSY = 20.0
_END_TAG = "status"
#: A trial's run that lacks this was begun by a search whose server failed before it was described.
_LAST_OF_DESCRIPTION = "predicted_memory_mib"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingPlace:
    """Where runs are written.

    Attributes:
        uri: Tracking URI.
        artifacts: Folder of artifacts for a local database; `None` lets the server choose.
    """

    uri: str
    artifacts: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedStudy:
    """What MLflow shows of a study before anything is measured.

    Attributes:
        study_id: Unique name; a resumed study goes on in the same runs.
        name: Name of the search's run.
        n_layers: Layers of the model.
        params: What was asked; what is `None` is left out.
        dataset: The data: `name`, `digest`, `source_type`, `source` and `profile`, a JSON object.
    """

    study_id: str
    name: str
    n_layers: int
    params: Mapping[str, Any]
    dataset: Mapping[str, str]


def local_place(studies: Path) -> TrackingPlace:
    """Return the default: a SQLite database and artifacts beside the studies."""
    folder = studies.resolve()
    return TrackingPlace(uri=sqlite_url(folder / "mlflow.db"), artifacts=folder / "mlartifacts")


class StudyRuns:
    """Writes a study; what is there already is not written again.

    Every method raises what MLflow raises where the server cannot be reached.
    """

    def __init__(self, place: TrackingPlace, study: TrackedStudy) -> None:
        """Find or make the experiment and the run of the search.

        Args:
            place: Where runs are written.
            study: What is written there.
        """
        self._study = study
        self._runs: dict[int, str] = {}
        self._n_reports: dict[int, int] = {}
        self._open: set[int] = set()
        self._bare: set[int] = set()
        self._ends: dict[int, str] = {}
        for library in ("alembic", "mlflow.tracking.fluent"):
            logging.getLogger(library).setLevel(logging.WARNING)
        # What fails is raised, too: who asked tells it, in one line.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
        if (file := sqlite_file(place.uri)) is not None:
            # MLflow would ask ten times for a file that cannot be opened, in two minutes.
            check_takes_writes(file, BUSY)
        if place.artifacts is not None:
            place.artifacts.parent.mkdir(parents=True, exist_ok=True)
        self.client = MlflowClient(place.uri)
        self.experiment = self._find_experiment(place)
        self._find_runs()
        if SEARCH not in self._runs:
            self._create(study.name, SEARCH, parent=None)
        self.client.update_run(self.search_run, status="RUNNING")
        self._describe()

    @property
    def search_run(self) -> str:
        """Identifier of the search's run."""
        return self._runs[SEARCH]

    def write(self, record: TrialRecord) -> None:
        """Write what is not written yet of a trial: its run, its rungs, its end."""
        number = record.number
        if number not in self._runs:
            self._create(_run_name(record), number, self.search_run)
        elif record.result is None and number not in self._open:  # it goes on
            self.client.update_run(self._runs[number], status="RUNNING")
            self._open.add(number)
        if number in self._bare:
            self._describe_trial(record)
        for report in record.reports[self._n_reports[number] :]:
            self._report(record, report)
        # A run that is not open may be that of a trial that was paused or interrupted, and went on
        # while the server was away.
        if record.result is not None and (
            number in self._open or self._ends.get(number) != record.result.status.value
        ):
            self._end(record)

    def end_search(
        self, values: Mapping[str, float], step: int, note: str, artifacts: Sequence[Path]
    ) -> None:
        """Write what the search found: metrics, MLflow's note, files."""
        known = self.client.get_run(self.search_run).data.metrics
        if known != {**known, **values}:
            self._log_metrics(self.search_run, values, step)
        self.client.set_tag(self.search_run, "mlflow.note.content", note)
        for path in artifacts:
            self.client.log_artifact(self.search_run, str(path))

    def close(self, status: str) -> None:
        """End the run of the search, and as interrupted those of trials that still run."""
        for number in sorted(self._open):
            self.client.set_terminated(self._runs[number], "KILLED")
        self._open.clear()
        self.client.set_terminated(self.search_run, status)

    def _describe(self) -> None:
        self._log_params(self.search_run, self._study.params)
        self.client.set_tag(self.search_run, LAYERS_TAG, self._study.n_layers)
        inputs = self.client.get_run(self.search_run).inputs
        if inputs is None or not inputs.dataset_inputs:
            dataset = Dataset(**self._study.dataset)
            self.client.log_inputs(self.search_run, [DatasetInput(dataset)])

    def _find_experiment(self, place: TrackingPlace) -> str:
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        location = place.artifacts.as_uri() if place.artifacts else None
        # The kind decides which of MLflow's two faces opens: model training, not GenAI.
        kind = {"mlflow.experimentKind": "custom_model_development"}
        return str(self.client.create_experiment(EXPERIMENT, location, tags=kind))

    def _find_runs(self) -> None:
        query = f"tags.`{STUDY_TAG}` = '{self._study.study_id}'"
        token = None
        while True:
            page = self.client.search_runs(
                [self.experiment], query, max_results=1000, page_token=token
            )
            for run in page:
                self._remember(run)
            token = page.token
            if not token:
                return

    def _remember(self, run: Run) -> None:
        number = int(run.data.tags[NUMBER_TAG])
        self._runs[number] = run.info.run_id
        self._n_reports[number] = self._written(run)
        if number == SEARCH:
            return
        if run.info.status == "RUNNING":
            self._open.add(number)
        if _END_TAG in run.data.tags:
            self._ends[number] = run.data.tags[_END_TAG]
        if _LAST_OF_DESCRIPTION not in run.data.metrics:
            self._bare.add(number)

    def _written(self, run: Run) -> int:
        """Return how many rungs are written: of a server that died there may be no tag of it."""
        tagged = int(run.data.tags.get(REPORTS_TAG, 0))
        if run.info.status in {"FINISHED", "FAILED"} or "fidelity" not in run.data.metrics:
            return tagged
        history = self.client.get_metric_history(run.info.run_id, "fidelity")
        return max(tagged, len({metric.step for metric in history}))

    def _create(self, name: str, number: int, parent: str | None) -> str:
        tags = {
            STUDY_TAG: self._study.study_id,
            NUMBER_TAG: str(number),
            "mlflow.source.name": "autopeft search",
            "mlflow.source.type": "LOCAL",
        }
        if parent:
            tags["mlflow.parentRunId"] = parent
        self._remember(self.client.create_run(self.experiment, run_name=name, tags=tags))
        return self._runs[number]

    def _describe_trial(self, record: TrialRecord) -> None:
        configuration = record.spec.configuration
        run_id = self._runs[record.number]
        self.client.set_tag(run_id, CONFIGURATION_TAG, json.dumps(configuration.to_dict()))
        self._log_params(run_id, _params(record, self._study.n_layers))
        self._log_metrics(run_id, _costs(record), step=0)
        self._bare.discard(record.number)

    def _report(self, record: TrialRecord, report: RungReport) -> None:
        values = {
            **report.metrics,
            "quality": report.metrics[record.quality_metric],
            "train_loss": report.train_loss,
            "eval_loss": report.eval_loss,
            "fidelity": report.fidelity,
            "seconds": report.seconds,
        }
        written = report.rung + 1
        self._log_metrics(
            self._runs[record.number], values, report.step, {REPORTS_TAG: str(written)}
        )
        self._n_reports[record.number] = written

    def _end(self, record: TrialRecord) -> None:
        run_id = self._runs[record.number]
        result = record.result
        assert result is not None
        tags = {_END_TAG: result.status.value}
        if result.reason:
            tags["failure_reason"] = result.reason[:5000]
        self.client.log_batch(run_id, tags=[RunTag(k, v) for k, v in tags.items()])
        # A trial that was stopped early did what was asked of it: MLflow shows it as finished,
        # and its status tag tells the difference.
        self.client.set_terminated(run_id, "FAILED" if result.status.failed else "FINISHED")
        self._open.discard(record.number)
        self._ends[record.number] = result.status.value

    def _log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        listed = [Param(k, str(v)[:6000]) for k, v in params.items() if v is not None]
        self.client.log_batch(run_id, params=listed)

    def _log_metrics(
        self,
        run_id: str,
        values: Mapping[str, float],
        step: int,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        now = int(time.time() * 1000)
        metrics = [Metric(name, float(value), now, step) for name, value in values.items()]
        listed = [RunTag(k, v) for k, v in (tags or {}).items()]
        self.client.log_batch(run_id, metrics=metrics, tags=listed)


def _run_name(record: TrialRecord) -> str:
    again = "" if record.repeat_of is None else f" (repeats {record.repeat_of:03d})"
    return f"{record.number:03d} {record.spec.configuration.method}{again}"


def _params(record: TrialRecord, n_layers: int) -> dict[str, Any]:
    configuration = record.spec.configuration
    layers = {layer for component in configuration.components for layer in component.layers}
    return {
        "method": configuration.method,
        "targets": target_text(configuration),
        "layers": layer_text(configuration, n_layers),
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


def _costs(record: TrialRecord) -> dict[str, float]:
    return {
        "adapter_params": record.cost.adapter_params,
        "adapter_share_percent": 100 * record.cost.adapter_params / record.cost.base_params,
        "head_params": record.cost.head_params,
        "predicted_memory_mib": record.cost.peak_memory_bytes / 2**20,
    }
