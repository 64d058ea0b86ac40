"""The portfolio on a model within its limits: no space is searched, each entry has its own."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from autopeft.cost.budget import ParamBudget
from autopeft.cost.candidates import CandidateSpace
from autopeft.cost.memory_limit import MemoryLimit
from autopeft.errors import AutopeftError, BudgetError, ModelError, SpaceError
from autopeft.methods.registry import catalogue
from autopeft.models.spec import ModelSpec
from autopeft.space.configuration import Configuration, Value
from autopeft.space.schema import ModelShape, read_space
from autopeft.space.space import LEARNING_RATE, SearchSpace
from autopeft.study.strategies.placing import LAYERS, Placed, place
from autopeft.study.strategies.portfolio import KnownConfiguration, strongest_first

#: Largest rank that servers of LoRA adapters usually take.
_SERVED_RANK = 64
_NO_LIMIT = ParamBudget(text="no limit", limit=2**62)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a configuration must keep, and what it is trained with.

    Attributes:
        budget: The limit on adapter parameters.
        memory: The limit on memory, `None` for none.
        training: Fields of `TrainingParams`, without the learning rate.
        input_length: Longest input in tokens.
        short: Whether the training has so few steps that it needs a higher learning rate.
    """

    budget: ParamBudget
    memory: MemoryLimit | None
    training: Mapping[str, Value]
    input_length: int
    short: bool

    def halved(self) -> "Limits":
        """Return the same limits with half of the budget."""
        limit = self.budget.limit // 2
        return replace(self, budget=ParamBudget(text=f"{limit:,}", limit=limit))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """An entry of the portfolio, scaled into the limits.

    Attributes:
        name: Name of the entry.
        entry: What its source says.
        configuration: What is trained.
        changes: What differs from the source.
        whole: As in `Placed`.
    """

    name: str
    entry: KnownConfiguration
    configuration: Configuration
    changes: tuple[str, ...]
    whole: bool

    @property
    def is_served(self) -> bool:
        """Whether servers take it as it is: LoRA of a usual rank, without DoRA's magnitudes."""
        if self.entry.methods != ("lora",):
            return False
        given = dict(self.configuration.components[0].params)
        plain = given["variant"] in {"plain", "rslora"} and given["init"] == "default"
        return plain and int(given["rank"]) <= _SERVED_RANK


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The portfolio on a model.

    Attributes:
        fitted: What fits, from the strongest down; what must lose layers or nearly all of its
            size comes after all that need not.
        obstacles: Why, by name, for each entry that does not fit.
    """

    fitted: tuple[Fitted, ...]
    obstacles: Mapping[str, str]

    def before(self, chosen: Fitted, spec: ModelSpec) -> dict[str, str]:
        """Return the entries that would be stronger than a chosen one, each with why it is not."""
        reasons = {}
        names = list(strongest_first(spec))
        lessened = {f.name for f in self.fitted if not f.whole}
        for name in names[: names.index(chosen.name)]:
            if name in self.obstacles:
                reasons[name] = self.obstacles[name]
            elif name in lessened and chosen.whole:
                reasons[name] = "too little of it fits"
        return reasons


def rank_portfolio(spec: ModelSpec, limits: Limits, enough: int = 2**31) -> Ranking:
    """Return the portfolio on a model within limits.

    Args:
        spec: The model.
        limits: The limits.
        enough: Number of entries that fit as a whole after which no more are looked at.
    """
    found: list[Fitted] = []
    obstacles: dict[str, str] = {}
    for name, entry in strongest_first(spec).items():
        try:
            found.append(fit(name, entry, spec, limits))
        except AutopeftError as error:
            obstacles[name] = str(error)
        if sum(fitted.whole for fitted in found) >= enough:
            break
    found.sort(key=lambda fitted: not fitted.whole)
    return Ranking(fitted=tuple(found), obstacles=obstacles)


def fit(
    name: str,
    entry: KnownConfiguration,
    spec: ModelSpec,
    limits: Limits,
    layers: tuple[str, ...] = LAYERS,
) -> Fitted:
    """Return an entry scaled into the limits.

    Args:
        name: Its name.
        entry: The entry.
        spec: The model.
        limits: The limits.
        layers: Selections of layers that it may have.

    Raises:
        AutopeftError: If it does not go on the model, or not into the limits.
    """
    own = own_space(name, entry, spec, layers)
    least = _fewest(CandidateSpace(own, spec, _NO_LIMIT, input_length=limits.input_length))
    if least > limits.budget.limit:
        raise BudgetError(f"it has {least:,} adapter parameters at least")
    multiple = entry.multiple_on(spec, short=limits.short)
    # Memory is predicted exactly, for few points: bounds would take as long as a search's.
    for selection in (layers, *((fewer,) for fewer in layers[1:] if limits.memory)):
        own = own_space(name, entry, spec, selection)
        placed, configuration = _within(entry, own, spec, limits, multiple)
        if placed is not None and configuration is not None:
            break
    else:
        raise BudgetError("nothing of it fits both the budget and the memory")
    return Fitted(
        name=name,
        entry=entry,
        configuration=configuration,
        changes=placed.changes,
        whole=placed.whole,
    )


def _within(
    entry: KnownConfiguration,
    own: SearchSpace,
    spec: ModelSpec,
    limits: Limits,
    multiple: float,
) -> tuple[Placed | None, Configuration | None]:
    """Return an entry's point in its own space, and what is trained of it if memory allows."""
    try:
        space = CandidateSpace(own, spec, limits.budget, limits.training, limits.input_length)
    except BudgetError:
        return None, None
    placed = place(entry, space, multiple)
    if placed is None:
        return None, None
    whole = space.configuration(placed.point)
    return placed, whole if limits.memory is None else limits.memory.met(whole)


