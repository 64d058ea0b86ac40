"""A search that is killed or interrupted goes on as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autopeft.api.result import SearchResult
from autopeft.api.search import resume_search
from tests.command import as_options
from tests.integration.test_search import outcome


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "autopeft", *map(str, arguments)]


def begin(
    settings: dict[str, Any], folder: Path, until: str, *more: object
) -> subprocess.Popen[str]:
    """Start a search and return it when a line of its progress holds `until`."""
    process = subprocess.Popen(
        command("search", "--study", folder, *as_options(settings), *more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if until in line:
            return process
    pytest.fail(f"the search ended early:\n{''.join(lines)}")


def resume(folder: Path) -> dict[str, Any]:
    arguments = command("search", "--resume", "--study", folder, "--json")
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    data: dict[str, Any] = json.loads(done.stdout)
    return data


def without_clock(data: dict[str, Any]) -> list[dict[str, Any]]:
    return [{k: v for k, v in trial.items() if k != "seconds"} for trial in data["trials"]]


@pytest.fixture
def _without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes that are started find a package `ray` that cannot be imported."""
    package = tmp_path / "forbidden" / "ray"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('one worker needs no Ray')\n")
    others = [path for path in [os.environ.get("PYTHONPATH")] if path]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(package.parent), *others]))


@pytest.mark.usefixtures("_without_ray")
def test_killed_and_resumed_equals_uninterrupted(
    tiny_study: SearchResult, tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    """Also where Ray cannot be imported, as one worker never does."""
    folder = tmp_path / "studies" / "killed"
    process = begin(tiny_settings, folder, "[2/8]")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    kept = SearchResult.open(folder).trials
    assert 2 <= len(kept) < 8  # nothing that was measured is lost
    assert outcome(kept[:2]) == outcome(tiny_study.trials[:2])
    resumed = resume(folder)
    assert without_clock(resumed) == outcome(tiny_study.trials)
    assert resumed["hypervolume"] == tiny_study.hypervolume


@pytest.mark.slow
def test_ctrl_c_ends_with_what_is_known(
    tiny_study: SearchResult, tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "studies" / "interrupted"
    process = begin(tiny_settings, folder, "[2/8]")
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "Go on with: autopeft search --resume" in err
    assert "trials (" in out
    assert (folder / "report" / "pareto.html").is_file()
    assert outcome(resume_search(folder, {}).trials) == outcome(tiny_study.trials)
