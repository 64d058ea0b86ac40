"""How a point of a space is varied: its sizes, the corners of the space, steps around it."""

import numpy as np

from autopeft.methods.density import MASK_FIELDS
from autopeft.space.configuration import TRAINING_FIELDS, Value
from autopeft.space.hyperparameter import (
    Choice,
    FloatRange,
    Hyperparameter,
    IntRange,
    LayerMask,
    Ordered,
)
from autopeft.space.space import LEARNING_RATE, is_method_param

#: Fields that no parameter count depends on.
WITHOUT_COST = {LEARNING_RATE, *TRAINING_FIELDS, *MASK_FIELDS} - {"density"}


def is_size(h: Hyperparameter) -> bool:
    """Tell whether a hyperparameter is a size: a number that a method takes."""
    field = h.field.rpartition(".")[2]
    return is_method_param(field) and isinstance(h, FloatRange | IntRange | Ordered)


def corner_coordinates(h: Hyperparameter, method: str, u: float) -> list[tuple[float, ...]]:
    """Return the coordinates that a hyperparameter takes in the corners of a method.

    Args:
        h: The hyperparameter.
        method: The method.
        u: End of the ranges of sizes, 0 or 1.
    """
    if h.name == "method":
        return [h.to_unit(method)]
    if not h.possible(method) or h.field in WITHOUT_COST:
        return [(0.5,) * h.width]
    if isinstance(h, Choice):
        return [h.to_unit(choice) for choice in h.choices]
    if isinstance(h, LayerMask):
        if u == 1.0:
            last = [tuple(float(j >= i) for j in range(h.width)) for i in range(h.width)]
            return last if h.empty else last[:1]
        lowest = [tuple(float(i == j) for j in range(h.width)) for i in range(h.width)]
        return [(0.0,) * h.width] if h.empty else lowest
    return [(u,)]


def steps_around(h: Hyperparameter, value: Value, rng: np.random.Generator) -> list[Value]:
    """Return nearby values: other choices, one flipped switch, steps up and down, the ends."""
    if isinstance(h, Choice):
        return [choice for choice in h.choices if choice != value]
    if isinstance(h, LayerMask):
        bits = str(value)
        flipped = [
            bits[:i] + ("0" if bits[i] == "1" else "1") + bits[i + 1 :] for i in range(h.width)
        ]
        return [mask for mask in flipped if h.contains(mask)]
    if isinstance(h, Ordered):
        index = h.values.index(value)
        near = [h.values[i] for i in (index - 1, index + 1) if 0 <= i < len(h.values)]
        return [*near, *(v for v in (h.values[0], h.values[-1]) if v not in {value, *near})]
    here = h.to_unit(value)[0]
    steps = (0.05, 0.2) * rng.uniform(0.5, 1.5, size=2)
    values = [h.from_unit([min(max(here + sign * s, 0.0), 1.0)]) for s in steps for sign in (-1, 1)]
    if isinstance(h, IntRange):
        values += [int(value) - 1, int(value) + 1]
    return [v for v in dict.fromkeys(values) if v != value and h.contains(v)]
