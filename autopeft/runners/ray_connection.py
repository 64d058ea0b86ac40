"""Reaching a Ray cluster, or starting one on this machine."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from autopeft.errors import RequestError
from autopeft.trials.threads import available_cores

_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no CSV, JSON and TensorBoard copies of results
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C reaches the search
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@contextmanager
def cluster(address: str | None, workers: int) -> Iterator[None]:
    """Be connected to Ray; what was started here ends with the block.

    Args:
        address: Address of a running cluster; `None` starts Ray on this machine.
        workers: Trials at a time.

    Raises:
        RequestError: If no cluster answers at the address.
    """
    before = {name: os.environ.get(name) for name in _SETTINGS}
    os.environ.update(_SETTINGS)
    try:
        connect(address, workers)
        yield
    finally:
        ray.shutdown()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def connect(address: str | None, workers: int) -> None:
    """Connect, unless that has been done; see `cluster`."""
    if ray.is_initialized():
        return
    silent = RequestError(
        f"No Ray cluster answers at '{address}': check --ray-address and Ray's authentication "
        "token, or leave it out to start Ray on this machine."
    )
    options: dict[str, Any] = {"address": address}
    if address is None:
        # More workers than cores share them; Ray would wait for cores that never come.
        options = {"num_cpus": max(available_cores(), workers), "include_dashboard": False}
    elif not _is_listening(address):
        raise silent
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    except ConnectionError as error:
        raise silent from error


def _is_listening(address: str) -> bool:
    """Tell whether somebody listens at host:port; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return True  # "auto", or a name that only Ray can resolve
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError:
        return False
    return True
