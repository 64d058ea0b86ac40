"""Trials as rows of facts that all of them have, whatever their method: what an analysis is about.

The dimensions of a space are conditional: a trial of LoRA has a rank, one of BitFit none. Here
every trial has the same columns, so that they can be compared at all.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autopeft.methods.registry import get_method
from autopeft.space.catalogue import shared_learning_rate
from autopeft.trials.trial import TrialRecord

Fact = float | bool | str
Facts = Mapping[str, Fact]
Array = NDArray[np.float64]

#: Columns whose numbers are logarithms.
LOGARITHMIC = ("learning_rate_multiple", "adapter_params")
_PLACES = {"attention": "attn", "feed_forward": "mlp", "normalisations": "norm"}


def facts_of(record: TrialRecord, n_layers: int) -> dict[str, Fact]:
    """Return the facts of a trial.

    They are the method, the multiple of its default learning rate and the adapter parameters (as
    decimal logarithms), the share of the layers, their mean depth in 0-1, and whether attention,
    feed-forward blocks and normalisations are changed.
    """
    configuration = record.spec.configuration
    parts = configuration.components
    default = shared_learning_rate(get_method(c.method).info.default_learning_rate for c in parts)
    layers = {layer for component in parts for layer in component.layers}
    kinds = {kind.partition(".")[0] for component in parts for kind in component.targets}
    places = {name: kind in kinds for name, kind in _PLACES.items()}
    return {
        "method": configuration.method,
        "learning_rate_multiple": math.log10(configuration.training.learning_rate / default),
        "adapter_params": math.log10(max(record.cost.adapter_params, 1)),
        "layers": len(layers) / n_layers,
        "mean_depth": (sum(layers) / len(layers) + 0.5) / n_layers if layers else 0.5,
        **places,
    }


def varied(rows: Sequence[Facts]) -> list[str]:
    """Return the names of the facts that are not the same in all rows, numbers to six digits."""
    return [name for name in rows[0] if len({_rounded(row[name]) for row in rows}) > 1]


def natural(name: str, value: float) -> float:
    """Return a number of a column as people write it."""
    return float(10**value) if name in LOGARITHMIC else value


def _rounded(value: Fact) -> Fact:
    return f"{value:.6g}" if isinstance(value, float) else value


@dataclass(frozen=True, slots=True)
class Encoder:
    """Facts as numbers in 0-1 for a surrogate: numbers by their range, methods as 0 and 1.

    Attributes:
        names: Facts that are encoded.
        low: Lowest number of each column.
        high: Highest number of each column.
        methods: Values that the method has.
    """

    names: tuple[str, ...]
    low: Mapping[str, float]
    high: Mapping[str, float]
    methods: tuple[str, ...]

    @classmethod
    def of(cls, rows: Sequence[Facts]) -> "Encoder":
        """Return an encoder for rows."""
        names = tuple(varied(rows))
        columns = {n: [float(row[n]) for row in rows] for n in names if n != "method"}
        return cls(
            names,
            {name: min(column) for name, column in columns.items()},
            {name: max(column) for name, column in columns.items()},
            tuple(sorted({str(row["method"]) for row in rows})),
        )

    def encode(self, rows: Sequence[Facts]) -> Array:
        """Return rows as numbers, shape (n, d)."""
        return np.array([self._row(row) for row in rows], dtype=float)

    def _row(self, row: Facts) -> list[float]:
        values: list[float] = []
        for name in self.names:
            if name == "method":
                values += [float(row[name] == method) for method in self.methods]
            else:
                low, high = self.low[name], self.high[name]
                values.append((float(row[name]) - low) / (high - low))
        return values
