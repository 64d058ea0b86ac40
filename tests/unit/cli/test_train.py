"""`autopeft train`: one configuration, trained as a trial of a search is."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

import autopeft
from autopeft.api.result import SearchResult
from autopeft.methods.compose import read_configuration
from autopeft.methods.presets import preset
from autopeft.models.spec import inspect_model
from autopeft.trials.trial import TrialStatus
from tests.command import as_options, run

#: Of a search, and not of one configuration.
ABOUT_MANY = {"budget", "trials", "repeats"}


@pytest.fixture
def options(tiny_settings: dict[str, Any]) -> list[object]:
    return as_options({k: v for k, v in tiny_settings.items() if k not in ABOUT_MANY})


def test_it_gives_the_quality_that_the_search_measured(
    capsys: pytest.CaptureFixture[str],
    options: list[object],
    tiny_study: SearchResult,
    tmp_path: Path,
) -> None:
    best = tiny_study.best()
    file = tmp_path / "best.yaml"
    file.write_text(yaml.safe_dump(best.spec.configuration.to_dict()))
    outcome = run(capsys, "train", "--config", file, "--study", "again", *options)
    assert outcome.code == 0, outcome.err
    assert "\n1 trial (1 complete), hypervolume" in outcome.out
    [trained] = autopeft.open_study("again").trials
    assert trained.status is TrialStatus.COMPLETE
    assert trained.spec.configuration == best.spec.configuration
    assert trained.quality == best.quality
    assert trained.cost == best.cost


def test_a_trial_is_trained_again_with_several_seeds(
    capsys: pytest.CaptureFixture[str], options: list[object], tiny_study: SearchResult
) -> None:
    """An interrupted training goes on as a search does."""
    smallest = tiny_study.pick("smallest")
    config = f"{tiny_study.folder.path}:smallest"
    arguments = ["--config", config, "--seeds", 3, "--study", "again", *options]
    outcome = run(capsys, "train", *arguments)
    assert outcome.code == 0, outcome.err
    again = autopeft.open_study("again")
    assert [t.spec.seed for t in again.trials] == [3, 4, 5]
    assert {t.spec.configuration for t in again.trials} == {smallest.spec.configuration}
    assert again.trials[0].quality == smallest.quality
    estimate = again.estimate(again.trials[0])
    assert estimate is not None
    qualities = [t.quality for t in again.trials]
    assert estimate.measured.mean == pytest.approx(sum(qualities) / 3)
    assert run(capsys, "search", "--resume", "--study", "again", "--repeats", 4).code == 0
    assert len(autopeft.open_study("again").trials) == 4


def test_a_trial_that_is_not_there(
    capsys: pytest.CaptureFixture[str], options: list[object], tiny_study: SearchResult
) -> None:
    study = tiny_study.folder.path
    for asked, message in {
        f"{study}:99": "There is no trial 99: the study has",
        f"{study}:latest": "Unknown pick 'latest'",
        f"{study}": f"is a study: name one of its trials, such as {study}:best",
    }.items():
        # It is told before the data are looked at.
        outcome = run(capsys, "train", *options, "--config", asked, "--data", "nowhere")
        assert outcome.code == 2
        assert message in outcome.err


def test_a_preset_is_trained_and_taken_home(
    capsys: pytest.CaptureFixture[str],
    options: list[object],
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    to = tmp_path / "home"
    arguments = ["--config", "preset:mam", "--study", "mam", "--to", to]
    outcome = run(capsys, "train", *arguments, *options)
    assert outcome.code == 0, outcome.err
    assert str(to) in outcome.out
    assert "\n1 trial (1 complete), hypervolume" in outcome.out
    assert "trained as it was given" in (to / "README.md").read_text()
    [trained] = autopeft.open_study("mam").trials
    base = AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=2)
    spec = inspect_model(base)
    expected = read_configuration(preset("mam", spec), spec)
    assert trained.spec.configuration.components == expected.components
    before = {name: p.clone() for name, p in base.named_parameters()}
    loaded = dict(autopeft.load_adapter(base, to).named_parameters())
    assert len(loaded) > len(before)
    assert any(not loaded[name].equal(p) for name, p in before.items() if "classifier" in name)


def test_peft_reads_what_was_trained_of_one_component(
    capsys: pytest.CaptureFixture[str], options: list[object], tiny_model: Path, tmp_path: Path
) -> None:
    arguments = ["--config", "preset:lora-qv", "--to", tmp_path / "home"]
    assert run(capsys, "train", *arguments, *options).code == 0
    base = AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=2)
    loaded = PeftModel.from_pretrained(base, tmp_path / "home")
    assert loaded.peft_config["default"].peft_type == "LORA"


def test_the_head_alone(
    capsys: pytest.CaptureFixture[str], options: list[object], tmp_path: Path
) -> None:
    assert run(capsys, "train", "--config", "preset:head", "--study", "head", *options).code == 0
    [trained] = autopeft.open_study("head").trials
    assert trained.spec.configuration.components == ()
    assert trained.cost.adapter_params == 0
    assert trained.quality is not None
    assert (tmp_path / "head" / "report" / "pareto.html").is_file()  # though log(0) is nowhere


WRONG: dict[str, tuple[list[object], str]] = {
    "a preset that is none": (["--config", "preset:man"], "did you mean mam"),
    "a file that is none": (["--config", "no.yaml"], "no configuration file 'no.yaml'"),
    "a configuration before the data": (
        ["--config", "no.yaml", "--data", "nowhere"],
        "no configuration file 'no.yaml'",
    ),
    "a preset before the data": (["--config", "preset:x", "--data", "nowhere"], "Unknown preset"),
    "a place below a file": (["--config", "preset:mam", "--to", "taken/mine.txt/x"], "is a file"),
    "the place of the study": (
        ["--config", "preset:mam", "--to", "new", "--study", "new/s"],
        "'new' is to hold the study itself",
    ),
    "a place that is taken": (["--config", "preset:mam", "--to", "taken"], "not empty"),
    "more devices than there are": (
        ["--config", "preset:mam", "--devices", 4096],
        "--devices 4096 are too many: this machine has",
    ),
    "no device": (["--config", "preset:mam", "--devices", 0], "--devices"),
    "an option of searches": (["--config", "preset:mam", "--trials", 3], "No such option"),
}


@pytest.mark.parametrize("name", WRONG)
def test_mistakes(
    name: str, capsys: pytest.CaptureFixture[str], options: list[object], tmp_path: Path
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    arguments, message = WRONG[name]
    outcome = run(capsys, "train", *arguments, *options)
    assert outcome.code == 2
    assert message in " ".join(outcome.err.split())
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]
