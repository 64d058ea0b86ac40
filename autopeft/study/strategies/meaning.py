"""Configurations as numbers that mean the same in every space, for every model and task.

The features of a search (`features.py`) are places in its own space and budget. What an earlier
search learnt is about other places; so both are described by what does not depend on a space.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autopeft.methods.registry import catalogue
from autopeft.space.catalogue import shared_learning_rate
from autopeft.space.configuration import Component, Configuration
from autopeft.space.hyperparameter import Choice

#: Kinds of modules of which a source has seen fewer than this share are another place.
LEAST_KINDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a configuration is, whatever space it was chosen from.

    Attributes:
        flags: Its methods, and the choices of their settings, such as `lora.variant=dora`.
        kinds: The module kinds that it changes.
        numbers: By name: sizes at their place in the range that their method takes, share and
            mean depth of the layers, and logarithms of the multiple of the default learning rate,
            of the adapter parameters as a share of the model's, and of the batch.
    """

    flags: frozenset[str]
    kinds: frozenset[str]
    numbers: dict[str, float]


def meaning(
    configuration: Configuration, adapter_params: int, n_layers: int, base_params: int
) -> Meaning:
    """Describe a configuration.

    Args:
        configuration: The configuration.
        adapter_params: Its adapter parameters.
        n_layers: Layers of the model.
        base_params: Parameters of the model.
    """
    components = configuration.components
    layers = {layer for component in components for layer in component.layers}
    entries = catalogue()
    default = shared_learning_rate(entries[c.method].learning_rate for c in components)
    training = configuration.training
    numbers = {
        "learning rate": math.log10(training.learning_rate / default),
        "adapter parameters": math.log10(max(adapter_params, 1) / base_params),
        "share of the layers": len(layers) / n_layers,
        "depth of the layers": (sum(layers) / max(len(layers), 1) + 0.5) / n_layers,
        "batch": math.log10(training.batch_size),
        "weight decay": training.weight_decay,
        "warm-up": training.warmup_share,
    }
    flags = {component.method for component in components}
    for component in components:
        _describe(component, flags, numbers)
    kinds = frozenset(kind for component in components for kind in component.targets)
    return Meaning(flags=frozenset(flags), kinds=kinds, numbers=numbers)


def _describe(component: Component, flags: set[str], numbers: dict[str, float]) -> None:
    """Add the settings of a component to flags and numbers."""
    domains = catalogue()[component.method].domains
    for name, value in component.params:
        key, domain = f"{component.method}.{name}", domains[name]
        if isinstance(domain, Choice):
            flags.add(f"{key}={value}")
        else:
            numbers[key] = domain.to_unit(value)[0]


class SharedColumns:
    """The columns that some configurations differ in, and rows in [0, 1] of these columns.

    A column that they all agree in says nothing and is left out.
    """

    def __init__(self, known: Sequence[Meaning]) -> None:
        """Take the configurations that something is known of."""
        self._flags = frozenset[str]().union(*(m.flags for m in known))
        self._kinds = frozenset[str]().union(*(m.kinds for m in known))
        common = frozenset.intersection(*(m.flags | m.kinds for m in known))
        self._switches = sorted((self._flags | self._kinds) - common)
        ranges: dict[str, tuple[float, float]] = {}
        for name in sorted({name for m in known for name in m.numbers}):
            seen = [m.numbers[name] for m in known if name in m.numbers]
            if max(seen) > min(seen):
                ranges[name] = min(seen), max(seen)
        self._ranges = ranges

    def knows(self, one: Meaning) -> bool:
        """Tell whether all methods and choices of a configuration were seen, and its places.

        Architectures have different kinds of modules, so half of the kinds are enough.
        """
        seen = len(one.kinds & self._kinds)
        return one.flags <= self._flags and seen >= LEAST_KINDS * len(one.kinds)

    def row(self, one: Meaning) -> NDArray[np.float64]:
        """Return the columns of a configuration, shape (d,).

        Numbers beyond those that were seen are taken for the nearest of them: what happens there
        is not known, and a trend need not go on. Those that a configuration lacks are in the
        middle, as in `features.py`.
        """
        here = one.flags | one.kinds
        values = [float(switch in here) for switch in self._switches]
        for name, (low, high) in self._ranges.items():
            number = one.numbers.get(name)
            place = 0.5 if number is None else (number - low) / (high - low)
            values.append(min(max(place, 0.0), 1.0))
        return np.asarray(values)
