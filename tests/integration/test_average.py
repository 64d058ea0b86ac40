"""A training with checkpoints, and the export of their mean, as the command line does it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from autopeft.api.result import SearchResult
from autopeft.export.average import metric_weights, weighted_mean
from autopeft.trials.kept_checkpoints import kept_at
from tests.command import as_options, run
from tests.integration.test_compress import logits_and_quality

WEIGHTS = "adapter_model.safetensors"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_mean_is_exported_as_it_was_measured(
    tiny_model: Path,
    tiny_data: Path,
    tiny_settings: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "c.yaml").write_text("{method: lora, rank: 4, training: {learning_rate: 0.02}}")
    options = {k: v for k, v in tiny_settings.items() if k not in {"budget", "trials", "repeats"}}
    trained = run(
        capsys, "train", "--config", "c.yaml", "--study", "s", "--checkpoints", 4,
        *as_options(options),
    )  # fmt: skip
    assert trained.code == 0, trained.err
    study = SearchResult.open("s")
    [trial] = study.trials
    assert [report.fidelity for report in trial.reports] == pytest.approx(
        [0.5, 2 / 3, 5 / 6, 1.0], abs=0.03
    )
    both = run(capsys, "export", "s", "--to", "x", "--average", "mwa", "--compress", "int8")
    assert (both.code, "leave one of them out" in both.err) == (2, True)
    wrong = run(capsys, "export", "s", "--to", "x", "--average", "mwa", "--penalty", -1)
    assert (wrong.code, "--penalty is a number from 0 on" in wrong.err) == (2, True)
    assert not Path("x").exists()

    outcome = run(capsys, "export", "s", "--to", "mine", "--average", "mwa", "--penalty", 2)
    assert outcome.code == 0, outcome.err
    [point] = SearchResult.open("s").summary.derived
    assert (point.way, dict(point.settings)) == ("mwa", {"penalty": 2.0, "checkpoints": 4})
    assert point.quality_before == pytest.approx(trial.quality, abs=1e-9)
    assert point.sentence() in " ".join(outcome.out.split())
    worse = point.quality < point.quality_before
    assert ("leave --average out" in " ".join(outcome.out.split())) == worse
    card = ModelCard.load("mine/README.md")
    assert card.data.eval_results[0].metric_value == pytest.approx(point.quality, abs=1e-6)

    folder = study.folder.trial(0)
    places = [kept_at(folder, report.step) for report in trial.reports[:-1]] + [folder / "adapter"]
    weights = metric_weights([report.eval_loss for report in trial.reports], 2.0)
    expected = weighted_mean([load_file(place / WEIGHTS) for place in places], weights)
    found = load_file(f"mine/{WEIGHTS}")
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert any("classifier" in name for name in found)
    base = AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=2)
    _, quality = logits_and_quality(PeftModel.from_pretrained(base, "mine"), tiny_model, tiny_data)
    assert quality == pytest.approx(point.quality, abs=1e-9)
    shown = json.loads(run(capsys, "pareto", "s", "--format", "json").out)
    assert [entry["way"] for entry in shown["derived"]] == ["mwa"]

    plain = run(capsys, "train", "--config", "c.yaml", "--study", "t", *as_options(options))
    assert plain.code == 0, plain.err
    assert SearchResult.open("t").trials[0].quality == trial.quality
    none = run(capsys, "export", "t", "--to", "x", "--average", "mwa")
    assert (none.code, "Trial 0 kept no checkpoints" in none.err) == (2, True)
