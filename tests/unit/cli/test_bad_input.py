"""Bad input: one sentence, exit code 2, nothing written."""

import json
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from transformers import T5Config

from autopeft.api.result import SearchResult
from autopeft.trials.folder import StudyFolder
from tests.command import run
from tests.families import T5

Arrange = Callable[[Path], list[object]]


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def space(text: str) -> Arrange:
    return lambda folder: ["--space", write(folder / "my.yaml", text)]


def own(text: str, name: str = "own.csv") -> Arrange:
    columns = ["--text-column", "text", "--label-column", "label"]
    return lambda folder: ["--data", write(folder / name, text), *columns]


def written(text: str) -> Arrange:
    columns = ["--text-column", "question", "--completion-column", "answer"]
    return lambda folder: ["--data", write(folder / "own.csv", text), *columns]


def task(text: str) -> Arrange:
    return lambda folder: ["--task", write(folder / "my.yaml", text)]


def binary(option: str) -> Arrange:
    def arrange(folder: Path) -> list[Any]:
        (folder / "my.yaml").write_bytes(b"\xff\xfe")
        return [option, folder / "my.yaml"]

    return arrange


def given(*arguments: object) -> Arrange:
    return lambda _: list(arguments)


SEARCH: dict[str, tuple[Arrange, str]] = {
    "unknown task": (given("--task", "rtee"), r"Unknown task 'rtee': did you mean rte"),
    "unknown model": (given("--model", "minillm"), r"Unknown model 'minillm': did you mean minilm"),
    "unknown method": (given("--methods", "lroa"), r"Unknown method .lroa.: did you mean .*lora"),
    "unknown objective": (
        given("--objectives", "quality,parms"),
        r"Unknown objective 'parms': did you mean params",
    ),
    "one objective": (given("--objectives", "quality"), "at least one of 'params' and 'memory'"),
    "unknown space": (given("--space", "defualt"), r"'defualt': did you mean default"),
    "unknown strategy": (given("--strategy", "grid"), "--strategy"),
    "budget of nothing": (given("--budget", "0"), "budget"),
    "budget of zero percent": (given("--budget", "0%"), "budget"),
    "budget over all": (given("--budget", "101%"), "budget"),
    "budget in words": (given("--budget", "small"), "budget"),
    "budget that nothing fits": (given("--budget", "3"), r"smallest configuration.*\d"),
    "budget in words, before the data are looked at": (
        given("--budget", "small", "--data", "nowhere"),
        "Cannot read the budget 'small'",
    ),
    "cache in words, before the data are looked at": (
        given("--cache", "small", "--data", "nowhere"),
        "Cannot read the memory 'small'",
    ),
    "trials": (given("--trials", "0"), "--trials"),
    "time": (given("--time", "soon"), "[Cc]annot read the time 'soon'"),
    "endless epochs": (given("--epochs", "inf"), "--epochs: input should be a finite number"),
    "no method": (given("--methods", ""), "--methods: name at least one method"),
    "a method that the space lacks": (
        given("--space", "lora", "--methods", "lora,prefix"),
        "The space 'lora' does not hold prefix, but lora: choose among these",
    ),
    "a model that the strategy lacks": (
        given("--strategy", "random", "--surrogate", "saas"),
        "--surrogate is the model of a Bayesian search: leave it or --strategy out",
    ),
    "model without a name": (given("--model", ""), "--model: "),
    "no data": (given("--data", "nowhere"), "There is no file or folder 'nowhere'"),
    "no network": (given("--task", "rte", "--model", "minilm"), r"network.*--data"),
    "foreign model folder": (
        lambda folder: ["--model", write(folder / "x.txt", "").parent],
        r"config\.json",
    ),
    "space with a key twice": (
        space("schema_version: 1\nname: x\nname: y\n"),
        r"my\.yaml, line 3: not valid YAML: the key 'name' is there twice",
    ),
    "task with a key twice": (
        task("schema_version: 1\nname: x\nname: y\n"),
        r"my\.yaml, line 3: not valid YAML: the key 'name' is there twice",
    ),
    "malformed space": (space("a: [1,\n b: 2"), r"my\.yaml, line 2"),
    "space with a wrong key": (space("schema_version: 1\nname: x\ncolour: red\n"), r"my\.yaml"),
    "space that is a list": (space("- 1\n"), r"my\.yaml, line 1: these are no keys with values"),
    "task that is a list": (task("- 1\n"), r"my\.yaml holds no keys with values"),
    "space that is no text": (binary("--space"), r"my\.yaml': it is no text in UTF-8"),
    "task that is no text": (binary("--task"), r"my\.yaml': it is no text in UTF-8"),
    "malformed task": (task("a: [1,\n b: 2"), r"my\.yaml, line 2"),
    "task with a wrong key": (task("schema_version: 1\nname: x\n"), r"my\.yaml, key"),
    "malformed lines": (
        own('{"text": "a", "label": 0}\n{"text": ', "o.jsonl"),
        r"o\.jsonl, line 2",
    ),
    "line that is no object": (own('{"text": "a", "label": 0}\n3', "o.jsonl"), r"o\.jsonl, line 2"),
    "missing column": (
        own("body,label\na,0\nb,1\n"),
        r"column 'text' is missing.*'body', 'label': name yours with --text-column",
    ),
    "missing value": (own("text,label\na,0\nb, \nc,1\n"), r"'label' has no value in row 2"),
    "no rows": (own("text,label\n"), "no rows"),
    "empty file": (own(""), r"own\.csv"),
    "one class": (own("text,label\n" + "a,0\n" * 9), "same label"),
    "unread format": (own("x", "own.xlsx"), "xlsx"),
    "half of the columns": (given("--data", "x", "--text-column", "a"), "goes with --label-column"),
    "label and completion": (
        given("--data", "x", "--label-column", "a", "--completion-column", "b"),
        "--label-column is for a class and --completion-column for a text.*give one of them",
    ),
    "columns named twice": (
        own("text,label,text\na,0,b\nb,1,c\n"),
        r"own\.csv: two columns are named 'text': rename one",
    ),
    "one text twice": (
        given("--data", "x", "--text-column", "a", "--text-column", "a", "--label-column", "b"),
        "A --text-column is named twice",
    ),
    "the label as text": (
        given("--data", "x", "--text-column", "a", "--label-column", "a"),
        "The column 'a' is what a model is to tell: leave it out of --text-column",
    ),
    "columns and the built-in task": (
        given("--data", "x", "--text-column", "a", "--label-column", "b", "--task", "pydoc"),
        "are a task of their own: leave --task or the columns out",
    ),
    "columns of another task": (
        given("--data", "x", "--text-column", "a", "--label-column", "b", "--task", "rte"),
        "are a task of their own: leave --task or the columns out",
    ),
    "a label for each row": (
        own("text,label\n" + "".join(f"a,{i / 7}\n" for i in range(20))),
        "no two rows have the same label: name the column of a class",
    ),
    "no column to write": (written("question\na\n"), "column 'answer' is missing.*are 'question'"),
    "nothing to write": (
        written("question,answer\na,b\nc, \n"),
        "'answer' has no value in row 2",
    ),
    "an encoder that is to write": (
        written("question,answer\n" + "a,b\n" * 9),
        "bert models do not write text: choose a decoder",
    ),
    "a column that a prompt cannot name": (
        given("--data", "x", "--text-column", "a{b}", "--completion-column", "c"),
        "with braces cannot stand in a prompt: rename it",
    ),
    "a column that a task's prompt cannot name": (
        task(
            "{schema_version: 1, name: x, kind: language_modeling, text_columns: ['a{b}'],"
            " metrics: [token_accuracy]}"
        ),
        "the column 'a{b}' has braces",
    ),
    "prompt of an unknown column": (
        task(
            "{schema_version: 1, name: x, kind: language_modeling, text_columns: [question],"
            " prompt: 'Q: {qestion}', metrics: [token_accuracy]}"
        ),
        "the prompt names 'qestion', which is not in text_columns",
    ),
    "resume of nothing": (given("--resume"), "no study"),
    "resume of a foreign folder": (given("--resume", "--study", "."), "holds no study"),
    "foreign folder": (
        lambda folder: ["--study", write(folder / "mine.txt", "").parent],
        "not empty and holds no study",
    ),
    "a warm start from nowhere": (
        given("--warm-start", "nowhere"),
        "no study 'nowhere' for --warm-start: name a study's folder, or mlflow:EXPERIMENT",
    ),
    "a warm start from a foreign folder": (
        lambda folder: ["--warm-start", write(folder / "mine.txt", "").parent],
        "holds no study",
    ),
    "a warm start without MLflow": (
        given("--warm-start", "mlflow:autopeft"),
        r"no MLflow runs at .*name the tracking server with --mlflow-uri",
    ),
    "a warm start without a model": (
        given("--warm-start", "nowhere", "--strategy", "tpe"),
        "--warm-start is for the model of a Bayesian search",
    ),
    "a Ray address where nobody is": (
        given("--ray-address", "127.0.0.1:9"),
        "No Ray cluster answers at '127.0.0.1:9'",
    ),
    "storage that is none": (
        given("--storage", "nonsense"),
        r"--storage: 'nonsense' is no URL of a database: write sqlite:///FILE or postgresql\+",
    ),
    "storage in a folder that is none": (
        given("--storage", "sqlite:///no/study.db"),
        r"'no/study\.db' cannot be written: --storage names a file in a folder of yours",
    ),
    "storage without a server": (
        given("--storage", "postgresql+psycopg://u@127.0.0.1:9/x"),
        r"postgres|storage",
    ),
}


