"""Which layers a component changes: shorthands, and the layer numbers they stand for."""

import math
import re
from collections.abc import Sequence

from autopeft.errors import SpaceError

_COUNTED = re.compile(r"(?P<what>first|last|top|every|spread):(?P<count>\d+)(?:/(?P<of>\d+))?")
_RANGE = re.compile(r"(?:range:)?(\d+)-(\d+)")
_MASK = re.compile(r"mask:([01]+)")
HELP = (
    "use 'all', 'last:2', 'first:1/3', 'top:2', 'every:2', 'spread:3', 'range:0-5', '0-5', "
    "'mask:0110' or a list of layer numbers"
)


def resolve(selection: str | Sequence[object], n_layers: int) -> tuple[int, ...]:
    """Return the sorted layer numbers that `selection` stands for in a model of `n_layers`.

    Args:
        selection: `all`; `first:k`, `last:k` or `spread:k` (k layers, or a share `a/b` of them,
            rounded up; spread puts them at equal distances, the last layer included); `top:k`,
            the k layers nearest the output, which is `last:k`; `every:k` (counted back from the
            last layer); `range:i-j` or `i-j` (both included); `mask:0110`, a digit for each
            layer of the model; or layer numbers from 0.
        n_layers: Number of layers of the model, at least 1.

    Raises:
        SpaceError: If the selection cannot be read, is empty, or leaves the model.
    """
    if not isinstance(selection, str):
        return _checked(_whole_numbers(selection), selection, n_layers)
    if selection == "all":
        return tuple(range(n_layers))
    if match := _MASK.fullmatch(selection):
        return _masked(match[1], selection, n_layers)
    if match := _RANGE.fullmatch(selection):
        return _checked(list(range(int(match[1]), int(match[2]) + 1)), selection, n_layers)
    if match := _COUNTED.fullmatch(selection):
        return _counted(match, n_layers)
    raise SpaceError(f"Cannot read the layers '{selection}': {HELP}.")


def _whole_numbers(listed: Sequence[object]) -> list[int]:
    numbers: set[int] = set()
    for number in listed:
        if not isinstance(number, int) or isinstance(number, bool):
            raise SpaceError(f"The layer {number!r} is not a whole number: {HELP}.")
        numbers.add(number)
    return sorted(numbers)


def _counted(match: re.Match[str], n_layers: int) -> tuple[int, ...]:
    what, count = match["what"], int(match["count"])
    if match["of"] is not None:
        if int(match["of"]) == 0 or what == "every":
            raise SpaceError(f"Cannot read the layers '{match[0]}': {HELP}.")
        count = math.ceil(n_layers * count / int(match["of"]))
    if count == 0:
        raise _nothing(match[0])
    count = min(count, n_layers)
    if what == "first":
        return tuple(range(count))
    if what in {"last", "top"}:
        return tuple(range(n_layers - count, n_layers))
    if what == "every":
        return tuple(range((n_layers - 1) % count, n_layers, count))
    return tuple(sorted({round((i + 1) * n_layers / count) - 1 for i in range(count)}))


def _masked(digits: str, selection: str, n_layers: int) -> tuple[int, ...]:
    if len(digits) != n_layers:
        raise SpaceError(
            f"The layer mask '{selection}' has {len(digits)} digits: it needs one for each of the "
            f"model's {n_layers} layers."
        )
    numbers = [number for number, digit in enumerate(digits) if digit == "1"]
    return _checked(numbers, selection, n_layers)


def _checked(
    numbers: list[int], selection: str | Sequence[object], n_layers: int
) -> tuple[int, ...]:
    if not numbers:
        raise _nothing(selection)
    outside = [number for number in numbers if not 0 <= number < n_layers]
    if outside:
        raise SpaceError(
            f"Layer {outside[0]} does not exist: the model has layers 0 to {n_layers - 1}."
        )
    return tuple(numbers)


def _nothing(selection: str | Sequence[object]) -> SpaceError:
    shown = selection if isinstance(selection, str) else list(selection)
    return SpaceError(f"The layers '{shown}' select nothing: {HELP}.")


def describe(numbers: Sequence[int], n_layers: int) -> str:
    """Return a short name for layer numbers, the inverse of `resolve` for common cases."""
    chosen = tuple(numbers)
    if chosen == tuple(range(n_layers)):
        return "all"
    if chosen == tuple(range(n_layers - len(chosen), n_layers)):
        return f"last {len(chosen)}"
    return ",".join(str(number) for number in chosen)
