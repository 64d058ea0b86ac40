"""Objectives: the only place that turns a sign around or takes a logarithm."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from autopeft.cost.cost import Cost
from autopeft.errors import RequestError, UnknownNameError
from autopeft.trials.trial import TrialRecord, TrialStatus

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """Something to improve.

    Attributes:
        name: `quality`, `params` or `memory`.
        direction: Which way is better.
        label: Name for axes and tables.
    """

    name: str
    direction: Direction
    label: str

    @property
    def known(self) -> bool:
        """Whether the value is computed before the trial."""
        return self.name != "quality"

    @property
    def slow(self) -> bool:
        """Whether the value of a point takes a pass over the model."""
        return self.name == "memory"

    def cost(self, cost: Cost) -> float:
        """Return the value of a known objective."""
        return float(cost.adapter_params if self.name == "params" else cost.peak_memory_bytes)

    def value(self, record: TrialRecord) -> float:
        """Return the natural value of a trial; NaN for a quality that was not measured."""
        if self.known:
            return self.cost(record.cost)
        return math.nan if record.quality is None else record.quality

    def minimised(self, value: float) -> float:
        """Return a value on the scale on which trials are compared: smaller is better.

        Costs are compared by their logarithms: twice as many parameters weigh the same anywhere.
        """
        return math.log10(max(value, 1.0)) if self.known else -value


_ALL = {
    "quality": Objective(name="quality", direction="maximize", label="quality"),
    "params": Objective(name="params", direction="minimize", label="adapter parameters"),
    "memory": Objective(name="memory", direction="minimize", label="peak training memory"),
}


def parse_objectives(text: str) -> tuple[Objective, ...]:
    """Read objectives such as `quality,params`.

    Raises:
        UnknownNameError: If a name is unknown.
        RequestError: If quality is missing, a name stands twice, or there is no other.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in _ALL:
            hint = "Quality is maximised and costs are minimised: a name needs no direction."
            raise UnknownNameError("objective", name, _ALL, hint)
    if "quality" not in names or len(set(names)) < len(names) or len(names) < 2:
        raise RequestError(
            f"The objectives '{text}' must be 'quality' and at least one of 'params' and "
            "'memory', each once."
        )
    return tuple(_ALL[name] for name in sorted(names, key=list(_ALL).index))


#: Where the reference lies on the scaled axes of quality and of costs.
QUALITY_POSITION, COST_POSITION = 1.0, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferencePoint:
    """The corner that hypervolume is measured from, fixed when a study starts.

    On the comparison scale each objective is mapped so that 0 is the best that is possible (a
    quality of 1, the smallest configuration, the memory of training the head alone) and 1 the
    worst of interest (the quality of a guess that knows only the class shares, the whole budget).
    The reference lies at 1 for quality and at 2 for costs: one half of the volume along a cost
    then rewards the best quality within the whole budget, the other half the qualities that
    smaller budgets reach.

    Attributes:
        best: Comparison-scale value of 0, by objective.
        worst: Comparison-scale value of 1, by objective.
        position: The reference on the scaled axes, by objective.
    """

    best: tuple[float, ...]
    worst: tuple[float, ...]
    position: tuple[float, ...]

    @classmethod
    def between(
        cls, objectives: Sequence[Objective], best: Sequence[float], worst: Sequence[float]
    ) -> Self:
        """Build a reference from natural values."""
        pairs = zip(objectives, best, worst, strict=True)
        scaled = [(o.minimised(b), o.minimised(w)) for o, b, w in pairs]
        return cls(
            best=tuple(b for b, _ in scaled),
            # Objectives without any range (one configuration fits) get a unit range.
            worst=tuple(w if w > b else b + 1.0 for b, w in scaled),
            position=tuple(COST_POSITION if o.known else QUALITY_POSITION for o in objectives),
        )

    def scaled(self, values: Sequence[float]) -> NDArray[np.float64]:
        """Map comparison-scale values to the scale of the reference; smaller is better."""
        best, worst = np.asarray(self.best), np.asarray(self.worst)
        result: NDArray[np.float64] = (np.asarray(values, dtype=float) - best) / (worst - best)
        return result

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `from_dict` reads back."""
        return {name: list(getattr(self, name)) for name in ("best", "worst", "position")}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild a reference from plain data."""
        return cls(**{name: tuple(data[name]) for name in ("best", "worst", "position")})


def compared(record: TrialRecord, objectives: Sequence[Objective]) -> list[float]:
    """Return a trial's values on the comparison scale: smaller is better in each."""
    return [o.minimised(o.value(record)) for o in objectives]


def counts_for_front(record: TrialRecord) -> bool:
    """Tell whether a trial may be on the front: complete, at full fidelity, with a quality."""
    return record.status is TrialStatus.COMPLETE and record.quality is not None
