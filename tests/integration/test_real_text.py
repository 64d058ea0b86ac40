"""Real weights on real text."""

from collections import Counter
from pathlib import Path

import pytest

import autopeft
from autopeft.tasks.data import load_data
from autopeft.tasks.task import find_task
from tests.integration.test_export import reloaded

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def test_the_embedded_default_discriminates(minilm: str, tmp_path: Path) -> None:
    data = load_data(find_task("pydoc"))
    majority = max(Counter(data.validation.labels).values()) / len(data.validation)
    result = autopeft.search(study=tmp_path / "s", model=minilm, trials=12)
    best, smallest = result.best().quality, result.pick("smallest").quality
    assert best is not None
    assert smallest is not None
    assert best > majority + 0.3
    assert best > smallest + 0.01


def test_an_exported_adapter_on_rte(minilm: str, shared_data: Path, tmp_path: Path) -> None:
    result = autopeft.search(
        study=tmp_path / "s",
        task="rte",
        data=shared_data / "rte",
        model=minilm,
        budget="0.1%",
        trials=1,
        epochs=0.3,
        fidelity="none",
    )
    folder = result.export(tmp_path / "out")
    base = Path(result.manifest["model"]["location"])
    [again] = reloaded(base, shared_data / "rte" / "validation.jsonl", 128, folder)
    assert again == pytest.approx(result.best().quality, abs=1e-9)
