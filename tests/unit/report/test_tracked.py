import math
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from autopeft.errors import StudyError, UnknownNameError
from autopeft.report import tracked
from autopeft.report.mlflow_runs import (
    CONFIGURATION_TAG,
    EXPERIMENT,
    NUMBER_TAG,
    StudyRuns,
    TrackedStudy,
    TrackingPlace,
    local_place,
)
from autopeft.report.tracked import tracked_studies
from autopeft.study.past import PastTrial
from autopeft.trials.trial import TrialStatus
from tests.records import record

TRIALS = [
    record(0, [0.5, 0.6], 100),
    record(1, [0.4], 200, TrialStatus.STOPPED),
    record(2, [math.nan], 300, TrialStatus.NAN),
    record(3, [], 300, None),
]


def track(place: TrackingPlace, name: str) -> None:
    study = TrackedStudy(
        study_id=f"id of {name}",
        name=name,
        n_layers=2,
        params={"task": "rte", "model": "minilm", "base_params": 1_000_000},
        dataset={"name": "rte", "digest": "0", "source_type": "local", "source": "{}"},
    )
    runs = StudyRuns(place, study)
    for trial in TRIALS:
        runs.write(trial)


def test_what_was_tracked_is_what_was_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = local_place(tmp_path / "studies")
    track(place, "first")
    track(place, "second")
    studies = tracked_studies(place, EXPERIMENT)
    assert {study.study_id for study in studies} == {"id of first", "id of second"}
    for study in studies:
        assert (study.task, study.model, study.n_layers) == ("rte", "minilm", 2)
        assert study.base_params == 1_000_000
        assert repr(study.trials) == repr(tuple(map(PastTrial.of, TRIALS)))  # NaN is no equal
        assert not study.left_out
    # Of an experiment with more studies than are read, the older ones are listed.
    monkeypatch.setattr(tracked, "MOST_STUDIES", 1)
    newest, older = tracked_studies(place, EXPERIMENT)
    assert repr(newest) == repr(studies[0])
    assert (older.study_id, older.trials) == (studies[1].study_id, ())
    reason = "belonged to an older study than the newest 1"
    assert older.left_out == tuple((trial.number, reason) for trial in TRIALS)


def test_runs_of_older_versions_are_listed(tmp_path: Path) -> None:
    place = local_place(tmp_path / "studies")
    track(place, "old")
    client = MlflowClient(place.uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    for run in client.search_runs([experiment.experiment_id]):
        if run.data.tags[NUMBER_TAG] == "1":
            client.delete_tag(run.info.run_id, CONFIGURATION_TAG)
    [study] = tracked_studies(place, EXPERIMENT)
    assert [trial.number for trial in study.trials] == [0, 2, 3]
    assert study.left_out == ((1, "does not have its configuration in MLflow"),)


def test_an_experiment_that_is_not_there_is_named(tmp_path: Path) -> None:
    place = local_place(tmp_path / "studies")
    with pytest.raises(StudyError, match="--mlflow-uri"):
        tracked_studies(place, EXPERIMENT)
    assert not (tmp_path / "studies").exists()  # nothing is made by looking
    track(place, "one")
    with pytest.raises(UnknownNameError, match="did you mean autopeft"):
        tracked_studies(place, "autopetf")
