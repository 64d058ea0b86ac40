"""Models whose files are not whole, and data that do not go with them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from autopeft.api.data_notes import cut_notes
from autopeft.errors import ModelError
from autopeft.models.head import TaskHead
from autopeft.models.loading import load_model, load_tokenizer
from autopeft.models.registry import resolve_model
from autopeft.models.weights import check_weights, check_writing_head
from autopeft.tasks.data import load_data
from autopeft.tasks.task import find_task
from autopeft.trials.engine import Engine, Workload
from tests.command import as_options, run
from tests.tiny import save_tiny
from tests.unit.cli.test_bad_input import one_sentence
from tests.workload import WRITING

WEIGHTS = "model.safetensors"
Breaks = Callable[[Path], object]


def cut_in_half(folder: Path) -> None:
    file = folder / WEIGHTS
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def into_shards(folder: Path) -> None:
    AutoModelForSequenceClassification.from_pretrained(folder).save_pretrained(
        folder, max_shard_size="20KB"
    )
    (folder / WEIGHTS).unlink()
    assert (folder / f"{WEIGHTS}.index.json").is_file()


def lose_a_shard(folder: Path) -> None:
    into_shards(folder)
    sorted(folder.glob("model-*.safetensors"))[1].unlink()


def damage_the_index(folder: Path) -> None:
    into_shards(folder)
    (folder / f"{WEIGHTS}.index.json").write_text("[]")


def drop_tokens(folder: Path, *names: str) -> None:
    file = folder / "tokenizer_config.json"
    data = json.loads(file.read_text())
    data = {name: value for name, value in data.items() if name not in names}
    # Without the class, nothing adds the special tokens of BERT again.
    file.write_text(json.dumps({**data, "tokenizer_class": "PreTrainedTokenizerFast"}))


def only_config(folder: Path) -> None:
    for file in folder.iterdir():
        if file.name not in {"config.json", WEIGHTS}:
            file.unlink()


WITHOUT_WEIGHTS: dict[str, tuple[Breaks, str]] = {
    "none": (lambda f: (f / WEIGHTS).unlink(), "has no weights.*autopeft plan"),
    "half": (cut_in_half, r"damaged: model\.safetensors cannot be read.*copy it again"),
    "other bytes": (lambda f: (f / WEIGHTS).write_bytes(b"x" * 500), "damaged"),
    "empty": (lambda f: (f / WEIGHTS).write_bytes(b""), "damaged"),
    "a shard less": (lose_a_shard, r"not complete: model-00002-of-\d+\.safetensors is missing"),
    "damaged index": (damage_the_index, r"damaged: model\.safetensors\.index\.json"),
    "pickles": (lambda f: (f / WEIGHTS).rename(f / "pytorch_model.bin"), "pickles"),
}
WITHOUT_TOKENIZER: dict[str, tuple[Breaks, str]] = {
    "no tokenizer": (only_config, "has no tokenizer"),
    "damaged tokenizer": (
        lambda f: (f / "tokenizer.json").write_text("{"),
        "Cannot load the tokenizer of",
    ),
    "nothing to pad with": (
        lambda f: drop_tokens(f, "pad_token"),
        "neither a padding nor an end token: name one",
    ),
}
BROKEN = WITHOUT_WEIGHTS | WITHOUT_TOKENIZER


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_model, tmp_path / "model")


@pytest.fixture
def options(model: Path, tiny_settings: dict[str, Any]) -> list[object]:
    chosen = ("task", "data", "epochs")
    return as_options({name: tiny_settings[name] for name in chosen} | {"model": model})


@pytest.mark.parametrize("command", ["search", "train"])
@pytest.mark.parametrize("name", BROKEN)
def test_nothing_is_written_for_a_model_that_cannot_be_trained(
    command: str, name: str, model: Path, options: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    breaks, message = BROKEN[name]
    breaks(model)
    arguments = ["--config", "preset:mam"] if command == "train" else []
    outcome = run(capsys, command, *arguments, *options)
    assert outcome.code == 2, outcome
    one_sentence(outcome.err, message)
    assert outcome.out == ""
    assert [p.name for p in model.parent.iterdir()] == ["model"]


@pytest.mark.parametrize(
    "keep", [("config.json",), ("config.json", "tokenizer.json", "tokenizer_config.json")]
)
def test_plan_and_estimate_need_a_config_alone(
    keep: tuple[str, ...], model: Path, options: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    for file in model.iterdir():
        if file.name not in keep:
            file.unlink()
    plan = run(capsys, "plan", *options)
    assert plan.code == 0
    assert ("is not known" in plan.err) is (len(keep) == 1)
    assert run(capsys, "estimate", "--model", model, "--config", "preset:mam").code == 0


def test_whole_weights_pass(model: Path) -> None:
    check_weights(resolve_model(str(model)))
    into_shards(model)
    check_weights(resolve_model(str(model)))
    check_weights(resolve_model(str(model / "config.json")))


def test_a_decoder_without_padding_pads_with_its_end(tmp_path: Path, tiny_data: Path) -> None:
    """Rows together have the logits of each row alone."""
    folder = save_tiny("llama", tmp_path / "llama")
    file = folder / "tokenizer_config.json"
    drop_tokens(folder, "pad_token")
    file.write_text(json.dumps({**json.loads(file.read_text()), "eos_token": "[SEP]"}))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "pad_token_id": None}))
    reference = resolve_model(str(folder))
    tokenizer = load_tokenizer(reference)
    assert tokenizer.pad_token == tokenizer.eos_token == "[SEP]"
    data = load_data(find_task("sst2"), tiny_data, train_rows=8, eval_rows=8)
    workload = Workload.prepare(reference, data, 16)
    base = Engine(workload, torch.device("cpu")).base.eval()

    def logits(rows: list[int]) -> torch.Tensor:
        batch = workload.train.batch(rows, torch.device("cpu"))
        with torch.no_grad():
            found: torch.Tensor = base(**batch).logits
        return found

    rows = list(range(8))
    assert len(set(workload.train.lengths.tolist())) > 1
    alone = torch.cat([logits([row]) for row in rows])
    torch.testing.assert_close(logits(rows), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("max_length", [4, 6, 8, 64])
def test_how_many_rows_are_cut(max_length: int, tiny_model: Path, tiny_data: Path) -> None:
    reference = resolve_model(str(tiny_model))
    data = load_data(find_task("sst2"), tiny_data)
    notes = cut_notes(reference, data, max_length)
    workload = Workload.prepare(reference, data, max_length)
    assert cut_notes(reference, data, max_length, workload) == notes
    longer = [
        sum(len(text.split()) + 2 > max_length for [text] in split.texts)  # [CLS] and [SEP]
        for split in (data.train, data.validation)
    ]
    if longer == [0, 0]:
        assert notes == []
    else:
        [note] = notes
        assert note.startswith(f"{longer[0]} of 96 training rows and {longer[1]} of 48 validation")


@pytest.mark.parametrize("max_length", [4, 6, 11, 64])
@pytest.mark.parametrize("family", ["llama", "t5"])
def test_how_many_rows_of_text_to_write_are_cut(
    family: str, max_length: int, tmp_path: Path, tiny_data: Path
) -> None:
    """A decoder has prompt and text in one row, an encoder's decoder has a row of its own."""
    reference = resolve_model(str(save_tiny(family, tmp_path, "language_modeling")))
    data = load_data(WRITING, tiny_data)
    notes = cut_notes(reference, data, max_length)
    workload = Workload.prepare(reference, data, max_length)
    assert cut_notes(reference, data, max_length, workload) == notes
    words = 1 if family == "llama" else 0  # the label
    longer = [
        sum(words + len(text.split()) + 2 > max_length for text in split.completions)
        for split in (data.train, data.validation)
    ]
    start = f"{longer[0]} of 96 training rows and {longer[1]} of 48 validation"
    assert [note[: len(start)] for note in notes] == ([start] if any(longer) else [])


