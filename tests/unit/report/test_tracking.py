import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from autopeft.report.mlflow_runs import (
    EXPERIMENT,
    NUMBER_TAG,
    REPORTS_TAG,
    STUDY_TAG,
    StudyRuns,
    TrackedStudy,
    TrackingPlace,
    local_place,
)
from autopeft.report.tracking import TRY_AGAIN, MlflowTracker
from autopeft.trials.trial import TrialRecord, TrialStatus
from tests.records import record, summary
from tests.unprivileged import only_to_read, run_unprivileged

FACTS = {"folder": "studies/s", "command": "autopeft search"}


STUDY = TrackedStudy(
    study_id="id",
    name="my-study",
    n_layers=2,
    params={"task": "rte", "nothing": None},
    dataset={
        "name": "rte",
        "digest": "d" * 16,
        "source_type": "local",
        "source": '{"uri": "rte.jsonl"}',
        "profile": '{"train_rows": 100}',
    },
)


def follow(tracker: MlflowTracker, trial: TrialRecord, qualities: list[float]) -> None:
    """Tell a tracker the life of a trial."""
    number, params = trial.number, trial.cost.adapter_params
    tracker.started(record(number, [], params, None))
    for rung in range(len(qualities)):
        tracker.reported(record(number, qualities[: rung + 1], params, None))
    if trial.result is not None:
        tracker.finished(trial)


