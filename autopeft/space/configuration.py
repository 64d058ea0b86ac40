"""`Configuration`: one valid point of a search space, and the way it is written down."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from autopeft.errors import SpaceError
from autopeft.space import layers as layer_selection
from autopeft.space import targets as target_kinds

Value = float | int | str | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One PEFT method at chosen places.

    Attributes:
        method: Registered name of the method.
        targets: Module kinds, in `targets.KINDS` order.
        layers: Sorted layer numbers from 0.
        params: The method's own hyperparameters as sorted (name, value) pairs.
    """

    method: str
    targets: tuple[str, ...]
    layers: tuple[int, ...]
    params: tuple[tuple[str, Value], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", target_kinds.expand(self.targets))
        object.__setattr__(self, "layers", tuple(sorted(set(self.layers))))
        object.__setattr__(self, "params", tuple(sorted(self.params)))

    def param(self, name: str) -> Value:
        """Return the value of the method's hyperparameter `name`; `KeyError` if absent."""
        return dict(self.params)[name]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, in reading order."""
        return {
            "method": self.method,
            "targets": list(self.targets),
            "layers": list(self.layers),
            **dict(self.params),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingParams:
    """How a configuration is trained.

    Attributes:
        learning_rate: Peak learning rate of AdamW.
        batch_size: Examples a step.
        weight_decay: AdamW's decoupled weight decay, on matrices only.
        warmup_share: Share of the steps, in 0-1, in which the learning rate rises linearly;
            it falls linearly to zero afterwards.
        head_learning_rate: Peak learning rate of the task head, which starts at random and is
            the same in every configuration; `None` gives it that of the adapter.
        micro_batch_size: Most examples in one forward; a larger batch goes through the model in
            parts, whose gradients are added up. `None` takes the batch as a whole.
        max_tokens: Most tokens of a batch, padding included: where rows are long a batch holds
            fewer examples than `batch_size`, and an epoch has more steps. `None` sets no limit.
    """

    learning_rate: float
    batch_size: int = 16
    weight_decay: float = 0.01
    warmup_share: float = 0.1
    head_learning_rate: float | None = None
    micro_batch_size: int | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        for rate in (self.learning_rate, self.head_learning_rate):
            if rate is not None and not (math.isfinite(rate) and rate > 0):
                raise SpaceError("Learning rates must be positive numbers.")
        if self.batch_size < 1:
            raise SpaceError("training.batch_size must be at least 1.")
        if self.micro_batch_size is not None and self.micro_batch_size < 1:
            raise SpaceError("training.micro_batch_size must be at least 1.")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise SpaceError("training.max_tokens must be at least 1.")
        if self.weight_decay < 0 or not 0 <= self.warmup_share < 1:
            raise SpaceError("training.weight_decay must be >= 0 and warmup_share in [0, 1).")

    @property
    def rows_at_once(self) -> int:
        """Most examples in one forward."""
        return min(self.batch_size, self.micro_batch_size or self.batch_size)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; limits of a batch are in it only where there are any."""
        absent = {name for name in _LIMITS if getattr(self, name) is None}
        return {name: getattr(self, name) for name in TRAINING_FIELDS if name not in absent}


_LIMITS = ("micro_batch_size", "max_tokens")
TRAINING_FIELDS = tuple(f.name for f in fields(TrainingParams))


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One point of a search space: canonical, hashable, with a JSON round trip.

    Attributes:
        components: The active PEFT methods, sorted; empty means that only the head is trained.
        training: How they are trained.
    """

    components: tuple[Component, ...]
    training: TrainingParams

    def __post_init__(self) -> None:
        ordered = sorted(
            self.components, key=lambda c: (c.method, json.dumps(c.to_dict(), sort_keys=True))
        )
        object.__setattr__(self, "components", tuple(ordered))

    @property
    def method(self) -> str:
        """Names of the methods joined by "+", or "head" when there is no component."""
        return "+".join(component.method for component in self.components) or "head"

    @property
    def digest(self) -> str:
        """Return 16 hexadecimal digits that depend on the content alone.

        The micro-batch is left out: it changes what memory a training takes, not what comes out.
        """
        whole = self
        if self.training.micro_batch_size is not None:
            whole = replace(self, training=replace(self.training, micro_batch_size=None))
        text = json.dumps(whole.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `from_dict` reads back."""
        return {
            "components": [component.to_dict() for component in self.components],
            "training": self.training.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Any, n_layers: int | None = None) -> "Configuration":
        """Build a configuration from plain data.

        Args:
            data: A mapping with `components`, a list of mappings with `method`, `targets`,
                `layers` and the method's hyperparameters, and `training`.
            n_layers: Number of layers, needed when layers are given by a shorthand.

        Raises:
            SpaceError: If a key is unknown or missing, or a value cannot be used.
        """
        if not isinstance(data, Mapping):
            raise SpaceError("A configuration must be a mapping with 'components'.")
        unknown = set(data) - {"components", "training"}
        if unknown:
            raise SpaceError(
                f"Unknown key '{min(unknown)}' in the configuration: "
                "it holds 'components' and 'training'."
            )
        listed = data.get("components", [])
        if not isinstance(listed, list):
            raise SpaceError("'components' must be a list.")
        components = tuple(_component(item, n_layers) for item in listed)
        return cls(components=components, training=_training(data.get("training")))


def _component(data: Any, n_layers: int | None) -> Component:
    if not isinstance(data, Mapping) or not isinstance(data.get("method"), str):
        raise SpaceError("Each component must be a mapping with a 'method'.")
    params = {k: v for k, v in data.items() if k not in {"method", "targets", "layers"}}
    for name, value in params.items():
        if not isinstance(value, Value):
            raise SpaceError(f"'{name}' of {data['method']} must be a number, text or boolean.")
    for key in ("targets", "layers"):
        if not isinstance(data.get(key), str | list | tuple):
            raise SpaceError(f"The component {data['method']} needs '{key}'.")
    selection = data["layers"]
    if n_layers is not None:
        selection = layer_selection.resolve(selection, n_layers)
    elif isinstance(selection, str):
        raise SpaceError(f"The layers '{selection}' can only be resolved for a model.")
    return Component(
        method=data["method"],
        targets=target_kinds.expand(data["targets"]),
        layers=tuple(selection),
        params=tuple(params.items()),
    )


def _training(data: Any) -> TrainingParams:
    if not isinstance(data, Mapping) or "learning_rate" not in data:
        raise SpaceError("'training' must be a mapping with a 'learning_rate'.")
    unknown = set(data) - set(TRAINING_FIELDS)
    if unknown:
        raise SpaceError(
            f"Unknown key 'training.{min(unknown)}': known are {', '.join(TRAINING_FIELDS)}."
        )
    whole = {"batch_size", *_LIMITS}
    given = {
        key: value
        for key, value in data.items()
        if not (value is None and key in {"head_learning_rate", *_LIMITS})
    }
    try:
        rates = {key: float(value) for key, value in given.items() if key not in whole}
        counts = {key: int(value) for key, value in given.items() if key in whole}
    except (TypeError, ValueError) as error:
        raise SpaceError(f"'training' holds a value that is not a number: {error}.") from error
    return TrainingParams(**rates, **counts)  # type: ignore[arg-type]  # ints and floats by key
