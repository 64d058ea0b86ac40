"""Derived points: adapters made of a trial's weights after the search, and measured again."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from autopeft.errors import StudyError

#: How an adapter was made of a trial's: compressed, or as a mean of a training's checkpoints.
Way = Literal["ternary", "int8", "mwa"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedPoint:
    """What came out of an adapter that was made of a trial's weights, without any training.

    It is measured after the search, on the rows that the search chose by: it is shown beside the
    trials, and counts neither for the front nor for hypervolume or the picks.

    Attributes:
        trial: Number of the trial.
        way: How it was made.
        settings: With which settings, by name.
        metric: Name of the quality.
        quality: Measured with the derived adapter.
        quality_before: Measured with the adapter as it was trained, in the same way.
        eval_loss: Mean loss on the validation rows with the derived adapter.
        adapter_params: Parameters of the adapter, the head left out; of a ternary one the entries
            that are not zero, as densities are counted too.
        params_before: Adapter parameters of the trial.
        bytes: Size of the smallest file of it, the head in it.
        bytes_before: Size of the file as it was trained.
    """

    trial: int
    way: Way
    settings: Mapping[str, float]
    metric: str
    quality: float
    quality_before: float
    eval_loss: float
    adapter_params: int
    params_before: int
    bytes: int
    bytes_before: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `from_dict` reads back."""
        return {**asdict(self), "settings": dict(self.settings)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "DerivedPoint":
        """Rebuild a point from plain data."""
        return cls(**data)

    @property
    def how(self) -> str:
        """How it was made, in a few words."""
        if self.way == "int8":
            return "8-bit integers"
        if self.way == "mwa":
            n, penalty = self.settings["checkpoints"], self.settings["penalty"]
            return f"mean of {n:g} checkpoints, penalty {penalty:g}"
        return f"ternary, {100 * self.settings['keep']:g} % kept"

    def sentence(self) -> str:
        """Return what was measured, for people."""
        if self.way == "mwa":
            return (
                f"The {self.how} has {self.metric} {self.quality:.4f}; the last one alone has "
                f"{self.quality_before:.4f}."
            )
        return (
            f"Compressed ({self.how}) its {self.metric} is {self.quality:.4f}, and was "
            f"{self.quality_before:.4f}; the file has {self.bytes:,} bytes, and had "
            f"{self.bytes_before:,}."
        )


def record_derived(file: Path, point: DerivedPoint) -> None:
    """Add a derived point to a study's `derived.jsonl`."""
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(point.to_dict()) + "\n")


def read_derived(file: Path) -> tuple[DerivedPoint, ...]:
    """Return a study's derived points in the order they were made.

    What was made again in the same way is there once, as it was measured last.

    Raises:
        StudyError: If a line of the file cannot be read.
    """
    found: dict[Any, DerivedPoint] = {}
    if not file.is_file():
        return ()
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            point = DerivedPoint.from_dict(json.loads(line))
            key = (point.trial, point.way, tuple(sorted(point.settings.items())))
        except (ValueError, TypeError, AttributeError) as error:
            raise StudyError(
                f"Line {number} of '{file}' is no derived point: remove the line."
            ) from error
        found.pop(key, None)
        found[key] = point
    return tuple(found.values())