def runs(place: TrackingPlace) -> list:
    client = MlflowClient(place.uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    return sorted(
        client.search_runs([experiment.experiment_id]),
        key=lambda r: int(r.data.tags["autopeft.trial"]),
    )


def test_a_study_is_a_parent_with_nested_runs(tmp_path: Path) -> None:
    place = local_place(tmp_path / "studies")
    tracker = MlflowTracker(place, STUDY)
    trials = [
        record(0, [0.5, 0.6], 100),
        record(1, [0.4], 200, TrialStatus.STOPPED),
        record(2, [], 300, TrialStatus.NAN),
    ]
    for trial, qualities in zip(trials, ([0.5, 0.6], [0.4], []), strict=True):
        follow(tracker, trial, qualities)
    artifact = tmp_path / "front.csv"
    artifact.write_text("trial\n")
    tracker.keep(artifact)
    artifact.write_text("trial\n0\n")
    tracker.close(summary(trials), [artifact], FACTS, "FINISHED")

    parent, *nested = runs(place)
    assert parent.info.run_name == "my-study"
    assert parent.data.params == {"task": "rte"}
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["best_quality"] == 0.6
    assert "accuracy 0.6000" in parent.data.tags["mlflow.note.content"]
    client = MlflowClient(place.uri)
    assert [a.path for a in client.list_artifacts(parent.info.run_id)] == ["front.csv"]
    assert "0" in Path(client.download_artifacts(parent.info.run_id, "front.csv")).read_text()
    assert {r.data.tags["mlflow.parentRunId"] for r in nested} == {parent.info.run_id}
    assert [r.data.tags["status"] for r in nested] == ["complete", "stopped", "nan"]
    assert [r.info.status for r in nested] == ["FINISHED", "FINISHED", "FAILED"]
    assert nested[0].data.params["method"] == "lora"
    assert nested[0].data.metrics["adapter_params"] == 100
    history = client.get_metric_history(nested[0].info.run_id, "quality")
    assert [(m.step, m.value) for m in history] == [(10, 0.5), (20, 0.6)]


def test_a_resumed_study_goes_on_in_the_same_runs(tmp_path: Path) -> None:
    place = local_place(tmp_path / "studies")
    first = MlflowTracker(place, STUDY)
    follow(first, record(0, [0.5, 0.6], 100), [0.5, 0.6])
    running = record(1, [0.5], 200, None)
    follow(first, running, [0.5])
    first.close(summary([record(0, [0.5, 0.6], 100), running]), [], FACTS, "KILLED")
    assert [r.info.status for r in runs(place)] == ["KILLED", "FINISHED", "KILLED"]

    second = MlflowTracker(place, STUDY)
    assert second.parent_run_id == first.parent_run_id
    second.started(running)
    assert [r.info.status for r in runs(place)] == ["RUNNING", "FINISHED", "RUNNING"]
    done = record(1, [0.5, 0.7], 200)
    second.reported(done)
    second.finished(done)
    second.close(summary([record(0, [0.5, 0.6], 100), done]), [], FACTS, "FINISHED")
    assert [r.info.status for r in runs(place)] == ["FINISHED"] * 3


def test_what_mlflow_has_missed_is_written_when_the_study_is_resumed(tmp_path: Path) -> None:
    place = local_place(tmp_path / "studies")
    trials = [record(0, [0.5, 0.6], 100), record(1, [0.4], 100, None)]
    MlflowTracker(place, STUDY).close(summary(trials), [], FACTS, "KILLED")
    assert len(runs(place)) == 1  # neither trial was tracked
    for _ in range(2):  # the second time there is nothing to do
        MlflowTracker(place, STUDY).catch_up(trials)
        assert [r.info.status for r in runs(place)] == ["RUNNING", "FINISHED", "RUNNING"]
    done = runs(place)[1]
    history = MlflowClient(place.uri).get_metric_history(done.info.run_id, "quality")
    assert [m.value for m in history] == [0.5, 0.6]


def test_a_rung_that_was_not_written_is_written_once(tmp_path: Path) -> None:
    """Also after a run that ended in the middle of a trial, and after a pause."""
    place = local_place(tmp_path / "studies")
    first = MlflowTracker(place, STUDY)
    first.started(record(0, [], 100, None))
    first.reported(record(0, [0.5], 100, None))
    paused = record(0, [0.5], 100, TrialStatus.PAUSED)
    first.finished(paused)
    assert runs(place)[1].info.status == "FINISHED"
    first.started(record(0, [0.5], 100, None))
    assert runs(place)[1].info.status == "RUNNING"
    done = record(0, [0.5, 0.6], 100)
    for _ in range(2):
        second = MlflowTracker(place, STUDY)
        second.catch_up([done])
        assert second.missed == 0
    run = runs(place)[1]
    assert run.info.status == "FINISHED"
    history = MlflowClient(place.uri).get_metric_history(run.info.run_id, "quality")
    assert [m.value for m in history] == [0.5, 0.6]
    assert len(runs(place)[0].inputs.dataset_inputs) == 1


def test_a_server_that_is_away_is_said_once_and_at_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    place = TrackingPlace(uri="http://127.0.0.1:9", artifacts=None)
    with caplog.at_level(logging.WARNING, logger="autopeft"):
        tracker = MlflowTracker(place, STUDY)
        follow(tracker, record(0, [0.5, 0.6], 100), [0.5, 0.6])
        tracker.close(summary([record(0, [0.5, 0.6], 100)]), [], FACTS, "FINISHED")
    warnings = [r for r in caplog.records if r.name.startswith("autopeft")]
    assert len(warnings) == 2
    assert "the search goes on" in warnings[0].getMessage()
    assert "autopeft sync studies/s" in warnings[1].getMessage()
    assert tracker.missed == 1


def test_a_file_that_is_no_database_is_a_server_that_is_away(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text(
        "this is no database, and long enough to be looked at " * 40
    )
    place = TrackingPlace(uri=f"sqlite:///{tmp_path / 'mlflow.db'}", artifacts=None)
    tracker = MlflowTracker(place, STUDY)
    follow(tracker, record(0, [0.5, 0.6], 100), [0.5, 0.6])
    assert tracker.missed == 1


def test_a_server_that_comes_back_gets_what_it_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, seconds = local_place(tmp_path / "studies"), [0.0]
    tracker = MlflowTracker(place, STUDY, clock=lambda: seconds[0])
    with monkeypatch.context() as away:
        away.setattr(StudyRuns, "write", _fail)
        follow(tracker, record(0, [0.5, 0.6], 100), [0.5, 0.6])
    running = record(1, [0.5], 100, None)
    tracker.started(running)
    assert tracker.missed == 2  # it is not asked again at once
    seconds[0] = TRY_AGAIN
    tracker.reported(running)
    assert tracker.missed == 0
    assert [r.info.status for r in runs(place)] == ["RUNNING", "FINISHED", "RUNNING"]
    history = MlflowClient(place.uri).get_metric_history(runs(place)[1].info.run_id, "quality")
    assert [m.value for m in history] == [0.5, 0.6]


@pytest.mark.parametrize("n_calls", [1, 3, 5, 8])
def test_what_was_done_without_an_answer_is_not_done_again(
    n_calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of the tracker's calls it is that is answered by silence."""
    place, seconds, calls = local_place(tmp_path / "studies"), [0.0], [0]
    trials = [record(0, [0.5, 0.6], 100), record(1, [0.4], 200)]
    tracker = MlflowTracker(place, STUDY, clock=lambda: seconds[0])

    def silent(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            found = method(*arguments, **named)
            calls[0] += 1
            if calls[0] == n_calls:
                raise MlflowException("no answer")
            return found

        return call

    with monkeypatch.context() as patch:
        for name in ("create_run", "log_batch", "set_tag", "set_terminated"):
            patch.setattr(MlflowClient, name, silent(getattr(MlflowClient, name)))
        tracker.catch_up(trials)
    assert tracker.missed > 0
    seconds[0] = TRY_AGAIN
    for _ in range(2):
        tracker.catch_up(trials)
        tracker.close(summary(trials), [], FACTS, "FINISHED")
    parent, *nested = runs(place)
    client = MlflowClient(place.uri)
    assert [run.info.status for run in (parent, *nested)] == ["FINISHED"] * 3
    for run, trial in zip(nested, trials, strict=True):
        assert run.data.params["method"] == "lora"
        history = client.get_metric_history(run.info.run_id, "quality")
        assert [m.value for m in history] == [r.metrics["accuracy"] for r in trial.reports]
        assert len(client.get_metric_history(run.info.run_id, "adapter_params")) == 1
    assert len(client.get_metric_history(parent.info.run_id, "hypervolume")) == 1


def _fail(*_: object) -> None:
    raise MlflowException("away")


def test_a_write_in_which_the_server_died_is_finished(tmp_path: Path) -> None:
    """Of a rung its metrics were written and not their count, of a trial its bare run."""
    place = local_place(tmp_path / "studies")
    tracker = MlflowTracker(place, STUDY)
    tracker.catch_up([record(0, [0.5], 100, None)])
    client, begun = MlflowClient(place.uri), runs(place)[1]
    client.delete_tag(begun.info.run_id, REPORTS_TAG)
    tags = {STUDY_TAG: STUDY.study_id, NUMBER_TAG: "1"}
    client.create_run(begun.info.experiment_id, tags=tags)
    MlflowTracker(place, STUDY).catch_up([record(0, [0.5, 0.6], 100), record(1, [0.4], 200)])
    _, first, second = runs(place)
    history = client.get_metric_history(first.info.run_id, "quality")
    assert [m.value for m in history] == [0.5, 0.6]
    assert (second.data.params["method"], second.data.metrics["adapter_params"]) == ("lora", 200)
    assert {first.info.status, second.info.status} == {"FINISHED"}


@pytest.mark.parametrize("before", [None, TrialStatus.PAUSED])
def test_a_trial_that_went_on_while_the_server_was_away_is_ended(
    before: TrialStatus | None, tmp_path: Path
) -> None:
    place = local_place(tmp_path / "studies")
    first, begun = MlflowTracker(place, STUDY), record(0, [0.5], 100, before)
    first.catch_up([begun])
    first.close(summary([begun]), [], FACTS, "KILLED")
    second, done = MlflowTracker(place, STUDY), record(0, [0.5, 0.6], 100)
    second.catch_up([done])
    run = runs(place)[1]
    assert (run.info.status, run.data.tags["status"]) == ("FINISHED", "complete")
    assert run.data.metrics["quality"] == 0.6


def test_the_load_of_the_machine_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    place = local_place(tmp_path / "studies")
    tracker = MlflowTracker(place, STUDY)
    tracker.watch_system()
    for _ in range(100):
        names = runs(place)[0].data.metrics
        if "system/cpu_utilization_percentage" in names:
            break
        time.sleep(0.1)
    tracker.close(summary([record(0, [0.5, 0.6], 100)]), [], FACTS, "FINISHED")
    assert "system/cpu_utilization_percentage" in names
    assert runs(place)[0].info.status == "FINISHED"


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "another file": (lambda file: file.write_text("no database" * 100), "is not a database"),
    "a folder": (Path.mkdir, "unable to open"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_file_that_mlflow_cannot_write_is_one_line_at_once(
    name: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """MLflow would wait for two minutes in all, and say so ten times."""
    spoil, reason = SPOILED[name]
    (tmp_path / "studies").mkdir()
    place = local_place(tmp_path / "studies")
    spoil(tmp_path / "studies" / "mlflow.db")
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waits"))
    tracker = MlflowTracker(place, STUDY)
    follow(tracker, record(0, [0.5], 100), [0.5])
    [told] = [r.getMessage() for r in caplog.records]
    assert f"{tmp_path / 'studies' / 'mlflow.db'}' cannot be written" in told
    assert reason in told
    assert "\n" not in told
    assert capfd.readouterr().err == ""
    assert tracker.missed == 1


_TRACK = """
import sys
from pathlib import Path
from autopeft.report.mlflow_runs import local_place
from autopeft.report.tracking import MlflowTracker
from tests.records import record, summary
from tests.unit.report.test_tracking import FACTS, STUDY

trial = record(0, [0.5], 100)
tracker = MlflowTracker(local_place(Path(sys.argv[1])), STUDY)
tracker.finished(trial)
tracker.close(summary([trial]), [], FACTS, "FINISHED")
print(tracker.missed)
"""


def test_runs_of_others_are_left_alone_and_written_later(tmp_path: Path) -> None:
    """The file beside the studies may be a colleague's."""
    place = local_place(tmp_path / "studies")
    other = TrackedStudy(study_id="other", name="o", n_layers=2, params={}, dataset=STUDY.dataset)
    MlflowTracker(place, other).close(summary([]), [], FACTS, "FINISHED")
    with only_to_read(tmp_path / "studies"):
        done = run_unprivileged(_TRACK, tmp_path / "studies")
    assert done.stdout == "1\n"
    begun, end = done.stderr.splitlines()
    assert f"'{tmp_path / 'studies' / 'mlflow.db'}' cannot be written" in begun
    assert "run `autopeft sync studies/s`" in end
    assert len(runs(place)) == 1
    later = MlflowTracker(place, STUDY, warns=False)
    later.catch_up([record(0, [0.5], 100)])
    assert later.missed == 0
    assert len(runs(place)) == 3


@pytest.mark.parametrize("name", ["two words", "what?", "100%41", "ü#{x}"])
def test_any_folder_of_studies(tmp_path: Path, name: str) -> None:
    place = local_place(tmp_path / name)
    tracker = MlflowTracker(place, STUDY)
    assert tracker.failure == ""
    assert (tmp_path / name / "mlflow.db").is_file()
    assert place.artifacts == tmp_path / name / "mlartifacts"
    (tmp_path / "front.csv").write_text("trial\n")
    tracker.keep(tmp_path / "front.csv")
    assert tracker.failure == ""
    assert [p.read_text() for p in (tmp_path / name).rglob("front.csv")] == ["trial\n"]
