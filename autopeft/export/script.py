"""`predict.py`: the script that loads an exported folder and uses it."""

import json
import string
from pathlib import Path
from typing import Any

from autopeft.export.facts import ExportFacts, Writing, example_texts
from autopeft.models.spec import Output

_TEMPLATES = Path(__file__).parent / "templates"
#: transformers' class for what a model does.
CLASSES: dict[Output, str] = {
    "labels": "AutoModelForSequenceClassification",
    "next_tokens": "AutoModelForCausalLM",
    "target_tokens": "AutoModelForSeq2SeqLM",
}


def predict_script(facts: ExportFacts, library: str) -> str:
    """Return the text of `predict.py`.

    Args:
        facts: What the script has to know.
        library: What reads the weights: `peft`, `autopeft`, or `transformers` alone.
    """
    writing = facts.writing
    model_class = CLASSES[writing.output if writing else "labels"]
    shared = {
        "imports": _imports(model_class, library),
        "tokenizer": _tokenizer(facts),
        "load": "\n".join(_load(facts, model_class, library)),
        "needs": "torch, transformers" + (f" and {library}" if library != "transformers" else ""),
        "base": repr(facts.reference.hub_id),
        "base_name": in_quotes(facts.base),
        "max_length": str(facts.max_length),
    }
    if writing is None:
        return fill("classify.py.txt", labels=repr(list(facts.labels)), **shared)
    return fill("write.py.txt", **shared, **_of_writing(writing))


def fill(template: str, **values: Any) -> str:
    """Return a template with its values."""
    text = (_TEMPLATES / template).read_text(encoding="utf-8")
    return string.Template(text).substitute(values)


def in_quotes(text: str) -> str:
    """Return a text as it stands between double quotes in a script."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _imports(model_class: str, library: str) -> str:
    names = ", ".join([*sorted([model_class, "AutoTokenizer"]), "logging"])
    lines = {
        "peft": "from peft import PeftModel\n",
        "autopeft": "from autopeft import load_adapter\n",
    }
    return f"{lines.get(library, '')}from transformers import {names}"


def _tokenizer(facts: ExportFacts) -> str:
    """Return the lines that load the tokenizer; of a GGUF file they split its path."""
    if not facts.reference.location.endswith(".gguf"):
        return "    tokenizer = AutoTokenizer.from_pretrained(base)"
    return (
        "    folder, file = str(Path(base).parent), Path(base).name\n"
        "    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)"
    )


def _load(facts: ExportFacts, model_class: str, library: str) -> list[str]:
    """Return the lines that load the model, in the type that its quality was measured in."""
    if library == "transformers":
        return [f"    model = {model_class}.from_pretrained(HERE, dtype=torch.float32)"]
    attach = {
        "peft": "    model = PeftModel.from_pretrained(model, str(HERE))",
        "autopeft": "    model = load_adapter(model, HERE)",
    }[library]
    gguf = facts.reference.location.endswith(".gguf")
    base = "folder, gguf_file=file" if gguf else "base"
    if facts.writing is not None:
        load = f"    model = {model_class}.from_pretrained({base}, dtype=torch.float32)"
        return [load, attach]
    settings = f"num_labels={len(facts.labels) or 1}, dtype=torch.float32"
    return [
        "    model = AutoModelForSequenceClassification.from_pretrained(",
        f"        {base}, {settings}",
        "    )",
        "    model.config.pad_token_id = tokenizer.pad_token_id",
        attach,
    ]


def _of_writing(writing: Writing) -> dict[str, str]:
    return {
        "columns": repr(list(writing.text_columns)),
        "prompt": repr(writing.prompt),
        "generate": fill(f"{writing.output}.py.txt").rstrip(),
        "example": " ".join(f'"{text}"' for text in example_texts(len(writing.text_columns))),
    }
