"""Earlier studies read back from MLflow, for a search that learns from them."""

import json
from collections.abc import Iterator, Sequence

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from autopeft.errors import SpaceError, StudyError, UnknownNameError
from autopeft.report.mlflow_runs import (
    CONFIGURATION_TAG,
    LAYERS_TAG,
    NUMBER_TAG,
    SEARCH,
    STUDY_TAG,
    TrackingPlace,
)
from autopeft.space.configuration import Configuration
from autopeft.study.past import PastStudy, PastTrial
from autopeft.trials.trial import TrialStatus

#: Studies of an experiment that are read: each is a model of its own.
MOST_STUDIES = 8


def tracked_studies(place: TrackingPlace, experiment: str) -> list[PastStudy]:
    """Return the studies of an experiment, the newest first.

    The trials of the newest `MOST_STUDIES` are read; those of older ones are left out, by number.

    Args:
        place: Where runs were written.
        experiment: Name of the experiment.

    Raises:
        UnknownNameError: If there is no such experiment.
        StudyError: If MLflow cannot be reached.
    """
    database = place.artifacts and place.artifacts.parent / "mlflow.db"
    if database is not None and not database.is_file():
        raise StudyError(
            f"There are no MLflow runs at '{database}': name the tracking server with --mlflow-uri."
        )
    client = MlflowClient(place.uri)
    try:
        found = client.get_experiment_by_name(experiment)
        if found is None:
            names = [e.name for e in client.search_experiments()]
            raise UnknownNameError("MLflow experiment", experiment, names)
        runs = list(_runs(client, found.experiment_id))
        parents = [run for run in runs if run.data.tags[NUMBER_TAG] == str(SEARCH)]
        parents.sort(key=lambda run: -run.info.start_time)
        newest = [_study(client, parent, runs) for parent in parents[:MOST_STUDIES]]
        return newest + [_study(None, parent, runs) for parent in parents[MOST_STUDIES:]]
    except MlflowException as error:
        reason = str(error).split("\n")[0]
        raise StudyError(f"Cannot read MLflow at {place.uri}: {reason}") from error


def _runs(client: MlflowClient, experiment: str) -> Iterator[Run]:
    """Yield the runs of searches and trials."""
    token = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        yield from (run for run in page if {STUDY_TAG, NUMBER_TAG} <= set(run.data.tags))
        token = page.token
        if not token:
            return


def _study(client: MlflowClient | None, parent: Run, runs: Sequence[Run]) -> PastStudy:
    """Return a study; without a client, with none of its trials."""
    tags, params = parent.data.tags, parent.data.params
    study_id = tags[STUDY_TAG]
    own = [run for run in runs if run.data.tags[STUDY_TAG] == study_id and run is not parent]
    own.sort(key=lambda run: int(run.data.tags[NUMBER_TAG]))
    whole = LAYERS_TAG in tags and "base_params" in params
    reason = "does not have its configuration in MLflow"
    if client is None:
        reason = f"belonged to an older study than the newest {MOST_STUDIES}"
    trials, left_out = [], []
    for run in own:
        trial = _trial(client, run) if whole and client else None
        if trial is None:
            left_out.append((int(run.data.tags[NUMBER_TAG]), reason))
        else:
            trials.append(trial)
    return PastStudy(
        name=f"MLflow run {parent.info.run_name}",
        study_id=study_id,
        task=params.get("task", "an unknown task"),
        model=params.get("model", "an unknown model"),
        n_layers=int(tags.get(LAYERS_TAG, 1)),
        base_params=int(params.get("base_params", 1)),
        trials=tuple(trials),
        left_out=tuple(left_out),
    )


def _trial(client: MlflowClient, run: Run) -> PastTrial | None:
    """Return a trial, `None` if its run lacks what an older version did not write."""
    tags, metrics = run.data.tags, run.data.metrics
    try:
        configuration = Configuration.from_dict(json.loads(tags[CONFIGURATION_TAG]))
        count = int(metrics["adapter_params"])
    except (KeyError, ValueError, SpaceError):
        return None
    status = TrialStatus(tags.get("status", TrialStatus.RUNNING.value))
    steps = {}
    for name in ("fidelity", "quality"):
        history = client.get_metric_history(run.info.run_id, name)
        steps[name] = {metric.step: float(metric.value) for metric in history}
    shared = sorted(set(steps["fidelity"]) & set(steps["quality"]))
    return PastTrial(
        number=int(tags[NUMBER_TAG]),
        configuration=configuration,
        adapter_params=count,
        measured=tuple((steps["fidelity"][step], steps["quality"][step]) for step in shared),
        failure=status.value if status.failed else "",
    )
