"""A compressed adapter has the quality that was measured, whichever of its files is loaded."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from peft import PeftModel
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import autopeft
from autopeft.api.result import SearchResult
from autopeft.errors import RequestError
from autopeft.export.compress import check_compressible
from tests.command import run
from tests.records import record


@pytest.fixture
def study(tiny_study: SearchResult, tmp_path: Path) -> SearchResult:
    """A copy of a study, which is written to."""
    return SearchResult.open(shutil.copytree(tiny_study.folder.path, tmp_path / "study"))


def number_of(study: SearchResult, *methods: str) -> str:
    """Return the best trial of some methods."""
    found = [
        trial
        for trial in study.trials
        if trial.status.value == "complete" and trial.spec.configuration.method in methods
    ]
    return str(max(found, key=lambda trial: trial.quality or 0.0).number)


def logits_and_quality(model: nn.Module, base: Path, data: Path) -> tuple[torch.Tensor, float]:
    lines = (data / "validation.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    tokenizer = AutoTokenizer.from_pretrained(base)
    inputs = tokenizer([row["sentence"] for row in rows], padding=True, return_tensors="pt")
    with torch.inference_mode():
        logits = model.eval()(**inputs).logits
    right = logits.argmax(-1) == torch.tensor([row["label"] for row in rows])
    return logits, float(right.double().mean())


@pytest.mark.parametrize(("compression", "keep"), [("int8", 0.1), ("ternary", 0.3)])
def test_the_quality_is_that_of_both_files(
    compression: str,
    keep: float,
    study: SearchResult,
    tiny_data: Path,
    tmp_path: Path,
) -> None:
    pick = number_of(study, "lora", "ia3")
    trial = study.pick(pick)
    found = study.compress(pick, compression, keep)  # type: ignore[arg-type]  # one of the two
    point = found.point
    assert point.quality_before == pytest.approx(trial.quality, abs=1e-9)
    if compression == "ternary":
        assert point.adapter_params <= round(keep * trial.cost.adapter_params) + 1
    [line] = (study.folder.path / "derived.jsonl").read_text().splitlines()
    assert json.loads(line) == point.to_dict()

    assert study.summary.derived == SearchResult.open(study.folder.path).summary.derived == (point,)
    assert point.how in (study.folder.report / "report.html").read_text()
    assert point.how in (study.folder.report / "pareto.html").read_text()

    folder = study.export(tmp_path / "out", pick, derived=found)
    model = Path(study.manifest["model"]["location"])
    results = []
    for place, load in (
        (folder, PeftModel.from_pretrained),
        (folder / "compressed", autopeft.load_adapter),
    ):
        base = AutoModelForSequenceClassification.from_pretrained(model, num_labels=2)
        results.append(logits_and_quality(load(base, str(place)), model, tiny_data))
    assert torch.equal(results[0][0], results[1][0])
    assert results[0][1] == pytest.approx(point.quality, abs=1e-9)
    card = ModelCard.load(folder / "README.md")
    assert card.data.eval_results[0].metric_value == pytest.approx(point.quality, abs=1e-6)
    assert point.sentence() in card.text
    small = folder / "compressed" / "compressed_adapter.safetensors"
    assert small.stat().st_size == point.bytes


def test_the_command_says_what_was_measured(
    study: SearchResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, pick = study.folder.path, number_of(study, "lora")
    arguments = ("export", folder, "--pick", pick, "--to", "out", "--compress", "int8")
    outcome = run(capsys, *arguments)
    assert outcome.code == 0
    assert "Compressed (8-bit integers) its accuracy is 0." in outcome.out
    shown = run(capsys, "pareto", folder)
    assert shown.out.count("8-bit integers") == 1
    assert "not on the front" in shown.out
    data = json.loads(run(capsys, "pareto", folder, "--format", "json").out)
    assert [point["way"] for point in data["derived"]] == ["int8"]
    again = run(capsys, *arguments)
    assert (again.code, "already exists" in again.err) == (2, True)
    assert len((folder / "derived.jsonl").read_text().splitlines()) == 1  # nothing was done twice
    both = run(capsys, *arguments[:4], "--to", "two", *arguments[6:], "--merge")
    assert (both.code, "leave --compress out" in both.err) == (2, True)


def test_what_cannot_be_compressed_is_said(study: SearchResult, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    bottleneck = record(3, [0.5, 0.6], 1, method="parallel_adapter")
    with pytest.raises(RequestError, match="not in peft's files"):
        check_compressible(bottleneck, tmp_path / "own", "int8")
    shira = record(3, [0.5, 0.6], 1, method="shira")
    with pytest.raises(RequestError, match="for lora and ia3, and trial 3 is shira"):
        check_compressible(shira, tmp_path, "ternary")
    check_compressible(shira, tmp_path, "int8")
    with pytest.raises(RequestError, match="--keep is a share"):
        study.compress(number_of(study, "lora"), keep=0.0)
    assert not (study.folder.path / "derived.jsonl").exists()
