"""Which layers a component changes: shorthands, and the layer numbers they stand for."""

import math
import re
from collections.abc import Sequence

from autopeft.errors import SpaceError

_SHORTHAND = re.compile(
    r"(?P<what>first|last|every|spread):(?P<count>\d+)(?:/(?P<of>\d+))?"
    r"|(?P<start>\d+)-(?P<stop>\d+)"
)
HELP = "use 'all', 'last:2', 'first:1/3', 'every:2', 'spread:3', '0-5' or a list of layer numbers"


def resolve(selection: str | Sequence[int], n_layers: int) -> tuple[int, ...]:
    """Return the sorted layer numbers that `selection` stands for in a model of `n_layers`.

    Args:
        selection: `all`; `first:k`, `last:k` or `spread:k` (k layers, or a share `a/b` of them,
            rounded up; spread puts them at equal distances, the last layer included);
            `every:k` (counted back from the last layer); `i-j` (both included); or layer
            numbers from 0.
        n_layers: Number of layers of the model, at least 1.

    Raises:
        SpaceError: If the selection cannot be read, is empty, or leaves the model.
    """
    if not isinstance(selection, str):
        return _checked(sorted(set(selection)), n_layers)
    if selection == "all":
        return tuple(range(n_layers))
    match = _SHORTHAND.fullmatch(selection)
    if match is None:
        raise SpaceError(f"Cannot read the layers '{selection}': {HELP}.")
    if match["start"] is not None:
        return _checked(list(range(int(match["start"]), int(match["stop"]) + 1)), n_layers)
    count = int(match["count"])
    if match["of"] is not None:
        if int(match["of"]) == 0 or match["what"] == "every":
            raise SpaceError(f"Cannot read the layers '{selection}': {HELP}.")
        count = math.ceil(n_layers * count / int(match["of"]))
    if count == 0:
        raise SpaceError(f"The layers '{selection}' select nothing: {HELP}.")
    return _selected(match["what"], min(count, n_layers), n_layers)


def _selected(what: str, count: int, n_layers: int) -> tuple[int, ...]:
    if what == "first":
        return tuple(range(count))
    if what == "last":
        return tuple(range(n_layers - count, n_layers))
    if what == "every":
        return tuple(range((n_layers - 1) % count, n_layers, count))
    return tuple(sorted({round((i + 1) * n_layers / count) - 1 for i in range(count)}))


def _checked(numbers: list[int], n_layers: int) -> tuple[int, ...]:
    if not numbers:
        raise SpaceError(f"A component needs at least one layer: {HELP}.")
    if numbers[0] < 0 or numbers[-1] >= n_layers:
        raise SpaceError(
            f"Layer {numbers[-1] if numbers[0] >= 0 else numbers[0]} does not exist: "
            f"the model has layers 0 to {n_layers - 1}."
        )
    return tuple(numbers)


def describe(numbers: Sequence[int], n_layers: int) -> str:
    """Return a short name for layer numbers, the inverse of `resolve` for common cases."""
    chosen = tuple(numbers)
    if chosen == tuple(range(n_layers)):
        return "all"
    if chosen == tuple(range(n_layers - len(chosen), n_layers)):
        return f"last {len(chosen)}"
    return ",".join(str(number) for number in chosen)
