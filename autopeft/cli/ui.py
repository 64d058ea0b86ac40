"""`autopeft ui`: MLflow's own UI, bound to this machine; `autopeft sync`: what it lacks."""

import socket
import subprocess
import sys
from pathlib import Path

from autopeft.api.search import STUDIES
from autopeft.api.tracking import newest_search, sync_study
from autopeft.cli.output import console
from autopeft.errors import RequestError, StudyError
from autopeft.report.mlflow_runs import local_place
from autopeft.space.wording import count_text
from autopeft.trials.folder import newest_study

HOST = "127.0.0.1"
_DEFAULT_PORT = 5000


def ui_command(studies: Path, port: int | None) -> None:
    """Run MLflow's UI until Ctrl-C."""
    database = studies.resolve() / "mlflow.db"
    if not database.is_file():
        raise StudyError(f"There are no runs in '{studies}': run `autopeft search` first.")
    place = local_place(studies)
    chosen = port or _free_port()
    if port is not None and not _is_free(port):
        raise RequestError(f"Port {port} is in use: name another one with --port, or none.")
    address = f"http://{HOST}:{chosen}"
    console().print(f"MLflow UI: {address}  (Ctrl-C ends it)", highlight=False)
    if page := newest_search(place):
        console().print(f"The newest search: {address}/{page}", highlight=False, soft_wrap=True)
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", place.uri]
    command += ["--host", HOST, "--port", str(chosen)]
    try:
        finished = subprocess.run(command, check=False)
    except KeyboardInterrupt:
        return
    if finished.returncode:
        raise StudyError(f"MLflow's UI ended with exit code {finished.returncode}.")


def sync_command(study: Path | None, uri: str | None, registered: str | None) -> None:
    """Write to MLflow what it lacks of a study, and say where it is."""
    folder = study or newest_study(STUDIES).path
    synced = sync_study(folder, uri, registered)
    console().print(
        f"{count_text(synced.n_trials, 'trial')} of {folder.name} in MLflow at {synced.uri} "
        f"(run {synced.run_id})",
        highlight=False,
        soft_wrap=True,
    )


def _free_port() -> int:
    if _is_free(_DEFAULT_PORT):
        return _DEFAULT_PORT
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
