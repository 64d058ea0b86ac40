"""What the base model's own card says of its license."""

from pathlib import Path

from huggingface_hub import ModelCard, try_to_load_from_cache
from yaml import YAMLError

from autopeft.models.registry import ModelReference


def license_of(reference: ModelReference) -> str | None:
    """Return the license that a model's card names, `None` where it is not known here.

    The card lies beside the weights, or in the Hub's cache; nothing is fetched.
    """
    folder = Path(reference.location)
    path: object = (folder if folder.is_dir() else folder.parent) / "README.md"
    if not reference.is_local:
        path = try_to_load_from_cache(reference.location, "README.md")
    if not isinstance(path, str | Path) or not Path(path).is_file():
        return None
    try:
        found = getattr(ModelCard(Path(path).read_text(encoding="utf-8")).data, "license", None)
    except (ValueError, YAMLError):  # a README that is no card
        return None
    return str(found) if found else None
