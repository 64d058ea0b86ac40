"""`SearchSpace`: hyperparameters with conditions, read from and written to the unit cube."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from autopeft.errors import SpaceError
from autopeft.space.catalogue import Catalogue, CatalogueEntry, shared_learning_rate
from autopeft.space.configuration import (
    TRAINING_FIELDS,
    Component,
    Configuration,
    TrainingParams,
    Value,
)
from autopeft.space.hyperparameter import Assignment, Choice, Hyperparameter, Ordered
from autopeft.space.layers import resolve
from autopeft.space.targets import expand

#: Fields that are not hyperparameters of a method.
COMPONENT_FIELDS = ("method", "targets", "layers")
LEARNING_RATE = "learning_rate_multiple"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """All configurations that a search may try, for models with `n_layers` layers.

    Either every point is one method, chosen by the dimension `method`; or all points are made of
    the same `components`, each of which a point can do without.

    Attributes:
        name: Name of the space.
        about: One sentence for the user.
        n_layers: Number of layers that layer selections refer to.
        hyperparameters: Dimensions, parents before children. One is named `method`, or those of
            the components set fields such as `prefix.length`.
        components: Methods that go together in every point. One with a size of 0 or without
            layers is left out of a point; a point without any trains the head alone.
    """

    name: str
    about: str
    n_layers: int
    hyperparameters: tuple[Hyperparameter, ...]
    components: tuple[str, ...] = ()

    @property
    def dimension(self) -> int:
        """Number of unit-cube coordinates."""
        return sum(h.width for h in self.hyperparameters)

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods that can be chosen, or that go together."""
        return self.components or tuple(str(choice) for choice in self._method_choice().choices)

    def restricted_to(self, methods: Sequence[str]) -> "SearchSpace":
        """Return the space with only these methods, without dimensions that none of them use.

        Raises:
            SpaceError: If the space lacks one of them.
        """
        if missing := [m for m in methods if m not in self.methods]:
            raise SpaceError(
                f"The space '{self.name}' does not hold {', '.join(missing)}, but "
                f"{', '.join(self.methods)}: choose among these, or another --space."
            )
        chosen = tuple(m for m in self.methods if m in methods)
        if self.components:
            gone = set(self.components) - set(chosen)
            own = tuple(h for h in self.hyperparameters if component_of(h) not in gone)
            return replace(self, hyperparameters=own, components=chosen)
        head = self._method_choice()
        kept: list[Hyperparameter] = []
        for h in self.hyperparameters:
            if h is head:
                kept.append(Choice(name="method", field="method", choices=chosen))
            elif any(h.possible(m) for m in chosen) and _parents(h) <= {k.name for k in kept}:
                kept.append(h)
        return replace(self, hyperparameters=tuple(kept))

    def columns(self) -> Iterator[tuple[Hyperparameter, int]]:
        """Yield each hyperparameter with the first of its coordinates."""
        start = 0
        for h in self.hyperparameters:
            yield h, start
            start += h.width

    def decode(self, unit: Sequence[float]) -> Assignment:
        """Return the point at `dimension` coordinates in [0, 1]; inactive ones are ignored."""
        if len(unit) != self.dimension:
            raise ValueError(f"expected {self.dimension} coordinates, got {len(unit)}")
        assignment: Assignment = {}
        for h, start in self.columns():
            if h.active(assignment):
                assignment[h.name] = h.from_unit(unit[start : start + h.width])
        return assignment

    def encode(self, assignment: Mapping[str, Value]) -> list[float]:
        """Return the coordinates of a point; inactive hyperparameters lie at 0.5."""
        unit = [0.5] * self.dimension
        for h, start in self.columns():
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
        for h, start in self.columns():
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
        catalogue: Catalogue,
        defaults: Mapping[str, Value],
    ) -> Configuration:
        """Return the configuration that a point stands for.

        Args:
            assignment: A point of the space.
            catalogue: The methods; a searched multiple scales their learning rates.
            defaults: Fields of `TrainingParams` where the space does not choose them.
        """
        by_field = {h.field: assignment[h.name] for h in self._active(assignment)}
        names = self.components or (str(by_field["method"]),)
        made = [self._component(name, by_field, catalogue[name]) for name in names]
        components = tuple(component for component in made if component is not None)
        rate = shared_learning_rate(catalogue[c.method].learning_rate for c in components)
        multiple = float(by_field.get(LEARNING_RATE, 1.0))
        chosen = {k: v for k, v in by_field.items() if k in TRAINING_FIELDS}
        training = {"learning_rate": float(f"{rate * multiple:.6g}"), **defaults, **chosen}
        return Configuration(components=components, training=TrainingParams(**training))  # type: ignore[arg-type]  # fields checked by the schema

    def _component(
        self, method: str, by_field: Mapping[str, Value], entry: CatalogueEntry
    ) -> Component | None:
        """Return a component, `None` where a size is 0 or it has no layers."""
        fields = {field: value for field, value in by_field.items() if "." not in field}
        mark = f"{method}."
        own = {f.removeprefix(mark): v for f, v in by_field.items() if f.startswith(mark)}
        fields |= own
        layers = self._layers(str(fields.get("layers", "all")))
        if self.components and (not layers or _is_off(own, entry)):
            return None
        targets = fields.get("targets")
        return Component(
            method=method,
            targets=expand(entry.targets if targets is None else str(targets)),
            layers=layers,
            params=tuple((k, v) for k, v in fields.items() if is_method_param(k)),
        )

    def n_points(self, continuous: float = math.inf) -> float:
        """Return the number of points, each continuous dimension counted as `continuous`."""
        parents = {parent for h in self.hyperparameters for parent, _ in h.when}
        return self._count(0, {}, parents, continuous)

    def _count(self, index: int, chosen: Assignment, parents: set[str], continuous: float) -> float:
        if index == len(self.hyperparameters):
            return 1.0
        h = self.hyperparameters[index]
        if not h.active(chosen):
            return self._count(index + 1, chosen, parents, continuous)
        if h.name in parents and isinstance(h, Choice | Ordered):
            values = h.choices if isinstance(h, Choice) else h.values
            return sum(
                self._count(index + 1, {**chosen, h.name: value}, parents, continuous)
                for value in values
            )
        size = continuous if math.isinf(h.size) else h.size
        return size * self._count(index + 1, chosen, parents, continuous)

    def log10_size(self) -> float:
        """Return log10 of the number of points, each continuous dimension counted as 100."""
        return math.log10(self.n_points(continuous=100.0))

    def _layers(self, value: str) -> tuple[int, ...]:
        if len(value) == self.n_layers and set(value) <= {"0", "1"}:
            return tuple(i for i, bit in enumerate(value) if bit == "1")
        return resolve(value, self.n_layers)

    def _active(self, assignment: Mapping[str, Value]) -> Iterator[Hyperparameter]:
        return (h for h in self.hyperparameters if h.name in assignment)

    def _method_choice(self) -> Choice:
        for h in self.hyperparameters:
            if h.name == "method" and isinstance(h, Choice):
                return h
        raise SpaceError(f"The space '{self.name}' has no choice named 'method'.")


def _parents(h: Hyperparameter) -> set[str]:
    return {parent for parent, _ in h.when}


def _is_off(own: Mapping[str, Value], entry: CatalogueEntry) -> bool:
    """Tell whether a field is 0 although the method takes no 0 there, as the width of a network."""
    return any(
        type(value) is int and value == 0 and not entry.domains[field].contains(value)
        for field, value in own.items()
        if field in entry.domains
    )


def component_of(h: Hyperparameter) -> str | None:
    """Return the component whose field a dimension sets, `None` if it sets one of all."""
    component, dot, _ = h.field.rpartition(".")
    return component if dot else None


def is_method_param(field: str) -> bool:
    """Tell whether a field without its component is a hyperparameter of a method."""
    return field not in COMPONENT_FIELDS and field != LEARNING_RATE and field not in TRAINING_FIELDS
