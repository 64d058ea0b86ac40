"""An exported folder as a model of MLflow, which `mlflow models serve` answers with."""

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from autopeft.export.facts import ExportFacts
from autopeft.export.script import fill
from autopeft.methods.adapter_files import DESCRIPTION

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

#: Name of the model within its run: `runs:/RUN/model`.
MODEL = "model"
#: Folder of the model within an export.
FOLDER = "mlflow_model"
_PACKAGES = ("torch", "transformers", "peft", "safetensors", "mlflow")


def log_model(
    folder: Path, facts: ExportFacts, run_id: str, uri: str, registered: str | None = None
) -> str:
    """Log an exported folder as the model of a run; return its URI, `models:/…`.

    The model takes a column of strings for each text and gives `label` and `score`, `value` where
    a number is predicted, or `text` where text is written. The base model is loaded from where
    it lay for the search, or from the Hub; it is not part of what is logged.

    Args:
        folder: As `export_trial` made it.
        facts: What it was made with.
        run_id: The run.
        uri: Tracking server.
        registered: Name to register it under; a new version if there is one already.
    """
    with _model(folder, facts) as model:
        import mlflow.pyfunc

        with _tracking_at(uri), mlflow.start_run(run_id=run_id):
            logged = mlflow.pyfunc.log_model(name=MODEL, registered_model_name=registered, **model)
    return str(logged.model_uri)


def write_model(folder: Path, *, facts: ExportFacts) -> None:
    """Write the same model into an exported folder, with a copy of what is in it so far.

    Args:
        folder: As `export_trial` makes it, with `predict.py`.
        facts: What it is made with.
    """
    with _model(folder, facts) as model, tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        import mlflow.pyfunc
        from mlflow.models import Model

        # Beside the folder: within it, the copy would hold itself.
        written = Path(scratch) / FOLDER
        mlflow.pyfunc.save_model(written, **model)
        described = Model.load(written)
        [export] = described.flavors["python_function"]["artifacts"].values()
        export["uri"] = export["path"]  # a folder of this machine that is gone says nothing
        described.save(written / "MLmodel")
        shutil.move(written, folder / FOLDER)


@contextmanager
def _tracking_at(uri: str) -> Iterator[None]:
    """Have MLflow's global server for a while; a program that has set its own keeps it."""
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")  # where MLflow keeps what was set, too
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(cast("str", before))  # it takes None, whatever its types say


@contextmanager
def _model(folder: Path, facts: ExportFacts) -> Iterator[dict[str, Any]]:
    """Yield what MLflow needs to write a folder as a model, while its files are there."""
    answer, columns = _answer(facts)
    local = facts.reference.is_local
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # advice on type hints, from the import on
        code = Path(scratch) / "predictor.py"
        text = fill("mlflow_predictor.py.txt", answer=answer, columns=repr(columns))
        code.write_text(text, encoding="utf-8")
        yield {
            "python_model": str(code),
            "artifacts": {"export": str(folder)},
            "model_config": {"local_base": facts.reference.location} if local else None,
            "signature": _signature(facts, columns),
            "pip_requirements": _requirements(folder, facts.versions),
        }


def _answer(facts: ExportFacts) -> tuple[str, list[str]]:
    """Return a row as an expression of what `predict.py` answers, and the columns of rows."""
    if facts.writing is not None:
        return "[answer]", ["text"]
    return ("answer", ["label", "score"]) if facts.labels else ("answer[1:]", ["value"])


def _inputs(facts: ExportFacts) -> Sequence[str]:
    """Return the columns of the texts; those of a task of writing have names of their own."""
    if facts.writing is not None:
        return facts.writing.text_columns or ("text",)
    return ("text", "second_text")[: facts.n_texts]


def _signature(facts: ExportFacts, outputs: Sequence[str]) -> "ModelSignature":
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    kinds = {"score": "double", "value": "double"}
    return ModelSignature(
        inputs=Schema([ColSpec("string", name) for name in _inputs(facts)]),
        outputs=Schema([ColSpec(kinds.get(name, "string"), name) for name in outputs]),
    )


def _requirements(folder: Path, versions: Mapping[str, str]) -> list[str]:
    """Return what a server installs; autopeft where its loader is needed."""
    needed = [*_PACKAGES, *(["autopeft"] if (folder / DESCRIPTION).is_file() else [])]
    plain = {name: version.split("+")[0] for name, version in versions.items()}
    return [f"{name}=={plain[name]}" if name in plain else name for name in needed]
