"""`SearchSpace`: hyperparameters with conditions, read from and written to the unit cube."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from autopeft.errors import SpaceError
from autopeft.space.configuration import (
    TRAINING_FIELDS,
    Component,
    Configuration,
    TrainingParams,
    Value,
)
from autopeft.space.hyperparameter import Assignment, Choice, Hyperparameter
from autopeft.space.layers import resolve
from autopeft.space.targets import expand

#: Fields that are not hyperparameters of a method.
COMPONENT_FIELDS = ("method", "targets", "layers")
LEARNING_RATE = "learning_rate_multiple"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """All configurations that a search may try, for models with `n_layers` layers.

    Attributes:
        name: Name of the space.
        about: One sentence for the user.
        n_layers: Number of layers that layer selections refer to.
        hyperparameters: Dimensions; one is named `method`, and parents come before children.
    """

    name: str
    about: str
    n_layers: int
    hyperparameters: tuple[Hyperparameter, ...]

    @property
    def dimension(self) -> int:
        """Number of unit-cube coordinates."""
        return sum(h.width for h in self.hyperparameters)

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods that can be chosen."""
        return tuple(str(choice) for choice in self._method_choice().choices)

    def restricted_to(self, methods: Sequence[str]) -> "SearchSpace":
        """Return the space with only these methods, without dimensions that none of them use."""
        chosen = tuple(m for m in self.methods if m in methods)
        if not chosen:
            raise SpaceError(f"The space '{self.name}' holds none of {', '.join(methods)}.")
        head = self._method_choice()
        kept: list[Hyperparameter] = []
        for h in self.hyperparameters:
            if h is head:
                kept.append(Choice(name="method", field="method", choices=chosen))
            elif any(h.possible(m) for m in chosen) and _parents(h) <= {k.name for k in kept}:
                kept.append(h)
        return SearchSpace(
            name=self.name, about=self.about, n_layers=self.n_layers, hyperparameters=tuple(kept)
        )

    def decode(self, unit: Sequence[float]) -> Assignment:
        """Return the point at `dimension` coordinates in [0, 1]; inactive ones are ignored."""
        if len(unit) != self.dimension:
            raise ValueError(f"expected {self.dimension} coordinates, got {len(unit)}")
        assignment: Assignment = {}
        for h, start in self._columns():
            if h.active(assignment):
                assignment[h.name] = h.from_unit(unit[start : start + h.width])
        return assignment

    def encode(self, assignment: Mapping[str, Value]) -> list[float]:
        """Return the coordinates of a point; inactive hyperparameters lie at 0.5."""
        unit = [0.5] * self.dimension
        for h, start in self._columns():
            if h.name in assignment:
                unit[start : start + h.width] = h.to_unit(assignment[h.name])
        return unit

    def contains(self, assignment: Mapping[str, Value]) -> bool:
        """Tell whether exactly the active hyperparameters have values, each in its domain."""
        active = {h.name: h for h in self.hyperparameters if h.active(assignment)}
        return set(active) == set(assignment) and all(
            active[name].contains(value) for name, value in assignment.items()
        )

    def completed(self, assignment: Mapping[str, Value], unit: Sequence[float]) -> Assignment:
        """Return `assignment` without inactive values, the missing ones taken from `unit`.

        Used after a change of a parent: children that become active need a value.
        """
        result: Assignment = {}
        for h, start in self._columns():
            if not h.active(result):
                continue
            value = assignment.get(h.name)
            if not h.contains(value):
                value = h.from_unit(unit[start : start + h.width])
            assert value is not None
            result[h.name] = value
        return result

    def configuration(
        self,
        assignment: Mapping[str, Value],
        default_learning_rates: Mapping[str, float],
        defaults: Mapping[str, Value],
    ) -> Configuration:
        """Return the configuration that a point stands for.

        Args:
            assignment: A point of the space.
            default_learning_rates: By method; the searched multiple scales them.
            defaults: Fields of `TrainingParams` where the space does not choose them.
        """
        by_field = {h.field: assignment[h.name] for h in self._active(assignment)}
        method = str(by_field["method"])
        layers = by_field.get("layers", "all")
        chosen = {k: v for k, v in by_field.items() if k in TRAINING_FIELDS}
        training = {**defaults, **chosen}
        multiple = float(by_field.get(LEARNING_RATE, 1.0))
        training["learning_rate"] = float(f"{default_learning_rates[method] * multiple:.6g}")
        component = Component(
            method=method,
            targets=expand(str(by_field["targets"])),
            layers=self._layers(str(layers)),
            params=tuple((k, v) for k, v in by_field.items() if _is_method_param(k)),
        )
        return Configuration(components=(component,), training=TrainingParams(**training))  # type: ignore[arg-type]  # fields checked by the schema

    def log10_size(self) -> float:
        """Return log10 of the number of points, each continuous dimension counted as 100."""
        return math.log10(sum(self._count_for({"method": m}) for m in self.methods))

    def _count_for(self, chosen: Assignment) -> float:
        count = 1.0
        for h in self.hyperparameters:
            if h.name != "method" and h.active(chosen):
                count *= min(h.size, 100.0) if math.isinf(h.size) else h.size
        return count

    def _layers(self, value: str) -> tuple[int, ...]:
        if len(value) == self.n_layers and set(value) <= {"0", "1"}:
            return tuple(i for i, bit in enumerate(value) if bit == "1")
        return resolve(value, self.n_layers)

    def _active(self, assignment: Mapping[str, Value]) -> Iterator[Hyperparameter]:
        return (h for h in self.hyperparameters if h.name in assignment)

    def _columns(self) -> Iterator[tuple[Hyperparameter, int]]:
        start = 0
        for h in self.hyperparameters:
            yield h, start
            start += h.width

    def _method_choice(self) -> Choice:
        for h in self.hyperparameters:
            if h.name == "method" and isinstance(h, Choice):
                return h
        raise SpaceError(f"The space '{self.name}' has no choice named 'method'.")


def _parents(h: Hyperparameter) -> set[str]:
    return {parent for parent, _ in h.when}


def _is_method_param(name: str) -> bool:
    return name not in COMPONENT_FIELDS and name != LEARNING_RATE and name not in TRAINING_FIELDS
