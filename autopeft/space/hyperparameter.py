"""The dimensions of a search space: their domains, and when they are active.

Every hyperparameter reads and writes the unit cube: `from_unit` maps coordinates in [0, 1] to a
value, `to_unit` returns the centre of the value's cell, so that `from_unit(to_unit(v)) == v`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autopeft.space.configuration import Value

#: Values of the active hyperparameters of one point, by name. A layer mask's value is its text
#: of zeros and ones, such as "110011".
Assignment = dict[str, Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameter(ABC):
    """One dimension.

    Attributes:
        name: Unique within the space.
        field: What it sets: `method`, `targets`, `layers`, `learning_rate_multiple`, a field of
            `TrainingParams`, or a hyperparameter of the method.
        when: Active only if, for each entry, the named hyperparameter has one of the values.
    """

    name: str
    field: str
    when: tuple[tuple[str, tuple[Value, ...]], ...] = ()

    def active(self, assignment: Mapping[str, Value]) -> bool:
        """Tell whether the hyperparameter is active beside the values in `assignment`."""
        # A loop: this is asked a hundred thousand times for a point, and `all` takes twice as long.
        for parent, values in self.when:  # noqa: SIM110
            if assignment.get(parent) not in values:
                return False
        return True

    def possible(self, method: str) -> bool:
        """Tell whether some values of its other parents make it active for a method."""
        return all(method in values for parent, values in self.when if parent == "method")

    @property
    @abstractmethod
    def width(self) -> int:
        """Number of unit-cube coordinates."""

    @property
    @abstractmethod
    def size(self) -> float:
        """Number of distinct values; infinite for a continuous one."""

    @abstractmethod
    def from_unit(self, unit: Sequence[float]) -> Value:
        """Return the value at `width` coordinates in [0, 1]."""

    @abstractmethod
    def to_unit(self, value: Value) -> tuple[float, ...]:
        """Return the `width` coordinates of a value."""

    @abstractmethod
    def contains(self, value: object) -> bool:
        """Tell whether `value` lies in the domain."""

    @abstractmethod
    def describe(self) -> str:
        """Return the domain in a few words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatRange(Hyperparameter):
    """A number in [low, high], on a linear or logarithmic scale."""

    low: float
    high: float
    log: bool = False

    @property
    def width(self) -> int:
        return 1

    @property
    def size(self) -> float:
        return math.inf

    def from_unit(self, unit: Sequence[float]) -> float:
        u = min(max(unit[0], 0.0), 1.0)
        if self.log:
            value = self.low * (self.high / self.low) ** u
        else:
            value = self.low + u * (self.high - self.low)
        # Six significant digits: what is read in a table is what was trained.
        return min(max(float(f"{value:.6g}"), self.low), self.high)

    def to_unit(self, value: Value) -> tuple[float, ...]:
        number = float(value)
        if self.log:
            return (math.log(number / self.low) / math.log(self.high / self.low),)
        return ((number - self.low) / (self.high - self.low),)

    def contains(self, value: object) -> bool:
        return isinstance(value, float | int) and self.low <= value <= self.high

    def describe(self) -> str:
        return f"{self.low:g} to {self.high:g}{', log' if self.log else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class IntRange(Hyperparameter):
    """An integer in low to high; on a logarithmic scale the cells have equal ratios."""

    low: int
    high: int
    log: bool = False

    @property
    def width(self) -> int:
        return 1

    @property
    def size(self) -> float:
        return self.high - self.low + 1

    def from_unit(self, unit: Sequence[float]) -> int:
        u = min(max(unit[0], 0.0), 1.0)
        if self.log:
            value = self.low * ((self.high + 1) / self.low) ** u
        else:
            value = self.low + u * (self.high + 1 - self.low)
        return min(max(int(value), self.low), self.high)

    def to_unit(self, value: Value) -> tuple[float, ...]:
        # The middle of the value's cell [value, value + 1).
        centre = float(value) + 0.5
        if self.log:
            return (math.log(centre / self.low) / math.log((self.high + 1) / self.low),)
        return ((centre - self.low) / (self.high + 1 - self.low),)

    def contains(self, value: object) -> bool:
        return (
            isinstance(value, int)
            and not isinstance(value, bool)
            and self.low <= value <= self.high
        )

    def describe(self) -> str:
        return f"{self.low} to {self.high}{', log' if self.log else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(Hyperparameter):
    """One of a few values without an order."""

    choices: tuple[Value, ...]

    @property
    def width(self) -> int:
        return 1

    @property
    def size(self) -> float:
        return len(self.choices)

    def from_unit(self, unit: Sequence[float]) -> Value:
        index = int(min(max(unit[0], 0.0), 1.0) * len(self.choices))
        return self.choices[min(index, len(self.choices) - 1)]

    def to_unit(self, value: Value) -> tuple[float, ...]:
        return ((self.choices.index(value) + 0.5) / len(self.choices),)

    def contains(self, value: object) -> bool:
        return value in self.choices

    def describe(self) -> str:
        return ", ".join(str(choice) for choice in self.choices)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered(Hyperparameter):
    """One of a few rising numbers."""

    values: tuple[int | float, ...]

    @property
    def width(self) -> int:
        return 1

    @property
    def size(self) -> float:
        return len(self.values)

    def from_unit(self, unit: Sequence[float]) -> int | float:
        index = int(min(max(unit[0], 0.0), 1.0) * len(self.values))
        return self.values[min(index, len(self.values) - 1)]

    def to_unit(self, value: Value) -> tuple[float, ...]:
        return ((self.values.index(value) + 0.5) / len(self.values),)

    def contains(self, value: object) -> bool:
        return value in self.values and not isinstance(value, bool)

    def describe(self) -> str:
        return ", ".join(f"{value:g}" for value in self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerMask(Hyperparameter):
    """A switch a layer; at least one of them is on, unless it may be `empty`."""

    n_layers: int
    empty: bool = False

    @property
    def width(self) -> int:
        return self.n_layers

    @property
    def size(self) -> float:
        return float(2**self.n_layers - (not self.empty))

    def from_unit(self, unit: Sequence[float]) -> str:
        bits = ["1" if u >= 0.5 else "0" for u in unit]
        if "1" not in bits and not self.empty:
            # Nothing selected is not a point of the space: take the layer nearest to its switch.
            bits[max(range(self.n_layers), key=lambda i: unit[i])] = "1"
        return "".join(bits)

    def to_unit(self, value: Value) -> tuple[float, ...]:
        return tuple(0.75 if bit == "1" else 0.25 for bit in str(value))

    def contains(self, value: object) -> bool:
        return (
            isinstance(value, str)
            and len(value) == self.n_layers
            and set(value) <= {"0", "1"}
            and (self.empty or "1" in value)
        )

    def describe(self) -> str:
        return f"a switch for each of {self.n_layers} layers"
