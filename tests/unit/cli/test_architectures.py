"""What the command line says of models that it has to guess, or that read images."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import AutoModelForSequenceClassification, ErnieConfig

from tests.command import as_options, run
from tests.families import CONFIGS, bert_config
from tests.tiny import SPECIAL, VOCABULARY

REMARK = "The architecture 'ernie' is not one that autopeft was tested on."
TAKEN = "attn.q: attention.self.query; attn.k: attention.self.key;"


@pytest.fixture(scope="module")
def stranger(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of a family that autopeft does not know by name."""
    folder = tmp_path_factory.mktemp("models") / "tiny-ernie"
    shutil.copytree(tiny_model, folder)
    known = {
        key: value
        for key, value in bert_config(n_labels=2).to_dict().items()
        if key in {"hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"}
    }
    config = ErnieConfig(**known, vocab_size=len(SPECIAL) + len(VOCABULARY))
    AutoModelForSequenceClassification.from_config(config).base_model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny-vit"
    CONFIGS["vit"]().save_pretrained(folder)
    return folder


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump({"method": "lora", "rank": 4, "layers": "mask:01"}))
    return file


@pytest.mark.parametrize("command", ["methods", "estimate", "plan", "search"])
def test_an_unknown_architecture_says_what_was_taken_for_what(
    command: str,
    capsys: pytest.CaptureFixture[str],
    stranger: Path,
    configuration: Path,
    tiny_settings: dict[str, Any],
) -> None:
    searched = as_options({**tiny_settings, "model": stranger, "trials": 1})
    arguments: dict[str, list[object]] = {
        "methods": ["--model", stranger, "--format", "json"],
        "estimate": ["--model", stranger, "--config", configuration, "--format", "json"],
        "plan": [*searched, "--format", "json"],
        "search": searched,
    }
    outcome = run(capsys, command, *arguments[command])
    assert outcome.code == 0
    said = " ".join(outcome.err.split())
    assert said.count(REMARK) == 1
    assert TAKEN in said
    if command != "search":
        json.loads(outcome.out)  # the remark stays out of what a machine reads


def test_a_known_architecture_needs_no_remark(
    capsys: pytest.CaptureFixture[str], tiny_model: Path
) -> None:
    assert run(capsys, "methods", "--model", tiny_model).err == ""


def test_a_model_of_images_can_be_estimated_but_not_searched(
    capsys: pytest.CaptureFixture[str],
    vit: Path,
    configuration: Path,
    tiny_settings: dict[str, Any],
) -> None:
    arguments = ["estimate", "--model", vit, "--config", configuration, "--format", "json"]
    found = json.loads(run(capsys, *arguments).out)
    assert found["adapter_params"] == 4 * 2 * (32 + 32)  # rank 4, query and value of one layer
    assert found["peak_memory_bytes"] > 4 * found["base_params"]
    assert found["seq_length"] is None
    outcome = run(capsys, *arguments, "--seq-len", 300)
    assert outcome.err == ""
    longer = json.loads(outcome.out)
    assert longer["peak_memory_bytes"] == found["peak_memory_bytes"]

    options = as_options({**tiny_settings, "model": vit})
    outcome = run(capsys, "search", *options)
    assert outcome.code == 2
    assert "reads images, and tasks are of texts" in outcome.err
    assert not Path("studies").exists()
