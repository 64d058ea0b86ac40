"""`recommend`: a configuration with its costs and reasons, from the model's config alone."""

from importlib.resources import files
from pathlib import Path

import pytest
import yaml

import autopeft
from autopeft.api.estimate import estimate
from autopeft.api.recommendation import Recommendation
from autopeft.errors import BudgetError, RequestError
from tests.command import run
from tests.families import CONFIGS

COUNTED = ("adapter_params", "adapter_bytes", "flops_per_step", "peak_memory_bytes", "memory_parts")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Configs of models, without weights or tokenizers."""
    folder = tmp_path_factory.mktemp("configs")
    for family in ("bert", "llama", "t5"):
        (folder / family).mkdir()
        (folder / family / "config.json").write_text(CONFIGS[family]().to_json_string())
    return folder


def asked(models: Path, family: str = "bert", **settings: object) -> Recommendation:
    task = "sst2" if family == "bert" else "gsm8k"
    shape = {"task": task, "model": str(models / family), "max_length": 16, "batch_size": 4}
    return autopeft.recommend(**{**shape, **settings})


@pytest.fixture(scope="module")
def of_bert(models: Path) -> Recommendation:
    """What is said of an encoder."""
    return asked(models, budget="8%")


@pytest.mark.parametrize("family", [pytest.param("llama", marks=pytest.mark.slow), "t5"])
def test_costs_are_those_of_the_file_that_is_written(
    family: str, models: Path, tmp_path: Path
) -> None:
    found = asked(models, family, budget="8%")
    file = found.write(tmp_path / "pick.yaml")
    counted = estimate(str(models / family), file, seq_length=16, language_modeling=True)
    assert {n: counted[n] for n in COUNTED} == {n: found.pick.costs[n] for n in COUNTED}
    assert yaml.safe_load(file.read_text()) == found.pick.configuration.to_dict()


@pytest.mark.parametrize("limit", [150, pytest.param(1_000, marks=pytest.mark.slow)])
def test_all_that_is_named_keeps_the_budget(models: Path, limit: int) -> None:
    found = asked(models, budget=str(limit))
    assert found.alternatives
    advised = (found.pick, *found.alternatives)
    assert all(advice.costs["adapter_params"] <= limit for advice in advised)
    digests = [advice.configuration.digest for advice in advised]
    assert len(set(digests)) == len(digests)
    halves = [a for a in found.alternatives if "half of the budget" in a.what]
    assert all(a.costs["adapter_params"] <= limit // 2 for a in halves)


def test_alternatives_are_what_they_say(of_bert: Recommendation) -> None:
    found = of_bert
    by_wish = {wish: a for a in found.alternatives for wish in a.what.split(", ")}
    peak = found.pick.costs["peak_memory_bytes"]
    assert by_wish["less memory"].costs["peak_memory_bytes"] <= 0.75 * peak
    assert by_wish["another method"].configuration.method != found.pick.configuration.method
    half = found.facts["budget"]["limit"] // 2
    assert by_wish["half of the budget"].costs["adapter_params"] <= half


@pytest.mark.slow
def test_memory_is_kept_by_smaller_parts_of_a_batch(models: Path) -> None:
    free = asked(models, budget="8%").pick
    limit = int(0.9 * free.costs["peak_memory_bytes"])
    kept = asked(models, budget="8%", max_memory=str(limit))
    assert kept.pick.costs["peak_memory_bytes"] <= limit
    assert any("is within --max-memory" in reason for reason in kept.pick.reasons)


def test_a_short_training_gets_a_higher_learning_rate(models: Path) -> None:
    short = asked(models, budget="200", train_rows=64)
    assert short.pick.configuration.training.learning_rate == pytest.approx(3e-3)
    assert short.facts["steps"] == 16 * 3
    assert "48 steps is short" in " ".join(short.pick.reasons)


def test_what_cannot_be_asked(models: Path, of_bert: Recommendation, tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match=r"fits 3 parameters \(3\): the smallest has \d+"):
        asked(models, budget="3")
    with pytest.raises(RequestError, match="has no classes"):
        asked(models, "llama", n_labels=3)
    for wrong in (0, 1, "3", True):
        with pytest.raises(RequestError, match=f"n_labels is {wrong!r}: it takes a whole number"):
            asked(models, n_labels=wrong)
    with pytest.raises(RequestError, match="does not take space and trials: it takes n_labels, "):
        asked(models, trials=3, space="lora")
    with pytest.raises(RequestError, match=r"name a \.yaml file"):
        of_bert.write(tmp_path / "pick.json")
    with pytest.raises(RequestError, match="no such folder"):
        of_bert.write(tmp_path / "none" / "pick.yaml")
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(RequestError, match="Is a directory"):
        of_bert.write(tmp_path / "folder.yaml")


def test_classes_that_nobody_names_are_said(models: Path, of_bert: Recommendation) -> None:
    assert of_bert.notes == ()  # sst2 names its classes
    assert asked(models, task="pydoc").facts["head_params"] == 10 * (32 + 1)
    task = models / "topics.yaml"
    named = yaml.safe_load(files("autopeft").joinpath("tasks/specs/pydoc.yaml").read_text())
    task.write_text(yaml.safe_dump({k: v for k, v in named.items() if k != "labels"}))
    assert "does not name its classes" in asked(models, task=str(task)).notes[-1]


def test_the_command(capsys: pytest.CaptureFixture[str], models: Path, tmp_path: Path) -> None:
    call = ["recommend", "--task", "sst2", "--model", models / "bert", "--budget", "8%"]
    file = tmp_path / "pick.yaml"
    table = run(capsys, *call, "--to", file)
    assert table.code == 0
    assert yaml.safe_load(file.read_text())["components"][0]["method"] == "lora"
    for text in ("Pick    lora-linear", "arXiv 2305.14314", "Pick and alternatives", str(file)):
        assert text in table.out
    training = f"train --config {file} --task sst2 --model {models / 'bert'}"
    assert training in " ".join(table.out.split())
    assert "learning rate 0.001 is the default; a training of a few hundred steps" in table.out
    assert run(capsys, *call, "--to", tmp_path / "pick.txt").code == 2