def fewest_parameters(spec: ModelSpec, input_length: int) -> int:
    """Return the adapter parameters of the smallest configuration that the portfolio has.

    Raises:
        ModelError: If the model takes no entry.
    """
    counts = []
    for name, entry in strongest_first(spec).items():
        try:
            own = own_space(name, entry, spec, LAYERS)
            counts.append(_fewest(CandidateSpace(own, spec, _NO_LIMIT, input_length=input_length)))
        except SpaceError:  # not on this model
            continue
    if not counts:
        raise ModelError(f"A model of the family {spec.family} takes nothing of the portfolio.")
    return min(counts)


def _fewest(space: CandidateSpace) -> int:
    return space.adapter_params(space.smallest()) or 0


def own_space(
    name: str, entry: KnownConfiguration, spec: ModelSpec, layers: tuple[str, ...]
) -> SearchSpace:
    """Return the space of an entry at its sizes and at all below, on some choices of layers."""
    data = {
        "schema_version": 1,
        "name": name,
        "about": entry.about,
        "components": list(entry.methods),
        "hyperparameters": dict(_dimensions(entry, spec, layers)),
    }
    shape = ModelShape(spec.n_layers, spec.hidden_size)
    return read_space(yaml.safe_dump(data), shape, name, catalogue())


def _dimensions(
    entry: KnownConfiguration, spec: ModelSpec, layers: tuple[str, ...]
) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "layers", _choice(*layers)
    yield LEARNING_RATE, {"type": "float", "low": 0.01, "high": 100.0, "log": True}
    for part in entry.components:
        known = catalogue()[part.method]
        if part.targets is not None:
            yield f"{part.method}.targets", _choice(part.targets)
        for name, value in part.settings.items():
            yield f"{part.method}.{name}", _choice(value)
        for name, size in part.wanted(spec).items():
            low = float(known.domains[name].from_unit([0.0]))
            kind = "int" if isinstance(size, int) else "float"
            sized = {"type": kind, "low": low, "high": size, "log": True}
            yield f"{part.method}.{name}", sized if low < float(size) else _choice(size)


def _choice(*values: Value) -> dict[str, Any]:
    return {"type": "choice", "choices": list(values)}
