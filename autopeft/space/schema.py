"""YAML to `SearchSpace`: unknown keys refused, mistakes named with file, line and key."""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from autopeft.errors import SpaceError, UnknownNameError
from autopeft.space.hyperparameter import Choice, FloatRange, Hyperparameter, IntRange, LayerMask
from autopeft.space.layers import resolve
from autopeft.space.space import SearchSpace
from autopeft.space.targets import expand

Scalar = bool | int | float | str


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    sets: str | None = None
    when: dict[str, list[Scalar]] = {}


class _Number(_Entry):
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> "_Number":
        low, high = getattr(self, "low"), getattr(self, "high")  # noqa: B009 - declared by children
        if low >= high:
            raise ValueError("'low' must be smaller than 'high'")
        if self.log and low <= 0:
            raise ValueError("a logarithmic range needs 'low' above 0")
        return self


class _Float(_Number):
    type: Literal["float"]
    low: float
    high: float


class _Int(_Number):
    type: Literal["int"]
    low: int
    high: int


class _Choice(_Entry):
    type: Literal["choice"]
    choices: Annotated[list[Scalar], Field(min_length=1)]

    @model_validator(mode="after")
    def _distinct(self) -> "_Choice":
        if len({(type(c), c) for c in self.choices}) < len(self.choices):
            raise ValueError("'choices' holds a value twice")
        return self


class _LayerMask(_Entry):
    type: Literal["layer_mask"]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_version: Literal[1]
    name: str
    about: str = ""
    methods: Literal["all"] | list[str] | None = None
    hyperparameters: dict[
        str, Annotated[_Float | _Int | _Choice | _LayerMask, Field(discriminator="type")]
    ]


def shipped_spaces() -> dict[str, Path]:
    """Return the search-space files that come with autopeft, by name."""
    # A wheel holds them inside the package; a checkout holds them beside it.
    inside = Path(str(resources.files("autopeft"))) / "search_spaces"
    folder = inside if inside.is_dir() else Path(__file__).parents[2] / "search_spaces"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_space(name_or_path: str) -> Path:
    """Return the file of a shipped space, or of a path as given.

    Raises:
        UnknownNameError: If it is neither.
    """
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        if not path.is_file():
            raise SpaceError(f"There is no search-space file '{path}'.")
        return path
    shipped = shipped_spaces()
    if name_or_path not in shipped:
        raise UnknownNameError("search space", name_or_path, shipped, "A path to a YAML also does.")
    return shipped[name_or_path]


#: The own dimensions of each method by its name: its hyperparameters and its targets.
Catalogue = Mapping[str, Sequence[Hyperparameter]]


def read_space(
    text: str, n_layers: int, source: str, catalogue: Catalogue | None = None
) -> SearchSpace:
    """Read a search space.

    Args:
        text: Content of a YAML file.
        n_layers: Number of layers of the model to search on.
        source: Name of the file, for messages.
        catalogue: What `methods` in the file can name.

    Raises:
        SpaceError: If the text is no YAML or no search space; names file, line and key.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not readable"
        raise SpaceError(f"{source}{line}: not valid YAML: {problem}.") from error
    try:
        parsed = _File.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        path = [p for p in first["loc"] if p not in _TYPE_TAGS]
        message = first["msg"].removeprefix("Value error, ").rstrip(".")
        raise SpaceError(f"{_place(source, root, path)}: {message}.") from error
    dimensions = _of_methods(parsed, catalogue or {}, source, root)
    for name, entry in parsed.hyperparameters.items():
        try:
            dimensions.append(_dimension(name, entry, dimensions, n_layers))
        except SpaceError as error:
            raise SpaceError(
                f"{_place(source, root, ['hyperparameters', name])}: {error}"
            ) from error
    space = SearchSpace(
        name=parsed.name,
        about=" ".join(parsed.about.split()),
        n_layers=n_layers,
        hyperparameters=tuple(dimensions),
    )
    _check_complete(space, f"{_place(source, root, ['hyperparameters'])}")
    return space


def _of_methods(
    parsed: _File, catalogue: Catalogue, source: str, root: yaml.Node | None
) -> list[Hyperparameter]:
    """Return the choice of methods and the own dimensions of each, where a file names methods."""
    if parsed.methods is None:
        return []
    place = _place(source, root, ["methods"])
    names = list(catalogue) if parsed.methods == "all" else parsed.methods
    for name in names:
        if name not in catalogue:
            raise SpaceError(f"{place}: {UnknownNameError('method', name, catalogue)}")
    if not names or "method" in parsed.hyperparameters:
        raise SpaceError(f"{place}: name methods here or in 'hyperparameters', at least one.")
    chosen: list[Hyperparameter] = [Choice(name="method", field="method", choices=tuple(names))]
    return chosen + [dimension for name in names for dimension in catalogue[name]]


_TYPE_TAGS = {"float", "int", "choice", "layer_mask"}


def _dimension(
    name: str, entry: _Entry, before: list[Hyperparameter], n_layers: int
) -> Hyperparameter:
    parents = {h.name: h for h in before}
    for parent, values in entry.when.items():
        if parent not in parents:
            raise SpaceError(f"'when' names '{parent}', which does not stand above it.")
        for value in values:
            if not parents[parent].contains(value):
                raise SpaceError(f"'when' names {value!r}, which '{parent}' never is.")
    common: dict[str, Any] = {
        "name": name,
        "field": entry.sets or name,
        "when": tuple((parent, tuple(values)) for parent, values in entry.when.items()),
    }
    if isinstance(entry, _Float):
        return FloatRange(low=entry.low, high=entry.high, log=entry.log, **common)
    if isinstance(entry, _Int):
        return IntRange(low=entry.low, high=entry.high, log=entry.log, **common)
    if isinstance(entry, _Choice):
        return _choice(entry, common, n_layers)
    return LayerMask(n_layers=n_layers, **common)


def _choice(entry: _Choice, common: dict[str, Any], n_layers: int) -> Choice:
    choices = list(entry.choices)
    if common["field"] == "targets":
        for value in choices:
            expand(str(value))
    if common["field"] == "layers":
        # On a shallow model two shorthands can mean the same layers: keep the first of them.
        by_layers = {resolve(str(v), n_layers): v for v in reversed(choices)}
        choices = [v for v in choices if v in by_layers.values()]
    return Choice(choices=tuple(choices), **common)


def _check_complete(space: SearchSpace, place: str) -> None:
    for method in space.methods:
        fields = [h.field for h in space.hyperparameters if h.active({"method": method})]
        if "targets" not in fields:
            raise SpaceError(f"{place}: the method '{method}' has no active 'targets'.")
        twice = {f for f in fields if fields.count(f) > 1}
        if twice:
            raise SpaceError(f"{place}: '{min(twice)}' is set twice for the method '{method}'.")


def _place(source: str, root: yaml.Node | None, path: list[Any]) -> str:
    """Return "file, line n, key": the deepest node of `path` that exists."""
    if root is None:
        return source
    node, line, found = root, root.start_mark.line + 1, list[str]()
    for key in path:
        child = _child(node, key)
        if child is None:
            found.append(str(key))
            break
        node, line = child
        found.append(str(key))
    return f"{source}, line {line}, key '{'.'.join(found)}'" if found else f"{source}, line {line}"


def _child(node: yaml.Node, key: Any) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == str(key):
                return value, name.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key], node.value[key].start_mark.line + 1
    return None
