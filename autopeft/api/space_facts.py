"""What a search space holds, and what its points cost on a model."""

from typing import Any

from autopeft.api.catalogue import spec_of
from autopeft.cost.budget import ParamBudget
from autopeft.cost.candidates import CandidateSpace
from autopeft.errors import SpaceError
from autopeft.methods.registry import catalogue
from autopeft.models.spec import ModelSpec
from autopeft.space.hyperparameter import Hyperparameter
from autopeft.space.schema import ModelShape, find_space, read_space
from autopeft.space.space import SearchSpace
from autopeft.space.text import text_of

#: Shape of BERT-base, for a space that is looked at without a model.
_SHAPE = ModelShape(12, 768)
_NO_LIMIT = ParamBudget(text="no limit", limit=2**62)


def validated(name: str, model: str | None) -> SearchSpace:
    """Return a space by name or path, read for a model.

    Raises:
        AutopeftError: If the space or the model cannot be read.
    """
    find_space(name)  # or say that there is none, before anything is loaded
    return read_for(name, None if model is None else spec_of(model))


def read_for(name: str, spec: ModelSpec | None) -> SearchSpace:
    """Return a space by name or path, read for the structure of a model.

    Raises:
        AutopeftError: If the space cannot be read.
    """
    path = find_space(name)
    shape = ModelShape(spec.n_layers, spec.hidden_size) if spec else _SHAPE
    return read_space(text_of(path, SpaceError), shape, path.name, catalogue())


def describe_space(name: str, model: str) -> dict[str, Any]:
    """Return a space's dimensions, its size and the range of its costs on a model.

    Raises:
        AutopeftError: If the space or the model cannot be read, or do not go together.
    """
    spec = spec_of(model)
    candidates = CandidateSpace(validated(name, model), spec, _NO_LIMIT)
    space = candidates.space
    points = space.n_points()
    ends = {"smallest": candidates.smallest(), "largest": candidates.largest()}
    return {
        "space": space.name,
        "about": space.about,
        "model": model,
        "methods": list(space.methods),
        "together": bool(space.components),
        "refused": candidates.refused,
        "points": int(points) if points != float("inf") else None,
        "log10_points": round(space.log10_size(), 2),
        "adapter_params": {
            which: candidates.adapter_params(point) for which, point in ends.items()
        },
        "base_params": spec.base_params,
        "dimensions": [_dimension(h) for h in space.hyperparameters],
    }


def _dimension(h: Hyperparameter) -> dict[str, Any]:
    return {
        "name": h.name,
        "sets": h.field,
        "values": h.describe(),
        "when": " and ".join(
            f"{parent} is {' or '.join(str(value) for value in values)}"
            for parent, values in h.when
        ),
    }
