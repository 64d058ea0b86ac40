"""What `autopeft sync` writes, and where `autopeft ui` says it is."""

import importlib.util
import subprocess
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from autopeft.api.result import SearchResult
from autopeft.cli import ui
from autopeft.report.mlflow_runs import EXPERIMENT
from tests.command import run


def test_a_study_is_written_to_another_server_once(
    tiny_study: SearchResult,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An option names it, or MLflow's own variable."""
    uri = f"sqlite:///{tmp_path}/other.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for named in (["--mlflow-uri", uri], []):
        outcome = run(capsys, "sync", tiny_study.folder.path, *named)
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
    assert len(outcome.err.splitlines()) == 1


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


def test_the_winner_is_a_model_that_predicts(
    tiny_study: SearchResult,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By its run and by its registered name it says what the exported folder says.

    MLflow's own server stays what it was: a program that has set one goes on with it.
    """
    uri = f"sqlite:///{tmp_path}/other.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/own.db")
    options = ["--mlflow-uri", uri, "--register", "sentiment"]
    assert run(capsys, "sync", tiny_study.folder.path, *options).code == 0
    assert mlflow.get_tracking_uri() == f"sqlite:///{tmp_path}/own.db"
    assert not (tmp_path / "own.db").exists()
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    (parent,) = client.search_runs(
        [experiment.experiment_id], "tags.`autopeft.trial` = '-1'", max_results=2
    )
    texts = ["w0 w1 w2", "w30 w31 w32"]
    folder = tiny_study.export(tmp_path / "export")
    spec = importlib.util.spec_from_file_location("predict", folder / "predict.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    model, tokenizer = script.load(tiny_study.manifest["model"]["location"])
    expected = [script.predict(model, tokenizer, text) for text in texts]
    mlflow.set_tracking_uri(None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for address in (f"runs:/{parent.info.run_id}/model", "models:/sentiment/1"):
        loaded = mlflow.pyfunc.load_model(address)
        found = loaded.predict(pd.DataFrame({"text": texts}))
        assert list(found["label"]) == [label for label, _ in expected]
        assert list(found["score"]) == pytest.approx([score for _, score in expected])
