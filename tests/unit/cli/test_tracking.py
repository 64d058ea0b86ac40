"""What `autopeft sync` writes, and where `autopeft ui` says it is."""

import subprocess
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from autopeft.api.result import SearchResult
from autopeft.cli import ui
from autopeft.report.mlflow_runs import EXPERIMENT
from tests.command import run


def test_a_study_is_written_to_another_server_once(
    tiny_study: SearchResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"sqlite:///{tmp_path}/other.db"
    for _ in range(2):
        outcome = run(capsys, "sync", tiny_study.folder.path, "--mlflow-uri", uri)
        assert outcome.code == 0, outcome.err
        assert f"{len(tiny_study.trials)} trials" in outcome.out
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    found = client.search_runs([experiment.experiment_id])
    assert len(found) == len(tiny_study.trials) + 1
    assert {r.info.status for r in found} == {"FINISHED"}
    (parent,) = (r for r in found if r.data.tags["autopeft.trial"] == "-1")
    assert parent.data.metrics["hypervolume"] == tiny_study.hypervolume
    assert parent.inputs.dataset_inputs[0].dataset.name == "sst2"
    for r in found:
        if r is not parent:
            history = client.get_metric_history(r.info.run_id, "quality")
            trial = tiny_study.trials[int(r.data.tags["autopeft.trial"])]
            expected = [x.metrics[trial.quality_metric] for x in trial.reports]
            assert [m.value for m in history] == expected


def test_a_server_that_is_away_is_one_sentence(
    tiny_study: SearchResult, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    study = tiny_study.folder.path
    outcome = run(capsys, "sync", study, "--mlflow-uri", "http://127.0.0.1:9")
    assert outcome.code == 2
    assert "http://127.0.0.1:9 could not be written to" in outcome.err


def test_the_newest_search_has_an_address(
    tiny_study: SearchResult, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's own server is not started here: its command is looked at."""
    commands: list[list[str]] = []

    def started(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(ui.subprocess, "run", started)
    outcome = run(capsys, "ui", "--studies", tiny_study.folder.path.parent)
    assert outcome.code == 0, outcome.err
    (command,) = commands
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert "/#/experiments/" in outcome.out
