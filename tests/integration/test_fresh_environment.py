"""An export in an environment that has torch, transformers and peft, and nothing of ours."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import autopeft

PACKAGES = ("torch", "transformers", "peft")
LOGITS = """
import json, sys
import numpy as np
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer
base, folder, rows, out = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(base)
texts = [json.loads(line)["sentence"] for line in open(rows)]
model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
model = PeftModel.from_pretrained(model, folder).eval()
with torch.inference_mode():
    logits = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
np.save(out, logits.numpy())
"""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment; the versions are those of this one."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    versions = json.loads(_said(sys.executable, "-c", _VERSIONS))
    asked = [f"{name}=={versions[name].split('+')[0]}" for name in PACKAGES]
    install = [str(python), "-m", "pip", "install", "--quiet", "--retries", "1", *asked]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason"]
        pytest.skip(f"pip cannot install {', '.join(asked)}: {reason[0]}")
    return python


_VERSIONS = (
    "import json, importlib.metadata as m; "
    f"print(json.dumps({{n: m.version(n) for n in {PACKAGES!r}}}))"
)


def _said(python: Path | str, *arguments: object, **settings: Any) -> str:
    command = [str(python), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_an_export_works_where_nothing_of_ours_is(
    fresh: Path, tiny_model: Path, tiny_data: Path, tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "c.yaml").write_text("{method: lora, rank: 4, training: {learning_rate: 0.02}}")
    settings = {k: v for k, v in tiny_settings.items() if k not in {"budget", "trials"}}
    result = autopeft.search(
        study=tmp_path / "study",
        **settings,
        configuration=str(tmp_path / "c.yaml"),
        strategy="random",
        fidelity="none",
        trials=1,
    )
    folder = result.export(tmp_path / "out", formats=("script",))
    missing = subprocess.run([str(fresh), "-c", "import autopeft"], check=False, cwd=tmp_path)
    assert missing.returncode != 0
    # The environment's own packages alone, whatever PYTHONPATH says here.
    alone = [fresh, "-I"]

    rows = tiny_data / "validation.jsonl"
    _said(*alone, "-c", LOGITS, tiny_model, folder, rows, tmp_path / "there.npy")
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    texts = [json.loads(line)["sentence"] for line in rows.read_text().splitlines()]
    base = AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=2)
    model = PeftModel.from_pretrained(base, str(folder)).eval()
    with torch.inference_mode():
        here = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits.numpy()
    there = np.load(tmp_path / "there.npy")
    assert np.array_equal(here, there)
    labels = [json.loads(line)["label"] for line in rows.read_text().splitlines()]
    assert np.mean(there.argmax(-1) == labels) == pytest.approx(result.best().quality)

    said = _said(*alone, folder / "predict.py", "--base-model", tiny_model, texts[0])
    label, score = said.split("\t")
    assert label == result.manifest["task"]["labels"][int(there[0].argmax())]
    assert float(score) == pytest.approx(torch.tensor(there[0]).softmax(-1).max().item(), abs=2e-4)

    trained = tmp_path / "trained"
    said = _said(*alone, folder / "train.py", "--base-model", tiny_model, "--out", trained)
    recorded = f"{result.best().quality:.6f}"
    assert f"accuracy {recorded} (recorded: {recorded})" in said