@pytest.mark.parametrize("name", SEARCH)
def test_search(
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tiny_settings: dict[str, Any],
) -> None:
    arrange, message = SEARCH[name]
    arguments = arrange(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    # What the case leaves open comes from a search that would run.
    for option in ("task", "data", "model"):
        own_data = {"--text-column", "--completion-column"} & set(arguments)
        if f"--{option}" not in arguments and not (own_data and option == "task"):
            arguments += [f"--{option}", tiny_settings[option]]
    if name == "no network":
        arguments = arguments[: arguments.index("--data")]
    if "--resume" in arguments:
        arguments = arguments[: arguments.index("--task")]
    outcome = run(capsys, "search", *arguments)
    assert outcome.code == 2, outcome
    one_sentence(outcome.err, message)
    assert outcome.out == ""
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


OTHERS: dict[str, tuple[list[object], str]] = {
    "pareto without studies": (["pareto"], "no study"),
    "pareto of a foreign folder": (["pareto", "."], "holds no study"),
    "export without a place": (["export", "."], "--to"),
    "export of a foreign folder": (["export", ".", "--to", "x"], "holds no study"),
    "export in no format": (["export", ".", "--to", "x", "--format", "trll"], "did you mean trl"),
    "export to nowhere": (
        ["export", ".", "--to", "x", "--push-to-hub", "me/mine"],
        "cannot be reached from here",
    ),
    "export in private": (["export", ".", "--to", "x", "--private"], "goes with --push-to-hub"),
    "export with a share of nothing": (
        ["export", ".", "--to", "x", "--compress", "int8", "--keep", 0.5],
        "--keep goes with --compress ternary",
    ),
    "export with a penalty of nothing": (
        ["export", ".", "--to", "x", "--penalty", 2],
        "--penalty goes with --average mwa",
    ),
    "export in formats without a name": (
        ["export", ".", "--to", "x", "--format", ","],
        "Unknown format ''",
    ),
    "methods of a model without a name": (["methods", "--model", ""], "holds no config.json"),
    "estimate of a preset that is none": (
        ["estimate", "--config", "preset:lora"],
        "Unknown preset",
    ),
    "methods of an unknown model": (["methods", "--model", "minillm"], "did you mean minilm"),
    "estimate without a file": (["estimate", "--config", "no.yaml"], "no configuration file"),
    "sync under no name": (["sync", ".", "--register", " "], "MLflow registers no model as ' '"),
    "sync under a path": (["sync", ".", "--register", "a/b"], "takes a name without / and :"),
    "sync without studies": (["sync"], "no study"),
    "ui without runs": (["ui"], "no runs"),
    "ui on no port": (["ui", "--port", "65536"], "--port"),
    "unknown command": (["serach"], "No such command"),
    "unknown format": (["doctor", "--format", "xml"], "xml"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_commands(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, message = OTHERS[name]
    outcome = run(capsys, *arguments)
    assert outcome.code == 2
    assert message in " ".join(outcome.err.split())
    assert outcome.out == ""
    assert list(tmp_path.iterdir()) == []


ESTIMATES: dict[str, tuple[str, str]] = {
    "malformed": ("a: [1,\n b: 2", r"c\.yaml, line 2"),
    "no mapping": ("- 1", "mapping"),
    "a key twice": ("method: lora\nmethod: ia3", r"c\.yaml, line 2: .* 'method' is there twice"),
    "unknown method": ("method: lroa", "did you mean .*lora"),
    "unknown parameter": ("method: lora\nrnk: 8", "rnk"),
    "a start that is left out": ("method: lora\ninit: loftq", "'loftq' splits a quantised base"),
    "rank out of range": ("method: lora\nrank: 0", "rank"),
    "unknown target": ("method: lora\ntargets: [attn.x]", r"attn\.x"),
    "layer that is not there": ("method: lora\nlayers: [7]", "layer"),
}


@pytest.mark.parametrize("name", ESTIMATES)
def test_estimate(
    name: str, tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, message = ESTIMATES[name]
    file = write(tmp_path / "c.yaml", text)
    outcome = run(capsys, "estimate", "--model", tiny_model, "--config", file)
    assert outcome.code == 2
    one_sentence(outcome.err, message)
    assert outcome.out == ""


def test_a_text_to_write_that_begins_after_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {k: v for k, v in T5.items() if k != "decoder_start_token_id"}
    T5Config(**settings).save_pretrained(tmp_path)
    outcome = run(capsys, "recommend", "--model", tmp_path, "--task", "e2e_nlg")
    assert outcome.code == 2
    one_sentence(outcome.err, "set decoder_start_token_id in its config.json")
    assert outcome.out == ""


WRITERS: dict[str, tuple[list[object], str]] = {
    "an encoder": ([], "bert models do not write text: choose a decoder"),
    "classes": (["--num-labels", 3], "has no classes: leave --num-labels out"),
}


@pytest.mark.parametrize("what", [["--config", "preset:mam"], ["--space", "lora"]], ids=str)
@pytest.mark.parametrize("name", WRITERS)
def test_estimate_of_what_does_not_write_text(
    name: str, what: list[object], tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options, message = WRITERS[name]
    asked = ["--model", tiny_model, *what, "--language-modeling", *options]
    outcome = run(capsys, "estimate", *asked)
    assert outcome.code == 2
    one_sentence(outcome.err, message)
    assert outcome.out == ""


def test_a_second_search_of_the_same_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_settings: dict[str, Any]
) -> None:
    options = [x for k in ("task", "model", "data") for x in (f"--{k}", tiny_settings[k])]
    folder = tmp_path / "s"
    with StudyFolder(folder):
        outcome = run(capsys, "search", *options, "--study", folder)
    assert outcome.code == 2
    one_sentence(outcome.err, "Another search is writing")


def cut(name: str, n: int) -> Callable[[Path], None]:
    """Return what cuts a file of a study off after `n` bytes."""

    def damage(study: Path) -> None:
        (study / name).write_bytes((study / name).read_bytes()[:n])

    return damage


def without(*keys: str) -> Callable[[Path], None]:
    """Return what takes a value out of a study's manifest."""

    def take(study: Path) -> None:
        file = study / "study.json"
        manifest = part = json.loads(file.read_text())
        for key in keys[:-1]:
            part = part[key]
        del part[keys[-1]]
        file.write_text(json.dumps(manifest))

    return take


def changed(*keys: str, to: object) -> Callable[[Path], None]:
    """Return what changes a value in a study's manifest."""

    def change(study: Path) -> None:
        file = study / "study.json"
        manifest = part = json.loads(file.read_text())
        for key in keys[:-1]:
            part = part[key]
        part[keys[-1]] = to
        file.write_text(json.dumps(manifest))

    return change


WRONG: dict[str, tuple[Callable[[Path], Any], str]] = {
    "metric": (changed("task", "metric", to="foo"), r"'task\.metric' should be one of accuracy"),
    "budget": (
        changed("budget", "limit", to="x"),
        r"study\.json' is wrong: 'budget\.limit' should be a valid integer, and is 'x'",
    ),
    "part": (changed("task", to=[]), "'task' should be an object with keys, and is \\[\\]"),
    "storage": (
        changed("request", "storage", to="foo"),
        r"'request\.storage' should be the URL of a database, and is 'foo'",
    ),
    "objective": (
        changed("objectives", to=["quality", "speed"]),
        r"'objectives\.1' should be 'quality', 'params' or 'memory', and is 'speed'",
    ),
    "objectives": (
        changed("objectives", to=["params", "memory"]),
        "'objectives' should be quality and at least one of",
    ),
    "reference": (
        changed("reference", "best", to=[0.0]),
        "'reference' should have a number for each of the 'objectives'",
    ),
    "corner": (
        changed("reference", "worst", to=[-9.0, -9.0]),
        r"'reference\.worst' should be above 'reference\.best'",
    ),
    "model": (without("model", "family"), r"incomplete: 'model\.family' is missing"),
    "warm start": (
        changed("warm_start", to=[{"name": "x"}]),
        r"incomplete: 'warm_start\.0\.task' is missing",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_in_a_manifest(
    name: str, tmp_path: Path, tiny_study: SearchResult, capsys: pytest.CaptureFixture[str]
) -> None:
    change, message = WRONG[name]
    study = shutil.copytree(tiny_study.folder.path, tmp_path / "s")
    change(study)
    before = {p: p.stat().st_mtime_ns for p in study.rglob("*")}
    for command in (
        ["search", "--resume", "--study", study],
        ["pareto", study],
        ["report", study],
        ["export", study, "--to", "x"],
    ):
        outcome = run(capsys, *command)
        assert outcome.code == 2, outcome
        one_sentence(outcome.err, message)
        assert "Bring the file back." in outcome.err
        assert outcome.out == ""
    assert {p: p.stat().st_mtime_ns for p in study.rglob("*")} == before


def test_a_recorded_request_that_is_none(
    tmp_path: Path, tiny_study: SearchResult, capsys: pytest.CaptureFixture[str]
) -> None:
    """What only a resumed search or the rows of an export need keeps nobody from looking."""
    study = shutil.copytree(tiny_study.folder.path, tmp_path / "s")
    changed("request", "trials", to=0)(study)
    for command in (
        ["search", "--resume", "--study", study, "--trials", 9],
        ["export", study, "--to", "x", "--format", "script"],
    ):
        outcome = run(capsys, *command)
        assert outcome.code == 2, outcome
        one_sentence(
            outcome.err, r"'request' in the study's study\.json is wrong: --trials: .*Bring"
        )
    assert run(capsys, "pareto", study).code == 0


DAMAGED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "the manifest is cut off": (
        cut("study.json", 300),
        r"Cannot read .*study\.json.*Bring the file",
    ),
    "the manifest is empty": (cut("study.json", 0), r"Cannot read .*study\.json"),
    "the manifest lacks a part": (without("reference"), "incomplete: 'reference' is missing"),
    "the manifest lacks a key": (
        without("task", "fingerprint"),
        "incomplete: 'task.fingerprint' is missing",
    ),
    "the storage is cut off": (cut("study.db", 5_000), r"study\.db' is not a study database"),
    "the storage is empty": (cut("study.db", 0), r"study\.db' is empty, .*: bring it back"),
    "the storage is gone": (
        lambda study: (study / "study.db").unlink(),
        r"study\.db' is missing, .*: bring it back",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_studies(
    name: str, tmp_path: Path, tiny_study: SearchResult, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, message = DAMAGED[name]
    study = shutil.copytree(tiny_study.folder.path, tmp_path / "s")
    with closing(sqlite3.connect(study / "study.db")) as database:
        database.execute("PRAGMA journal_mode=DELETE")  # all of it in the one file
    damage(study)
    before = {p: p.read_bytes() for p in study.rglob("*") if p.is_file()}
    for command in (["search", "--resume", "--study", study], ["pareto", study], ["sync", study]):
        outcome = run(capsys, *command)
        assert outcome.code == 2, outcome
        one_sentence(outcome.err, message)
        assert outcome.out == ""
    files = {p for p in study.rglob("*") if p.is_file() and p.name != ".lock"}
    assert files == {p for p in before if p.name != ".lock"}


def test_a_study_that_had_a_task_beside_its_columns_goes_on(
    tmp_path: Path, tiny_study: SearchResult, capsys: pytest.CaptureFixture[str]
) -> None:
    """Requests could once have both; here it gets as far as the data, which are others."""
    study = shutil.copytree(tiny_study.folder.path, tmp_path / "s")
    manifest = json.loads((study / "study.json").read_text())
    data = write(tmp_path / "own.csv", "text,label\n" + "a,0\nb,1\n" * 20)
    manifest["request"] |= {
        "task": "rte",
        "data": str(data),
        "text_columns": ["text"],
        "label_column": "label",
    }
    write(study / "study.json", json.dumps(manifest))
    outcome = run(capsys, "search", "--resume", "--study", study)
    assert outcome.code == 2
    one_sentence(outcome.err, "The rows are not those that the study was started with")


def test_what_an_export_refuses(
    tmp_path: Path, tiny_study: SearchResult, capsys: pytest.CaptureFixture[str]
) -> None:
    study = shutil.copytree(tiny_study.folder.path, tmp_path / "s")
    best = tiny_study.best().number
    write(tmp_path / "file", "x")
    refused: dict[str, list[object]] = {
        "'file' is a file: name another folder": ["--to", "file"],
        "'file' is a file: name": ["--to", "file/below"],
        "There is no trial 99": ["--to", "x", "--pick", 99],
        "Unknown pick 'latest'": ["--to", "x", "--pick", "latest"],
        "Unknown pick ''": ["--to", "x", "--pick", ""],
    }
    for message, options in refused.items():
        outcome = run(capsys, "export", study, *options)
        assert outcome.code == 2
        one_sentence(outcome.err, message)
    [weights] = (study / "trials" / f"{best:04d}" / "adapter").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:100])
    for options in ([], ["--compress", "int8"], ["--merge"]):
        outcome = run(capsys, "export", study, "--pick", best, "--to", "x", *options)
        assert outcome.code == 2
        one_sentence(outcome.err, f"weights of trial {best} are damaged: .*{weights.name}")
    assert {p.name for p in tmp_path.iterdir()} == {"s", "file"}


def one_sentence(err: str, message: str) -> None:
    """Check that stderr is one error that matches."""
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1, err
    assert lines[0].startswith("Error: ")
    assert "Traceback" not in err
    assert re.search(message, lines[0])
