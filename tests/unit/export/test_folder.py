import ast
import json
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard
from safetensors.numpy import save_file

from autopeft.api.facts import without_folders
from autopeft.errors import StudyError
from autopeft.export.facts import ExportFacts, Writing
from autopeft.export.folder import export_trial
from autopeft.models.registry import ModelReference
from autopeft.tasks.task import TaskSpec
from autopeft.trials.trial import TrialResult, TrialStatus
from tests.records import record

FACTS = ExportFacts(
    reference=ModelReference(name="m", location="/somewhere/m", hub_id="org/m"),
    task="rte",
    about="Does a text entail a hypothesis?",
    metric="accuracy",
    labels=("yes", 'no "or" $never'),
    max_length=64,
    n_layers=2,
    n_texts=2,
    writing=None,
    origin="rte",
    fingerprint="0123456789abcdef",
    train_rows=10,
    eval_rows=5,
    command="autopeft search --task rte",
    versions={"torch": "2"},
    front="| a |",
    trials="1 complete",
)


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    config = {"peft_type": "LORA", "base_model_name_or_path": "/somewhere/m"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file({"weights": np.zeros(2)}, folder / "adapter_model.safetensors")
    return folder


def test_the_folder_is_complete(tmp_path: Path, adapter: Path) -> None:
    trial = record(3, [0.5, 0.61234], 100)
    to = export_trial(trial, adapter, FACTS, tmp_path / "deep" / "out")
    assert {p.name for p in to.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "configuration.yaml",
        "README.md",
        "predict.py",
    }
    # Other machines know the Hub's name, not this machine's folder.
    config = json.loads((to / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "org/m"
    configuration = yaml.safe_load((to / "configuration.yaml").read_text())
    assert configuration == trial.spec.configuration.to_dict()
    card = (to / "README.md").read_text()
    assert "0.6123" in card
    assert "autopeft search --task rte" in card
    assert [p.name for p in to.parent.iterdir()] == ["out"]


def test_the_script_holds_what_was_asked_and_is_valid(tmp_path: Path, adapter: Path) -> None:
    to = export_trial(record(0, [0.5, 0.6], 100), adapter, FACTS, tmp_path / "out")
    assert constants(to / "predict.py") == {
        "LABELS": list(FACTS.labels),
        "MAX_LENGTH": 64,
        "BASE": "org/m",
    }


def constants(script: Path) -> dict[str, object]:
    """Return what a script takes from the study, read without running it."""
    return {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(script.read_text()).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id in {"LABELS", "MAX_LENGTH", "BASE", "COLUMNS", "PROMPT"}
    }


WRITINGS = {
    "text-generation": Writing(
        output="next_tokens",
        text_columns=("question", "hint"),
        prompt='Q: {question}\n{{"{hint}": {{}}}} costs $prompt ```\n',
    ),
    "text2text-generation": Writing(output="target_tokens", text_columns=(), prompt=""),
}


@pytest.mark.parametrize("pipeline", WRITINGS)
def test_the_script_of_a_writer_makes_the_prompt_that_was_trained(
    pipeline: str, tmp_path: Path, adapter: Path
) -> None:
    writing = WRITINGS[pipeline]
    facts = replace(FACTS, writing=writing, n_texts=len(writing.text_columns), labels=())
    to = export_trial(record(0, [0.5, 0.6], 100), adapter, facts, tmp_path / "out")
    found = constants(to / "predict.py")
    assert found["COLUMNS"] == list(writing.text_columns)
    assert found["PROMPT"] == writing.prompt
    task = TaskSpec(
        schema_version=1,
        name="t",
        kind="language_modeling",
        text_columns=writing.text_columns,
        prompt=writing.prompt,
        metrics=("token_accuracy",),
    )
    script = runpy.run_path(str(to / "predict.py"))
    texts = ["{hint} \\1", "b"][: len(writing.text_columns)]
    row = dict(zip(writing.text_columns, texts, strict=True))
    assert script["prompt_of"](texts) == task.prompt_of(row)


def test_the_card_says_what_was_measured_and_what_it_stands_on(
    tmp_path: Path, adapter: Path
) -> None:
    picture = tmp_path / "pareto.png"
    picture.write_bytes(b"a picture")
    facts = replace(FACTS, license="mit", dataset="org/data", picture=picture)
    trial = record(0, [0.5, 0.6], 100)
    to = export_trial(trial, adapter, facts, tmp_path / "out")
    card = ModelCard.load(to / "README.md")
    assert (card.data.license, card.data.datasets, card.data.metrics) == (
        "mit",
        ["org/data"],
        ["accuracy"],
    )
    [result] = card.data.eval_results
    assert (result.metric_value, result.metric_type) == (trial.quality, "accuracy")
    assert (result.dataset_type, result.task_type) == ("org/data", "text-classification")
    assert card.data.tags == ["autopeft", "lora"]
    assert (to / "front.png").read_bytes() == b"a picture"
    for text in ("front.png", "license, mit,", "## Limitations", FACTS.command):
        assert text in card.text
    assert "found by a search" in card.text
    assert "1 epoch, seed" in card.text


def test_the_card_of_what_was_trained_as_given_speaks_of_no_search(
    tmp_path: Path, adapter: Path
) -> None:
    picture = tmp_path / "pareto.png"
    picture.write_bytes(b"a picture")
    given = replace(FACTS, searched=False, picture=picture, command="autopeft train")
    card = (
        export_trial(record(0, [0.5, 0.6], 100), adapter, given, tmp_path / "out")
    ) / "README.md"
    assert "trained as it was given" in card.read_text()
    assert "search" not in card.read_text()


def test_the_hub_is_told_no_folder_of_this_machine(tmp_path: Path, adapter: Path) -> None:
    reference = ModelReference(name="m", location="/somewhere/m", hub_id=None)
    facts = replace(FACTS, reference=reference)
    to = export_trial(record(0, [0.5, 0.6], 100), adapter, facts, tmp_path / "out")
    card = ModelCard.load(to / "README.md")
    assert card.data.base_model is None
    assert constants(to / "predict.py")["BASE"] is None
    assert json.loads((to / "adapter_config.json").read_text())["base_model_name_or_path"] is None
    with pytest.raises(SystemExit, match="folder of the base model m with --base-model: it has no"):
        runpy.run_path(str(to / "predict.py"))["load"]()
    assert card.data.license is None
    assert "its card was not at hand" in card.text
    assert not (to / "front.png").exists()


@pytest.mark.parametrize("hub_id", ["org/m", None])
def test_no_file_names_a_folder_of_this_machine(
    hub_id: str | None, tmp_path: Path, adapter: Path
) -> None:
    reference = ModelReference(name="/somewhere/m", location="/somewhere/m", hub_id=hub_id)
    command = (
        "autopeft search --model /somewhere/m --data='/somewhere/with spaces/rows.csv' "
        "--storage sqlite:////somewhere/study.db --config /somewhere/mine:17 --study ~/mine "
        "--mlflow-uri http://host/somewhere --space ../spaces/own.yaml"
    )
    asked = without_folders(command)
    assert asked == (
        "autopeft search --model m --data=rows.csv --storage sqlite:///study.db "
        "--config mine:17 --study mine --mlflow-uri http://host/somewhere --space own.yaml"
    )
    facts = replace(FACTS, reference=reference, command=asked.replace("http://host/somewhere", ""))
    to = export_trial(record(0, [0.5, 0.6], 100), adapter, facts, tmp_path / "out")
    texts = {path.name: path.read_text() for path in to.iterdir()}
    assert len(texts) == 5
    assert [name for name, text in texts.items() if "somewhere" in text] == []
    assert all((hub_id or "m") in texts[name] for name in ("README.md", "predict.py"))


def test_the_script_reads_a_gguf_file_as_transformers_does(tmp_path: Path, adapter: Path) -> None:
    reference = ModelReference(name="m.gguf", location="/somewhere/m.gguf", hub_id=None)
    facts = replace(FACTS, reference=reference, writing=WRITINGS["text-generation"])
    to = export_trial(record(0, [0.5, 0.6], 100), adapter, facts, tmp_path / "out")
    text = (to / "predict.py").read_text()
    ast.parse(text)
    assert text.count("from_pretrained(folder, gguf_file=file") == 2
    assert "from_pretrained(base" not in text


@pytest.mark.parametrize("pipeline", ["text-classification", *WRITINGS])
def test_the_hub_reads_the_card(pipeline: str, tmp_path: Path, adapter: Path) -> None:
    facts = replace(FACTS, writing=WRITINGS.get(pipeline))
    to = export_trial(record(0, [0.5, 0.6], 100), adapter, facts, tmp_path / "out")
    card = ModelCard.load(to / "README.md")
    assert card.data.pipeline_tag == pipeline
    assert (card.data.base_model, card.data.library_name) == ("org/m", "peft")
    assert ("token_accuracy" in card.text) is (facts.writing is not None)
    if facts.writing and facts.writing.prompt:
        assert repr(facts.writing.prompt) in card.text


FAILED = replace(record(1, [], 9), result=TrialResult(status=TrialStatus.NAN, reason="loss is nan"))


@pytest.mark.parametrize(
    ("trial", "message"),
    [
        (FAILED, "Trial 1 failed .nan.: loss is nan"),
        (record(2, [0.5], 9, TrialStatus.STOPPED), "Trial 2 is stopped at 33 % of a training"),
        (record(3, [0.5], 9, None), "Trial 3 is running"),
    ],
)
def test_only_complete_trials(tmp_path: Path, adapter: Path, trial: object, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        export_trial(trial, adapter, FACTS, tmp_path / "out")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(tmp_path: Path, adapter: Path) -> None:
    trial, to = record(0, [0.5, 0.6], 100), tmp_path / "out"
    to.mkdir()
    (to / "mine.txt").write_text("mine")
    with pytest.raises(StudyError, match="already exists and is not empty"):
        export_trial(trial, adapter, FACTS, to)
    assert [p.name for p in to.iterdir()] == ["mine.txt"]
    (to / "mine.txt").unlink()
    assert export_trial(trial, adapter, FACTS, to) == to  # an empty folder does


def test_missing_weights(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="weights of trial 0 are missing"):
        export_trial(record(0, [0.5, 0.6], 1), tmp_path / "gone", FACTS, tmp_path / "out")
