"""MLflow: one parent run a search, a nested run a trial, written by the driver alone."""

import logging
import math
import os
import string
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from autopeft.report.markdown import front_markdown, noise_text
from autopeft.report.mlflow_runs import StudyRuns, TrackedStudy, TrackingPlace
from autopeft.report.stopping import rung_lines
from autopeft.report.summary import Summary
from autopeft.report.theme import dashboard_file
from autopeft.trials.trial import TrialRecord

logger = logging.getLogger(__name__)

#: Seconds after which a server that failed is tried again.
TRY_AGAIN = 60.0
#: Unless MLflow's own variables say otherwise: a search waits for a server no longer than this, and
#: what MLflow prints of its runs is not for this program's output.
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class MlflowTracker:
    """Writes a study to MLflow; an observer of the study.

    The study's own storage is the record, so a tracking server that fails costs the tracking,
    never the search: the failure is logged once, and what could not be written is kept. The server
    is tried again after `TRY_AGAIN` seconds and at the end; `missed` tells what it still lacks
    then, which `autopeft sync` writes later.

    Attributes:
        place: Where runs are written.
        failure: Why MLflow failed the last time that it did; empty if it never has.
    """

    def __init__(
        self,
        place: TrackingPlace,
        study: TrackedStudy,
        clock: Callable[[], float] = time.monotonic,
        *,
        warns: bool = True,
    ) -> None:
        """Find or make the experiment and the parent run.

        Args:
            place: Where runs are written.
            study: What is written there.
            clock: Tells the seconds.
            warns: Whether a failure is logged as that of a search which goes on.
        """
        for variable, value in _SETTINGS.items():
            os.environ.setdefault(variable, value)
        self.place = place
        self.failure = ""
        self._warns = warns
        self._study = study
        self._clock = clock
        self._runs: StudyRuns | None = None
        self._missed: dict[int, TrialRecord] = {}
        self._failed_at: float | None = None
        self._monitor: Any = None  # MLflow's, which has no types
        self.catch_up([])

    @property
    def parent_run_id(self) -> str:
        """Identifier of the parent run; empty if MLflow could not be reached the last time."""
        return self._runs.search_run if self._runs else ""

    @property
    def missed(self) -> int:
        """Number of trials that MLflow does not know as they are."""
        return len(self._missed)

    def catch_up(self, records: Sequence[TrialRecord]) -> None:
        """Write what MLflow does not know yet of trials."""
        self._missed |= {record.number: record for record in records}
        self._try(self._write_missed)

    def started(self, record: TrialRecord) -> None:
        """Begin the trial's run."""
        self.catch_up([record])

    def reported(self, record: TrialRecord) -> None:
        """Log the metrics of the last rung, by optimiser step."""
        self.catch_up([record])

    def finished(self, record: TrialRecord) -> None:
        """End the trial's run."""
        self.catch_up([record])

    def keep(self, path: Path) -> None:
        """Keep a file with the search's run, in place of one of the same name."""
        self._try(lambda runs: runs.client.log_artifact(runs.search_run, str(path)))

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
        values, note = _values(summary), _note(summary, facts)
        if self._monitor is not None:
            self._monitor.finish()

        def end(runs: StudyRuns) -> None:
            self._write_missed(runs)
            runs.end_search(values, len(summary.records), note, artifacts)
            runs.close(status)

        if self._failed_at is not None:
            self._failed_at = -math.inf  # the last chance
        if not self._try(end) and self._warns:
            logger.warning(
                "MLflow at %s lacks the end of this search, and %d of its trials: when it is back, "
                "run `autopeft sync %s`.",
                self.place.uri,
                self.missed,
                facts["folder"],
            )

    def watch_system(self) -> None:
        """Log the load of this machine to the search's run from now to the end."""

        def watch(run_id: str) -> None:
            from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

            monitor: Any = SystemMetricsMonitor
            self._monitor = monitor(run_id, tracking_uri=self.place.uri)
            self._monitor.start()

        self.with_search_run(watch)

    def with_search_run(self, action: Callable[[str], None]) -> bool:
        """Do something with the search's run, by its identifier; tell whether it was done."""
        return self._try(lambda runs: action(runs.search_run))

    def _write_missed(self, runs: StudyRuns) -> None:
        for number in sorted(self._missed):
            runs.write(self._missed[number])
            del self._missed[number]

    def _try(self, action: Callable[[StudyRuns], None]) -> bool:
        """Do something, unless the server failed a moment ago; tell whether it was done."""
        if self._failed_at is not None and self._clock() - self._failed_at < TRY_AGAIN:
            return False
        try:
            if self._runs is None:
                self._runs = StudyRuns(self.place, self._study)
            action(self._runs)
        except (MlflowException, SQLAlchemyError, OSError) as error:
            self.failure = str(error).split("\n")[0]
            if self._failed_at is None and self._warns:
                logger.warning(
                    "MLflow at %s failed; the search goes on: %s", self.place.uri, self.failure
                )
            self._failed_at = self._clock()
            # What was asked may have been done, though no answer came: look again the next time.
            self._runs = None
            return False
        self._failed_at = None
        return True


def _values(summary: Summary) -> dict[str, float]:
    values: dict[str, float] = {
        "hypervolume": summary.hypervolume,
        "front_size": len(summary.front),
        "trials": len(summary.records),
    }
    best = summary.best()
    if best is not None:
        found = summary.estimate(best)
        assert found is not None
        values["best_quality"] = found.measured.mean
        values["best_quality_error"] = found.error
        values["best_adapter_params"] = best.cost.adapter_params
    return values


def _noise(summary: Summary, record: TrialRecord) -> str:
    text = noise_text(summary, record)
    return f" ({text})" if text else ""


def _note(summary: Summary, facts: Mapping[str, str]) -> str:
    best = summary.best()
    if best is None:
        headline = "No trial was completed."
    else:
        share = 100 * best.cost.adapter_params / best.cost.base_params
        headline = (
            f"Best: {best.spec.configuration.method}, {summary.metric} {best.quality:.4f}"
            f"{_noise(summary, best)} with "
            f"{best.cost.adapter_params:,} adapter parameters ({share:.3g} %)."
        )
    template = string.Template(dashboard_file("run_note.md").read_text(encoding="utf-8"))
    return template.substitute(
        task=summary.task,
        model=summary.model,
        budget=summary.budget_text,
        headline=headline,
        front=front_markdown(summary),
        statuses=summary.statuses(),
        hypervolume=f"{summary.hypervolume:.4f}",
        stopping=" ".join(rung_lines(summary)) or "none",
        **facts,
    )
