"""YAML to `SearchSpace`: unknown keys refused, mistakes named with file, line and key."""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from autopeft.errors import SpaceError, UnknownNameError
from autopeft.space.catalogue import Catalogue
from autopeft.space.check import check_alone, check_dimension, check_together
from autopeft.space.file import (
    AnyEntry,
    ChoiceEntry,
    FloatEntry,
    HalvingsEntry,
    IntEntry,
    LayerMaskEntry,
    OrderedEntry,
    SpaceFile,
)
from autopeft.space.hyperparameter import (
    Choice,
    FloatRange,
    Hyperparameter,
    IntRange,
    LayerMask,
    Ordered,
)
from autopeft.space.layers import resolve
from autopeft.space.space import SearchSpace
from autopeft.space.targets import expand
from autopeft.space.text import form_mistake, load_yaml, yaml_mistake


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What a space's dimensions depend on: number of layers, width of the residual stream."""

    n_layers: int
    hidden_size: int


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


def read_space(text: str, shape: ModelShape, source: str, catalogue: Catalogue) -> SearchSpace:
    """Read a search space.

    Args:
        text: Content of a YAML file.
        shape: Of the model to search on.
        source: Name of the file, for messages.
        catalogue: The methods that a file can name.

    Raises:
        SpaceError: If the text is no YAML or no search space, or names what a method does not
            have; the message names file, line and key.
    """
    try:
        data = load_yaml(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        line, problem = yaml_mistake(error)
        raise SpaceError(f"{source}{line}: not valid YAML: {problem}.") from error
    try:
        parsed = SpaceFile.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        path = [p for p in first["loc"] if p not in _TYPE_TAGS]
        message = form_mistake(first)
        if not first["loc"] and first["type"] == "model_type":
            message = "these are no keys with values, such as 'name: mine'"
        raise SpaceError(f"{_place(source, root, path)}: {message}.") from error
    dimensions = _from_methods(parsed, catalogue, source, root)
    for name, entry in parsed.hyperparameters.items():
        try:
            dimension = _dimension(name, entry, dimensions, shape)
            check_dimension(dimension, dimensions, parsed.components, catalogue)
        except SpaceError as error:
            place = _place(source, root, ["hyperparameters", name])
            raise SpaceError(f"{place}: {error}") from error
        dimensions.append(dimension)
    space = SearchSpace(
        name=parsed.name,
        about=" ".join(parsed.about.split()),
        n_layers=shape.n_layers,
        hyperparameters=tuple(dimensions),
        components=tuple(parsed.components or ()),
    )
    try:
        check_together(space)
    except SpaceError as error:
        raise SpaceError(f"{_place(source, root, ['hyperparameters'])}: {error}") from error
    return space


def _from_methods(
    parsed: SpaceFile, catalogue: Catalogue, source: str, root: yaml.Node | None
) -> list[Hyperparameter]:
    """Return the choice of methods and the own dimensions of each, where a file names methods."""
    key = "methods" if parsed.methods is not None else "components"
    given = parsed.methods if parsed.methods is not None else parsed.components
    place = _place(source, root, [key])
    alone = [name for name, entry in catalogue.items() if entry.goes_alone]
    names = alone if given == "all" else list(given or [])
    for name in names:
        if name not in catalogue:
            raise SpaceError(f"{place}: {UnknownNameError('method', name, catalogue)}")
    ways = (parsed.methods, parsed.components, parsed.hyperparameters.get("method"))
    if sum(way is not None for way in ways) != 1 or len(set(names)) < len(names):
        raise SpaceError(
            f"{place}: name each method once, in one of 'methods', 'components' and a "
            "hyperparameter 'method'."
        )
    if parsed.methods is None:
        return []
    if not names:
        raise SpaceError(f"{place}: name at least one method.")
    for name in names:
        try:
            check_alone(name, catalogue)
        except SpaceError as error:
            raise SpaceError(f"{place}: {error}") from error
    chosen: list[Hyperparameter] = [Choice(name="method", field="method", choices=tuple(names))]
    return chosen + [dimension for name in names for dimension in catalogue[name].dimensions]


_TYPE_TAGS = {"float", "int", "choice", "ordered", "halvings", "layer_mask"}


def _dimension(
    name: str, entry: AnyEntry, before: list[Hyperparameter], shape: ModelShape
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
    if isinstance(entry, FloatEntry):
        return FloatRange(low=entry.low, high=entry.high, log=entry.log, **common)
    if isinstance(entry, IntEntry):
        return IntRange(low=entry.low, high=entry.high, log=entry.log, **common)
    if isinstance(entry, ChoiceEntry):
        return _choice(entry, common, shape.n_layers)
    if isinstance(entry, OrderedEntry):
        return Ordered(values=tuple(entry.values), **common)
    if isinstance(entry, HalvingsEntry):
        return Ordered(values=_halvings(entry, shape.hidden_size), **common)
    assert isinstance(entry, LayerMaskEntry)
    return LayerMask(n_layers=shape.n_layers, empty=entry.empty, **common)


def _halvings(entry: HalvingsEntry, hidden_size: int) -> tuple[int, ...]:
    """Return 0 and the rising sizes n // 2^i, i < steps, each once."""
    largest = hidden_size if entry.of == "hidden_size" else entry.of
    return tuple(sorted({0, *(largest >> i for i in range(entry.steps))}))


def _choice(entry: ChoiceEntry, common: dict[str, Any], n_layers: int) -> Choice:
    choices = list(entry.choices)
    if common["field"] == "targets":
        for value in choices:
            expand(str(value))
    if common["field"] == "layers":
        # On a shallow model two shorthands can mean the same layers: keep the first of them.
        by_layers = {resolve(str(v), n_layers): v for v in reversed(choices)}
        choices = [v for v in choices if v in by_layers.values()]
    return Choice(choices=tuple(choices), **common)


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
