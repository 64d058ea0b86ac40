"""Children that have to ask for their rights: root's own would open every file."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_DROP = 24  # PR_CAPBSET_DROP
_OVERRIDES = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
_LIBRARY = ctypes.CDLL(None, use_errno=True)


def _give_up_rights() -> None:
    """Leave root what the modes of its files give, from the next program on."""
    for right in _OVERRIDES:
        if _LIBRARY.prctl(_DROP, right, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")


def run_unprivileged(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python code for which the modes of files count, whoever runs the tests."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    root = os.geteuid() == 0
    try:
        return subprocess.run(
            command,
            preexec_fn=_give_up_rights if root else None,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
    except (subprocess.SubprocessError, AttributeError):
        pytest.skip("root cannot give up its rights here")


@contextmanager
def only_to_read(folder: Path) -> Iterator[None]:
    """Take away the right to write a folder and all in it."""
    modes = {path: path.stat().st_mode for path in (folder, *folder.rglob("*"))}
    try:
        for path, mode in modes.items():
            path.chmod(mode & ~0o222)
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
