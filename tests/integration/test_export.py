"""What is exported gives the recorded quality again, in a process that has no autopeft."""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import autopeft
from autopeft.api.result import SearchResult
from autopeft.export.projects import PROJECTS
from autopeft.methods.inserted import InsertedMethod
from autopeft.methods.registry import get_method, method_names
from tests.tiny import save_tiny

# Loads exports as a user would: with transformers and peft alone where peft has the method.
EVALUATE = """
import json, sys
from pathlib import Path
own = [f for f in sys.argv[4:] if (Path(f) / "autopeft_adapter.json").is_file()]
if not own:
    sys.modules["autopeft"] = None  # an import of it would fail
else:
    import autopeft
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer
base, rows, max_length, *folders = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(base)
rows = [json.loads(line) for line in open(rows)]
columns = [c for c in ("sentence", "sentence1", "sentence2") if c in rows[0]]
texts = [[row[c] for row in rows] for c in columns]
labels = torch.tensor([row["label"] for row in rows])
for folder in folders:
    if "full" in folder.rsplit("/", 1)[-1]:
        model = AutoModelForSequenceClassification.from_pretrained(folder)
    else:
        model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
        load = autopeft.load_adapter if folder in own else PeftModel.from_pretrained
        model = load(model, folder)
    inputs = tokenizer(*texts, truncation=True, max_length=int(max_length), padding=True,
                       return_tensors="pt")
    with torch.inference_mode():
        found = model.eval()(**inputs).logits.argmax(-1)
    print(json.dumps((found == labels).double().mean().item()))
"""


