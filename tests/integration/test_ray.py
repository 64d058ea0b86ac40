"""The same search on Ray. Ray takes some ten seconds to start, so there are few tests here."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

import autopeft
from autopeft.api.result import SearchResult
from autopeft.trials.trial import TrialStatus
from tests.integration.test_interruption import begin, resume
from tests.integration.test_search import outcome
from tests.tiny import save_tiny

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(600),
    # Ray warns about its own future defaults and leaves sockets to the collector.
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def test_one_worker_does_what_this_process_does(
    tiny_study: SearchResult, tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    result = autopeft.search(study=tmp_path / "s", runner="ray", workers=1, **tiny_settings)
    assert outcome(result.trials) == outcome(tiny_study.trials)


def test_two_workers_learn_to_write(tiny_settings: dict[str, Any], tmp_path: Path) -> None:
    model = save_tiny("llama", tmp_path / "model", "language_modeling")
    settings = {k: v for k, v in tiny_settings.items() if k != "task"} | {"model": str(model)}
    columns = {"text_columns": ("label",), "completion_column": "sentence"}
    settings |= {"trials": 3, "repeats": 2}
    result = autopeft.search(study=tmp_path / "s", workers=2, **settings, **columns)
    assert [t.number for t in result.trials] == list(range(len(result.trials)))
    assert sum(t.repeat_of is None for t in result.trials) == 3
    seeds = {t.number: result.estimate(t).n_seeds for t in result.front}
    assert set(seeds.values()) == {2}
    assert {t.status for t in result.trials} <= {TrialStatus.COMPLETE, TrialStatus.STOPPED}
    assert result.front
    result.export(tmp_path / "out")
    assert (tmp_path / "out" / "predict.py").is_file()


@pytest.mark.slow
def test_ctrl_c(tiny_settings: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "studies" / "interrupted"
    process = begin(tiny_settings, folder, "[2/8]", "--workers", 2)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "trials (" in out
    resumed = resume(folder)
    assert [t["number"] for t in resumed["trials"]] == list(range(8))
    assert all(t["status"] in {"complete", "stopped"} for t in resumed["trials"])
