"""MLflow for a study, from what its folder says of it, and what it lacks written later."""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autopeft.api.facts import export_facts
from autopeft.api.result import SearchResult
from autopeft.errors import RequestError, StudyError
from autopeft.report.mlflow_runs import (
    EXPERIMENT,
    NUMBER_TAG,
    SEARCH,
    TrackedStudy,
    TrackingPlace,
    local_place,
)
from autopeft.report.tracking import MlflowTracker
from autopeft.trials.folder import StudyFolder

#: Number of the trial that is logged as the search's model.
_WINNER_TAG = "autopeft.winner"
#: MLflow takes as many letters of a data set's digest.
_DIGEST_LETTERS = 36


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What MLflow knows of a study now.

    Attributes:
        uri: The tracking server.
        run_id: The study's run.
        n_trials: Number of its trials.
    """

    uri: str
    run_id: str
    n_trials: int


def sync_study(folder: Path, uri: str | None = None, registered: str | None = None) -> Synced:
    """Write to MLflow what it does not know of a study; nothing is written twice.

    Args:
        folder: The study's folder.
        uri: Tracking server; `None` takes the one of the search, without one that of
            `MLFLOW_TRACKING_URI`, else the file beside the studies.
        registered: Name to register the best trial's model under.

    Raises:
        RequestError: If MLflow takes no such name.
        StudyError: If there is no study, no complete trial to register, or the server cannot be
            reached.
    """
    if registered is not None and (not registered.strip() or set(registered) & set("/:")):
        raise RequestError(
            f"MLflow registers no model as '{registered}': --register takes a name without / and :."
        )
    result = SearchResult.open(folder)
    if registered is not None and result.summary.best() is None:
        raise StudyError("No trial of the study is complete yet: there is no model to register.")
    recorded = result.manifest
    place = tracking_place(result.folder, uri or recorded["request"]["mlflow_uri"])
    tracker = study_tracker(result.folder, recorded, place, warns=False)
    tracker.catch_up(result.trials)
    logged = log_winner(tracker, result, registered)
    close_tracker(tracker, result, "FINISHED")
    if tracker.missed or not tracker.parent_run_id or not logged:
        reason = tracker.failure.rstrip(".")
        raise StudyError(f"MLflow at {place.uri} could not be written to: {reason}.")
    return Synced(uri=place.uri, run_id=tracker.parent_run_id, n_trials=len(result.trials))


def tracking_place(folder: StudyFolder, uri: str | None) -> TrackingPlace:
    """Return where MLflow's runs go: a server, or a SQLite file beside the studies.

    Without a name the server is that of MLflow's own variable, which is no part of the study.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI")
    return TrackingPlace(uri=uri, artifacts=None) if uri else local_place(folder.path.parent)


def log_winner(tracker: MlflowTracker, result: SearchResult, registered: str | None = None) -> bool:
    """Log the best trial of a study as the model of its run, unless it is that already.

    Returns whether MLflow has it, or there is none.

    Args:
        tracker: The study's tracker.
        result: The study; without a complete trial nothing is logged.
        registered: Name to register the model under.

    Raises:
        StudyError: If the trial cannot be exported.
    """
    from mlflow.tracking import MlflowClient

    from autopeft.export.mlflow_model import log_model

    best = result.summary.best()
    if best is None:
        return True

    def log(run_id: str) -> None:
        client = MlflowClient(tracker.place.uri)
        winner = client.get_run(run_id).data.tags.get(_WINNER_TAG)
        if winner == str(best.number) and registered is None:
            return
        with tempfile.TemporaryDirectory() as scratch:
            folder = result.export(Path(scratch) / "export", str(best.number))
            log_model(folder, export_facts(result, best), run_id, tracker.place.uri, registered)
        client.set_tag(run_id, _WINNER_TAG, str(best.number))

    return tracker.with_search_run(log)


def newest_search(place: TrackingPlace) -> str | None:
    """Return the place of the newest search on the pages of MLflow's UI, `None` without any."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(place.uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return None
    searches = f"tags.`{NUMBER_TAG}` = '{SEARCH}'"
    found = client.search_runs([experiment.experiment_id], searches, max_results=1)
    if not found:
        return None
    return f"#/experiments/{experiment.experiment_id}/runs/{found[0].info.run_id}"


def study_tracker(
    folder: StudyFolder, recorded: dict[str, Any], place: TrackingPlace, *, warns: bool = True
) -> MlflowTracker:
    """Return the tracker of a study, its parent run described.

    Args:
        folder: The study.
        recorded: Its manifest.
        place: Where runs are written.
        warns: As for `MlflowTracker`.
    """
    request, task = recorded["request"], recorded["task"]
    params = {
        "task": task["name"],
        "model": recorded["model"]["name"],
        "metric": task["metric"],
        "budget": recorded["budget"]["text"],
        "budget_params": recorded["budget"]["limit"],
        "base_params": recorded["model"]["base_params"],
        "space": request["space"],
        "strategy": request["strategy"],
        "surrogate": request.get("surrogate"),
        "fidelity": request["fidelity"],
        "objectives": ",".join(recorded["objectives"]),
        "warm_start": " ".join(request.get("warm_start", ())) or None,
        "seed": request["seed"],
        "data_fingerprint": task["fingerprint"],
    }
    study = TrackedStudy(
        study_id=recorded["study_id"],
        name=folder.path.name,
        n_layers=recorded["model"]["n_layers"],
        params=params,
        dataset=_dataset(task),
    )
    return MlflowTracker(place, study, warns=warns)


def close_tracker(
    tracker: MlflowTracker, result: SearchResult, status: str, files: list[Path] | None = None
) -> None:
    """Log what a study found, with its files.

    Args:
        tracker: The study's tracker.
        result: The study.
        status: MLflow's status of the search.
        files: Files of the report; `None` takes those that are there.
    """
    folder = result.folder
    report = sorted(folder.report.glob("*")) if files is None else files
    facts = {"folder": str(folder.path), "command": result.manifest["command"]}
    asked = [file for file in (folder.space_file, folder.manifest_file) if file.is_file()]
    tracker.close(result.summary, [*report, *asked], facts, status)


def _dataset(task: dict[str, Any]) -> dict[str, str]:
    rows = {"train_rows": task["train_rows"], "validation_rows": task["eval_rows"]}
    return {
        "name": task["name"],
        "digest": task["fingerprint"][:_DIGEST_LETTERS],
        "source_type": "local",
        "source": json.dumps({"uri": task["origin"]}),
        "profile": json.dumps(rows),
    }