def reloaded(base: Path, rows: Path, max_length: int, *folders: Path) -> list[float]:
    """Return the accuracy of exported folders, measured in a fresh process."""
    arguments = [sys.executable, "-c", EVALUATE, base, rows, max_length, *folders]
    done = subprocess.run([str(a) for a in arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


ALONE = {name for name in method_names() if get_method(name).info.goes_alone}
OWN = {name for name in ALONE if isinstance(get_method(name), InsertedMethod)}


#: One of each way of attaching and of writing files; all of them are tried where there is time.
FEW = {"adalora", "full", "lora"}
FEW_OWN = {"p_tuning", "parallel_adapter"}


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "methods",
    [
        pytest.param(FEW, id="some of the library"),
        pytest.param(FEW_OWN, id="some of our own"),
        pytest.param(ALONE - OWN, id="library", marks=pytest.mark.slow),
        pytest.param(OWN, id="own", marks=pytest.mark.slow),
    ],
)
def test_every_method_gives_its_quality_again(
    methods: set[str],
    tiny_model: Path,
    tiny_data: Path,
    tiny_settings: dict[str, Any],
    tmp_path: Path,
) -> None:
    recorded, folders = [], []
    for method in sorted(methods):
        settings = {**tiny_settings, "trials": 1, "budget": "100%", "fidelity": "none"}
        settings |= {
            "space": "everything",
            "max_length": 32,
            # Neither learns everything in so short a time.
            "strategy": "random" if methods <= OWN else "bayesian",
            "epochs": 20.0 if methods <= OWN else 6.0,
        }
        result = autopeft.search(study=tmp_path / method, methods=(method,), **settings)
        folders.append(result.export(tmp_path / f"out-{method}"))
        recorded.append(result.best().quality)
    again = reloaded(tiny_model, tiny_data / "validation.jsonl", 32, *folders)
    assert again == pytest.approx(recorded, abs=1e-9)
    assert max(again) > 0.6  # something was learned, so equality says something


def test_components_that_were_searched_together_give_their_quality_again(
    tiny_model: Path, tiny_data: Path, tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    settings = {**tiny_settings, "space": "autopeft-paper", "budget": "20%", "epochs": 8.0}
    settings |= {"strategy": "random"}
    result = autopeft.search(study=tmp_path / "s", **{**settings, "trials": 4, "fidelity": "none"})
    assert {t.status.value for t in result.trials} == {"complete"}
    several = [t for t in result.trials if len(t.spec.configuration.components) > 1]
    folders = [result.export(tmp_path / str(t.number), pick=str(t.number)) for t in several]
    again = reloaded(tiny_model, tiny_data / "validation.jsonl", 128, *folders)
    assert again == pytest.approx([t.quality for t in several], abs=1e-9)
    assert len(set(again)) > 1  # they differ, so equality says something


def test_predict_runs_as_the_message_says(
    tiny_study: SearchResult, tiny_model: Path, tmp_path: Path
) -> None:
    folder = tiny_study.export(tmp_path / "mine", pick="smallest")
    check_no_paths(folder, tiny_study.folder.path, tiny_model)
    arguments = ["--base-model", str(tiny_model), "word1 word2 word3"]
    done = subprocess.run(
        [sys.executable, str(folder / "predict.py"), *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    label, score = done.stdout.split("\t")
    assert label in {"negative", "positive"}
    assert 0.5 <= float(score) <= 1.0
    said_by_others = ("LOAD REPORT", "Loading weights", "Warning")
    assert [words for words in said_by_others if words in done.stderr] == []


def check_no_paths(folder: Path, *places: Path) -> None:
    """Check that no file of an export names a folder of this machine."""
    private = {str(path).encode() for path in (*places, *(p.parent for p in places), Path.home())}
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"README.md", "predict.py", "adapter_config.json"} & {path.name for path in files}
    found = [(f.name, p) for f in files for p in private if p != b"/" and p in f.read_bytes()]
    assert found == []


def test_the_model_of_mlflow_answers_as_predict_does(
    tiny_study: SearchResult, tmp_path: Path
) -> None:
    texts = ["word1 word2 word3", "word40 word41", "word2 word50"]
    folder = tiny_study.export(tmp_path / "mine", formats=("script", "mlflow"))
    served = folder / "mlflow_model"
    # The adapter goes along, and not the rows that `train.py` has; nothing is left beside it.
    assert {path.name for path in (served / "artifacts/export").iterdir()} == {
        path.name for path in folder.iterdir()
    } - {"README.md", "data", "train.py", served.name}
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert str(tmp_path) not in (served / "MLmodel").read_text()
    moved = served.rename(tmp_path / "elsewhere")
    found = mlflow.pyfunc.load_model(str(moved)).predict(pd.DataFrame({"text": texts}))
    script = runpy.run_path(str(folder / "predict.py"))
    loaded = script["load"](tiny_study.manifest["model"]["location"])
    expected = [script["predict"](*loaded, text) for text in texts]
    assert list(found.itertuples(index=False, name=None)) == expected
    assert len({score for _, score in expected}) == len(texts)


def test_a_search_of_densities_exports_what_it_counted(
    tiny_model: Path, tiny_data: Path, tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    settings = {**tiny_settings, "space": "sparsity", "strategy": "random", "trials": 3}
    methods = ("lora", "lokr")
    result = autopeft.search(study=tmp_path / "study", methods=methods, **settings)
    record = result.best()
    component = record.spec.configuration.components[0]
    assert 0 < float(component.param("density")) < 1
    folder = result.export(tmp_path / "out")
    tensors = load_file(folder / "adapter_model.safetensors")
    adapter = {name: t for name, t in tensors.items() if "classifier" not in name}
    assert sum(int(torch.count_nonzero(t)) for t in adapter.values()) == record.cost.adapter_params
    assert sum(t.numel() for t in adapter.values()) > record.cost.adapter_params
    again = reloaded(tiny_model, tiny_data / "validation.jsonl", 128, folder)
    assert again == pytest.approx([record.quality], abs=1e-9)


ROWS = [
    {"question": f"word{i % 2}", "answer": " ".join(f"word{9 * (i % 2) + n}" for n in range(4))}
    for i in range(40)
]
FORMATS = {"peft": "method: lora, rank: 8", "ours": "method: parallel_adapter, bottleneck: 8"}


@pytest.fixture(scope="module")
def writing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of questions with answers that follow from them."""
    folder = tmp_path_factory.mktemp("writing")
    for split, rows in (("train", ROWS[:32]), ("validation", ROWS[32:])):
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


@pytest.mark.timeout(100)
@pytest.mark.parametrize("family", ["llama", "t5"])
@pytest.mark.parametrize("format_", FORMATS)
def test_a_model_that_writes_gives_its_quality_again(
    family: str,
    format_: str,
    writing: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    training = "training: {learning_rate: 0.03, batch_size: 8}"
    (tmp_path / "c.yaml").write_text(f"{{{FORMATS[format_]}, {training}}}")
    result = autopeft.search(
        study=writing / "studies" / f"{family}-{format_}",  # one database of runs for all
        model=str(save_tiny(family, tmp_path / "model", "language_modeling")),
        data=writing,
        text_columns=("question",),
        completion_column="answer",
        configuration=str(tmp_path / "c.yaml"),
        strategy="random",
        trials=1,
        epochs=12.0,
        fidelity="none",
        precision="float32",
    )
    recipes = tuple(PROJECTS) if (family, format_) == ("llama", "peft") else ()
    folder = result.export(tmp_path / "out", formats=recipes)
    check_rows(folder, recipes)
    file = folder / "predict.py"
    if format_ == "peft":
        monkeypatch.setitem(sys.modules, "autopeft", None)  # an import of it fails
    script = runpy.run_path(str(file))
    base = str(tmp_path / "model")
    model, tokenizer = script["load"](base)
    check_no_paths(folder, result.folder.path, tmp_path / "model")
    right = [tokens_that_are_right(model, tokenizer, row) for row in ROWS[32:]]
    again = float(torch.cat(right).double().mean())
    assert again == pytest.approx(result.best().quality, abs=1e-9)
    assert again > 0.7  # something was learned, so equality says something
    question = ROWS[0]["question"]
    monkeypatch.setattr(
        sys, "argv", ["predict.py", "--base-model", base, "--max-new-tokens", "3", question]
    )
    capsys.readouterr()
    runpy.run_path(str(file), run_name="__main__")
    written = capsys.readouterr().out
    assert written == f"{written_slowly(model, tokenizer, question, 3)}\n"


def check_rows(folder: Path, recipes: tuple[str, ...]) -> None:
    """Check that recipes find the rows of the study where they look for them."""
    for project in recipes:
        assert (folder / PROJECTS[project].file).is_file()
    if not recipes:
        assert not (folder / "data").exists()
        return
    rows = [json.loads(line) for line in (folder / "data/train.jsonl").read_text().splitlines()]
    question, answer = ROWS[0]["question"], ROWS[0]["answer"]
    assert rows[0] == {"prompt": f"{question}\n", "completion": answer}
    assert len(rows) == 32
    own = folder / "llama_factory_data"
    listed = json.loads((own / "dataset_info.json").read_text())
    assert set(listed) == {"train", "validation"}
    first = json.loads((own / listed["train"]["file_name"]).read_text().splitlines()[0])
    # The tokenizer ends texts by itself, and begins none with the token for that.
    assert first == {"prompt": f"{question}\n", "completion": f"{answer}[SEP]"}


def logits(model: Any, tokenizer: Any, question: str, answer: list[int]) -> torch.Tensor:
    """Return what a model gives for each token of an answer after those before, and for the next.

    A decoder beside an encoder begins with its start token.
    """
    prompt = tokenizer(question + "\n").input_ids
    if model.config.is_encoder_decoder:
        begun = [model.config.decoder_start_token_id, *answer]
        inputs = {"input_ids": [prompt], "decoder_input_ids": [begun]}
    else:
        inputs = {"input_ids": [prompt[:-1] + answer]}  # without the tokenizer's end
    with torch.inference_mode():
        found = model(**{k: torch.tensor(v) for k, v in inputs.items()}, use_cache=False)
    return found.logits[0, -len(answer) - 1 :]


def tokens_that_are_right(model: Any, tokenizer: Any, row: dict[str, str]) -> torch.Tensor:
    """Return for each token of an answer whether the model finds it after those before."""
    answer = tokenizer(row["answer"]).input_ids
    if not model.config.is_encoder_decoder:
        del answer[0]  # the beginning of a text, which an answer is not
    found = logits(model, tokenizer, row["question"], answer[:-1])
    return found.argmax(-1) == torch.tensor(answer)


def written_slowly(model: Any, tokenizer: Any, question: str, n_tokens: int) -> str:
    """Return the likeliest tokens, one after the other, without a cache."""
    answer: list[int] = []
    while len(answer) < n_tokens and tokenizer.eos_token_id not in answer:
        answer.append(int(logits(model, tokenizer, question, answer)[-1].argmax()))
    return str(tokenizer.decode(answer, skip_special_tokens=True))
