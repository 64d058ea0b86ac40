"""The portfolio: configurations that papers made known, in an order of strength for a model."""

from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from autopeft.methods.registry import catalogue
from autopeft.models.auto_class import Architecture, architecture
from autopeft.models.spec import ModelSpec
from autopeft.space.configuration import Value
from autopeft.space.targets import expand

_FILE = Path(__file__).with_name("portfolio.yaml")
_WIDTH = "hidden_size/"

#: Decoders that are so wide are trained at this share of LoRA's default learning rate: 3e-4, the
#: best in a sweep (780 steps of Tulu 3) for Llama 3.1 8B and 70B, Qwen3 32B and 235B and others,
#: where Llama 3.2 1B and 3B had 1e-3; Qwen3 8B had it too (thinking-machines-lab/tinker-cookbook,
#: `tinker_cookbook/hyperparam_utils.py`). QLoRA takes 2e-4 (Dettmers et al. 2023).
_WIDE, _WIDE_SHARE = 4096, 0.3

Given = Literal["labels", "text"]


class KnownComponent(BaseModel):
    """One method of a well-known configuration, at the size that its source gives it.

    Attributes:
        method: Registered name of the method.
        targets: Its targets; `None` takes the method's own.
        sizes: What a budget may shrink: numbers, or `hidden_size/k`.
        settings: What is held.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    method: str
    targets: str | None = None
    sizes: Mapping[str, int | float | str] = {}
    settings: Mapping[str, bool | int | float | str] = {}

    @model_validator(mode="after")
    def _of_the_method(self) -> "KnownComponent":
        entry = catalogue()[self.method]
        values = [(name, _size(size, 1024)) for name, size in self.sizes.items()]
        for name, value in [*values, *self.settings.items()]:
            if not entry.domains[name].contains(value):
                raise ValueError(f"'{name}' of {self.method} cannot be {value!r}")
        expand(self.targets or entry.targets)
        return self

    def wanted(self, spec: ModelSpec) -> dict[str, Value]:
        """Return the sizes of the source on a model, by name."""
        return {name: _size(size, spec.hidden_size) for name, size in self.sizes.items()}


class KnownConfiguration(BaseModel):
    """A configuration that a paper made known.

    Attributes:
        about: One line for the user.
        source: Where it is from.
        multiple: Of the method's default learning rate, in a training of a few hundred steps.
        least_share: Share of its sizes below which it is another configuration in all but name.
        components: What it is made of.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    about: str
    source: str
    multiple: Annotated[float, Field(gt=0)] = 3.0
    least_share: Annotated[float, Field(gt=0, le=1)] = 0.25
    components: Annotated[tuple[KnownComponent, ...], Field(min_length=1)]

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of its methods."""
        return tuple(component.method for component in self.components)

    def multiple_on(self, spec: ModelSpec, *, short: bool) -> float:
        """Return the multiple of the default learning rate on a model."""
        return (self.multiple if short else 1.0) * self.width_factor(spec)

    def width_factor(self, spec: ModelSpec) -> float:
        """Return what the width of a model makes of the learning rate: at most 1."""
        return width_factor(self.methods, spec)


def width_factor(methods: Collection[str], spec: ModelSpec) -> float:
    """Return what the width of a model makes of the learning rate of methods: at most 1."""
    is_wide = kind_of(spec)[0] == "decoder" and spec.hidden_size >= _WIDE
    return _WIDE_SHARE if is_wide and "lora" in methods else 1.0


class _Portfolio(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_version: Literal[1]
    entries: Mapping[str, KnownConfiguration]
    orders: Mapping[Architecture, Mapping[Given, tuple[str, ...]]]


@cache
def _portfolio() -> _Portfolio:
    return _Portfolio.model_validate(yaml.safe_load(_FILE.read_text(encoding="utf-8")))


def known_configurations() -> Mapping[str, KnownConfiguration]:
    """Return all entries of the portfolio, by name."""
    return _portfolio().entries


def kind_of(spec: ModelSpec) -> tuple[Architecture, Given]:
    """Return which order holds for a model: its architecture, and what it is to give."""
    given: Given = "labels" if spec.output == "labels" else "text"
    return architecture(spec.family, spec.output), given


def strongest_first(spec: ModelSpec) -> dict[str, KnownConfiguration]:
    """Return the entries for a model by name, from the strongest down."""
    kind, given = kind_of(spec)
    entries = known_configurations()
    return {name: entries[name] for name in _portfolio().orders[kind][given]}


def _size(size: int | float | str, hidden_size: int) -> int | float:
    if isinstance(size, str):
        return max(1, hidden_size // int(size.removeprefix(_WIDTH)))
    return size
