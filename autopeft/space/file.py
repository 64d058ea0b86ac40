"""The form of a search-space file; unknown keys are refused."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

Scalar = bool | int | float | str


class Entry(BaseModel):
    """A dimension: what it sets, and when it is active."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    sets: str | None = None
    when: dict[str, list[Scalar]] = {}


class NumberEntry(Entry):
    """A range."""

    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> "NumberEntry":
        low, high = getattr(self, "low"), getattr(self, "high")  # noqa: B009 - declared by children
        if low >= high:
            raise ValueError("'low' must be smaller than 'high'")
        if self.log and low <= 0:
            raise ValueError("a logarithmic range needs 'low' above 0")
        return self


class FloatEntry(NumberEntry):
    """A range of numbers."""

    type: Literal["float"]
    low: FiniteFloat
    high: FiniteFloat


class IntEntry(NumberEntry):
    """A range of integers."""

    type: Literal["int"]
    low: int
    high: int


class ChoiceEntry(Entry):
    """A few values without an order."""

    type: Literal["choice"]
    choices: Annotated[list[Scalar], Field(min_length=1)]

    @model_validator(mode="after")
    def _distinct(self) -> "ChoiceEntry":
        if len({(type(c), c) for c in self.choices}) < len(self.choices):
            raise ValueError("'choices' holds a value twice")
        return self


class OrderedEntry(Entry):
    """A few rising numbers."""

    type: Literal["ordered"]
    values: Annotated[list[int | FiniteFloat], Field(min_length=1)]

    @model_validator(mode="after")
    def _rising(self) -> "OrderedEntry":
        if self.values != sorted(set(self.values)):
            raise ValueError("'values' must rise")
        return self


class HalvingsEntry(Entry):
    """A size, its half, and so on; and 0, which leaves a component out."""

    type: Literal["halvings"]
    of: Literal["hidden_size"] | Annotated[int, Field(ge=1)]
    steps: Annotated[int, Field(ge=1)]


class LayerMaskEntry(Entry):
    """A switch for each layer."""

    type: Literal["layer_mask"]
    empty: bool = False


AnyEntry = FloatEntry | IntEntry | ChoiceEntry | OrderedEntry | HalvingsEntry | LayerMaskEntry


class SpaceFile(BaseModel):
    """A whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_version: Literal[1]
    name: str
    about: str = ""
    methods: Literal["all"] | list[str] | None = None
    components: Annotated[list[str], Field(min_length=1)] | None = None
    hyperparameters: dict[str, Annotated[AnyEntry, Field(discriminator="type")]]
