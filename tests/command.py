"""Runs the command line in this process, as its entry point would."""

import sys
from dataclasses import dataclass
from typing import Any

import pytest

from autopeft.cli.main import main


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> Outcome:
    """Run `autopeft` with these arguments."""
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["autopeft", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    captured = capsys.readouterr()
    return Outcome(code, captured.out, captured.err)


def as_options(settings: dict[str, Any]) -> list[object]:
    """Return the settings of a search as options of the command line."""
    named = ((f"--{name.replace('_', '-')}", value) for name, value in settings.items())
    return [part for pair in named for part in pair]
