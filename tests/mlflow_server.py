"""MLflow's server as a process of its own, which can die and come back at its address."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

HOST = "127.0.0.1"
#: Seconds that it may take to start.
PATIENCE = 300


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Server:
    """A server that is started by a module's command line.

    Attributes:
        uri: Its address.
    """

    def __init__(self, command: Sequence[object], log: Path) -> None:
        """Take the command, without its port."""
        port = free_port()
        self.uri = f"http://{HOST}:{port}"
        self._command = [sys.executable, "-m", *map(str, command), "--port", str(port)]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < end, self._log.read_text()
            time.sleep(0.5)

    def die(self) -> None:
        """End it with all its workers, without a word; nothing if it is dead."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
