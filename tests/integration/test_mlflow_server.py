"""A search with MLflow's server and PostgreSQL behind it, which dies in the middle.

Needs PostgreSQL's programs and a driver for Python, psycopg or psycopg2, on the machine.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from autopeft.api.request import SearchRequest
from autopeft.api.result import SearchResult
from autopeft.api.search import run_search
from autopeft.report.mlflow_runs import CONFIGURATION_TAG, EXPERIMENT, NUMBER_TAG
from autopeft.trials.trial import TrialRecord
from tests.command import run as autopeft
from tests.mlflow_server import HOST, Server, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
USER = "mlflow"
DRIVERS = ("psycopg", "psycopg2")


def postgres(program: str) -> str:
    """Return the path of one of PostgreSQL's programs; Debian keeps them out of the way."""
    packaged = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    found = shutil.which(program) or (str(packaged[-1]) if packaged else None)
    if found is None:
        pytest.skip("there is no PostgreSQL on this machine")
    return found


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """A database of its own, as a URL."""
    driver = next((name for name in DRIVERS if find_spec(name)), None)
    if driver is None:
        pytest.skip("neither psycopg nor psycopg2 is installed")
    initdb, server = postgres("initdb"), postgres("postgres")
    # It does not run as root, and another user does not get into pytest's folders.
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory() as folder:
        if user:
            shutil.chown(folder, user)
        rights: dict[str, Any] = {"user": user, "cwd": folder, "stdout": subprocess.DEVNULL}
        arguments = [initdb, "--pgdata", f"{folder}/data", "--username", USER, "--auth", "trust"]
        subprocess.run(arguments, check=True, **rights)
        port = free_port()
        arguments = [server, "-D", f"{folder}/data", "-k", folder, "-h", HOST, "-p", str(port)]
        process = subprocess.Popen([*arguments, "-c", "fsync=off"], **rights)
        yield f"postgresql+{driver}://{USER}@{HOST}:{port}/postgres"
        process.send_signal(signal.SIGINT)  # ends connections too
        process.wait()


@pytest.fixture(scope="module")
def server(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    command = ["mlflow", "server", "--backend-store-uri", database, "--host", HOST]
    command += ["--artifacts-destination", str(folder / "artifacts"), "--workers", "1"]
    found = Server(command, folder / "log")
    found.start()
    yield found
    found.die()


class Disaster:
    """Ends the server in the middle of a trial of a search."""

    def __init__(self, server: Server, number: int) -> None:
        self._server, self._number = server, number

    def started(self, _: TrialRecord) -> None:
        pass

    def reported(self, record: TrialRecord) -> None:
        if record.number >= self._number:
            self._server.die()

    def finished(self, _: TrialRecord) -> None:
        pass


def experiment(uri: str) -> str:
    found = MlflowClient(uri).get_experiment_by_name(EXPERIMENT)
    assert found is not None
    return str(found.experiment_id)


def trial_runs(uri: str, query: str = "") -> list[Run]:
    """Return the runs of trials, by number."""
    found = MlflowClient(uri).search_runs([experiment(uri)], query)
    nested = [run for run in found if run.data.tags[NUMBER_TAG] != "-1"]
    return sorted(nested, key=lambda run: int(run.data.tags[NUMBER_TAG]))


def check_all_is_there_once(uri: str, study: Path) -> None:
    """Check that the server has what the study has, and nothing twice."""
    result, client = SearchResult.open(study), MlflowClient(uri)
    runs = trial_runs(uri)
    assert [int(run.data.tags[NUMBER_TAG]) for run in runs] == [t.number for t in result.trials]
    [parent] = client.search_runs([experiment(uri)], f"tags.`{NUMBER_TAG}` = '-1'")
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["trials"] == len(result.trials)
    assert parent.data.metrics["hypervolume"] == pytest.approx(result.hypervolume)
    for run, trial in zip(runs, result.trials, strict=True):
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["status"] == trial.status.value
        assert CONFIGURATION_TAG in run.data.tags
        for name in ("quality", "train_loss"):
            history = client.get_metric_history(run.info.run_id, name)
            assert [metric.step for metric in history] == [r.step for r in trial.reports]
        history = client.get_metric_history(run.info.run_id, "quality")
        found = [r.metrics[trial.quality_metric] for r in trial.reports]
        assert [metric.value for metric in history] == found
    used = {trial.spec.configuration.method for trial in result.trials}
    assert len(used) > 1
    for method in used:
        numbers = [t.number for t in result.trials if t.spec.configuration.method == method]
        chosen = trial_runs(uri, f"params.method = '{method}'")
        assert [int(run.data.tags[NUMBER_TAG]) for run in chosen] == numbers


def test_a_server_dies_in_the_middle_and_comes_back(
    server: Server,
    tiny_settings: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = tmp_path / "study"
    settings = {**tiny_settings, "trials": 5, "repeats": 1, "mlflow_uri": server.uri}
    settings |= {"strategy": "random", "methods": ("lora", "ia3"), "epochs": 2.0}
    request = SearchRequest.build(**settings)
    # The tracker is told first of each rung, so that the server has the first of trial 2.
    result = run_search(request, study, lambda *_: [Disaster(server, 2)])
    assert len(result.trials) == 5  # the search went on
    assert "the search goes on" in caplog.text
    assert f"autopeft sync {study}" in caplog.text
    failed = autopeft(capsys, "sync", study)
    assert failed.code != 0
    assert "could not be written to" in failed.err

    server.start()
    assert [run.data.tags[NUMBER_TAG] for run in trial_runs(server.uri)] == ["0", "1", "2"]
    assert trial_runs(server.uri)[2].info.status == "RUNNING"
    synced = autopeft(capsys, "sync", study)
    assert synced.code == 0, synced.err
    check_all_is_there_once(server.uri, study)

    resumed = autopeft(capsys, "search", "--resume", "--study", study, "--trials", 7)
    assert resumed.code == 0, resumed.err
    check_all_is_there_once(server.uri, study)

    registered = autopeft(capsys, "sync", study, "--register", "tiny")
    assert registered.code == 0, registered.err
    check_all_is_there_once(server.uri, study)
    [version] = MlflowClient(server.uri).search_model_versions("name = 'tiny'")
    import mlflow.pyfunc  # warns when it is imported

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    model = mlflow.pyfunc.load_model(f"models:/tiny/{version.version}")
    answer = model.predict(pd.DataFrame({"text": ["word1 word2", "word40"]}))
    assert set(answer["label"]) <= {"negative", "positive"}
    assert answer["score"].between(0.5, 1.0).all()