def test_a_plan_says_what_becomes_of_length_and_batch(
    options: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    plan = run(capsys, "plan", *options, "--max-length", 100)
    assert "takes 64 tokens and not the 100" in plan.err
    assert "rows are longer" not in plan.err
    assert run(capsys, "plan", *options).err == ""
    plan = run(capsys, "plan", *options, "--max-length", 6, "--batch-size", 500)
    assert "A batch of 500 is more than the 96 training rows" in plan.err
    assert "validation rows are longer than 6 tokens and are cut" in plan.err


def test_weights_that_break_later_are_an_error_of_the_model(model: Path) -> None:
    cut_in_half(model)
    with pytest.raises(ModelError, match="Cannot load the model"):
        load_model(resolve_model(str(model)), TaskHead(), torch.device("cpu"), pad_token_id=0)


def test_nothing_is_written_for_a_decoder_without_the_head_that_writes(
    tmp_path: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = save_tiny("llama", tmp_path / "whole", "language_modeling")
    check_writing_head(resolve_model(str(whole)))
    model = shutil.copytree(whole, tmp_path / "model")
    AutoModelForCausalLM.from_pretrained(whole).base_model.save_pretrained(model)
    columns = ["--text-column", "label", "--completion-column", "sentence"]
    outcome = run(capsys, "search", "--model", model, "--data", tiny_data, *columns)
    assert outcome.code == 2
    one_sentence(outcome.err, "cannot write text: lm_head would be random")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "whole"]


@pytest.mark.parametrize("family", ["gpt2", "t5", "bart", "gpt_neox", "opt"])
def test_heads_that_write_are_found(family: str, tmp_path: Path) -> None:
    check_writing_head(resolve_model(str(save_tiny(family, tmp_path, "language_modeling"))))


def test_a_hub_models_weights_are_not_looked_for() -> None:
    check_weights(resolve_model("owner/name"))


def test_an_unread_tokenizer_is_an_error_of_the_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ModelError, match="tokenizer"):
        load_tokenizer(resolve_model(str(tmp_path)))
