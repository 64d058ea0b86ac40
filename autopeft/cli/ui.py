"""`autopeft ui`: MLflow's own UI, bound to this machine."""

import socket
import subprocess
import sys
from pathlib import Path

from autopeft.cli.output import console
from autopeft.errors import RequestError, StudyError
from autopeft.report.tracking import local_place

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
    console().print(f"MLflow UI: http://{HOST}:{chosen}  (Ctrl-C ends it)", highlight=False)
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", place.uri]
    command += ["--host", HOST, "--port", str(chosen)]
    try:
        finished = subprocess.run(command, check=False)
    except KeyboardInterrupt:
        return
    if finished.returncode:
        raise StudyError(f"MLflow's UI ended with exit code {finished.returncode}.")


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
