"""Where a well-known configuration lies in a search space, scaled into the budget."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from autopeft.cost.candidates import CandidateSpace
from autopeft.methods.density import MASK_PARAMETERS
from autopeft.methods.registry import get_method
from autopeft.space.configuration import TRAINING_FIELDS, Component, Value
from autopeft.space.hyperparameter import (
    Assignment,
    Choice,
    FloatRange,
    Hyperparameter,
    IntRange,
    LayerMask,
    Ordered,
)
from autopeft.space.layers import describe, resolve
from autopeft.space.space import LEARNING_RATE, component_of
from autopeft.space.targets import expand
from autopeft.study.strategies.portfolio import KnownComponent, KnownConfiguration

#: Layers that an entry may lose to fit, from all of them down.
LAYERS = ("all", "last:1/2", "last:1/4", "last:1")
#: Targets of a space that overlap less with those of the source are another configuration.
LEAST_OVERLAP = 0.5
#: With fewer than this share of the layers a configuration is no longer what its source describes.
LEAST_LAYERS = 1 / 2
_BISECTIONS = 20
#: What is tried of the sizes that fit the budget, where memory does not hold them.
_SHARES = (1.0, 0.5, 0.25)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A well-known configuration as a point of a space.

    Attributes:
        point: The point; it fits the budget and the memory.
        changes: What differs from the source, each in a few words.
        whole: Whether it has half of the layers at least, and the entry's least share of its sizes.
    """

    point: Assignment
    changes: tuple[str, ...]
    whole: bool


def place(
    entry: KnownConfiguration,
    space: CandidateSpace,
    multiple: float | None = None,
    limit: int | None = None,
    layers: frozenset[int] | None = None,
) -> Placed | None:
    """Return the point of a space that is an entry of the portfolio, or `None` if there is none.

    All sizes are scaled down by one factor, the largest that fits, over all layers if possible,
    else over the upper half, quarter, last one. Choices such as a variant must be the entry's.

    Args:
        entry: The entry.
        space: The space within its limits.
        multiple: Multiple of the default learning rate; `None` takes the entry's, whatever
            the width of the model.
        limit: Most adapter parameters; `None` takes the space's budget.
        layers: The layers of the entry; `None` takes all, or as many of them as fit.
    """
    if not _holds_methods(entry, space):
        return None
    rate = entry.multiple if multiple is None else multiple
    most = space.budget.limit if limit is None else limit
    for chosen in _layer_sets(space.spec.n_layers) if layers is None else [layers]:
        builder = _Builder(entry, space, chosen, rate, most)
        if not (builder.is_entry() and builder.fits(0.0)):
            continue
        point = builder.point(_largest_share(builder))
        configuration = space.configuration(point)
        pairs = [(c, _named(configuration.components, c.method)) for c in entry.components]
        shares = [share for pair in pairs for share in _shares(*pair, space)]
        return Placed(
            point=point,
            changes=tuple(change for pair in pairs for change in _changes(*pair, space)),
            whole=min(shares, default=1.0) >= entry.least_share
            and all(len(c.layers) >= LEAST_LAYERS * space.spec.n_layers for _, c in pairs),
        )
    return None


def _holds_methods(entry: KnownConfiguration, space: CandidateSpace) -> bool:
    if space.space.components:
        return set(entry.methods) <= set(space.space.components)
    return len(entry.methods) == 1 and entry.methods[0] in space.space.methods


def _layer_sets(n_layers: int) -> Iterator[frozenset[int]]:
    """Yield the layers to try: all, then fewer at the top, where least memory is needed."""
    yield from dict.fromkeys(frozenset(resolve(selection, n_layers)) for selection in LAYERS)


def _largest_share(builder: "_Builder") -> float:
    """Return the largest share of the source's sizes that fits; with sizes of 0 it does."""
    within = 1.0 if builder.keeps_budget(1.0) else _most_in_budget(builder)
    return next((s * within for s in _SHARES if builder.fits(s * within)), 0.0)


def _most_in_budget(builder: "_Builder") -> float:
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):  # parameters never fall when sizes grow
        middle = (low + high) / 2
        low, high = (middle, high) if builder.keeps_budget(middle) else (low, middle)
    return low


class _Builder:
    """Builds the points that an entry is in a space, by the share of its sizes."""

    def __init__(
        self,
        entry: KnownConfiguration,
        space: CandidateSpace,
        layers: frozenset[int],
        multiple: float,
        limit: int,
    ) -> None:
        self._limit = limit
        self._entry = entry
        self._space = space
        self._layers = layers
        self._multiple = multiple
        self._parts = {component.method: component for component in entry.components}

    def keeps_budget(self, share: float) -> bool:
        count = self._space.adapter_params(self.point(share))
        return count is not None and count <= self._limit

    def fits(self, share: float) -> bool:
        return self.keeps_budget(share) and self._space.fits(self.point(share))

    def is_entry(self) -> bool:
        """Tell whether the point has the entry's methods, choices and about its targets."""
        made = self._space.configuration(self.point(1.0)).components
        if {c.method for c in made} != set(self._parts):
            return False
        return all(_alike(self._parts[c.method], c, self._space) for c in made)

    def point(self, share: float) -> Assignment:
        """Return the point at a share of the entry's sizes, in 0-1."""
        point: Assignment = {}
        for h in self._space.space.hyperparameters:
            if h.active(point):
                point[h.name] = self._value(h, share)
        return point

    def _value(self, h: Hyperparameter, share: float) -> Value:
        owner, field = component_of(h), h.field.rpartition(".")[2]
        if owner is not None and owner not in self._parts:
            return _off(h)
        if field == "layers":
            return _nearest_layers(h, self._layers, self._space.spec.n_layers)
        if field in TRAINING_FIELDS:
            return h.from_unit([0.5] * h.width)
        part = self._parts[owner or self._entry.methods[0]]
        if field == "targets":
            return _nearest_targets(h, part, self._space)
        same: dict[str, Value] = {"method": part.method, LEARNING_RATE: self._multiple}
        return nearest(h, same.get(field) or _wanted(part, field, self._space, share))


def _wanted(part: KnownComponent, field: str, space: CandidateSpace, share: float) -> Value:
    """Return the value of a field of a component at a share of its sizes."""
    sizes = part.wanted(space.spec)
    if field in sizes:
        size = sizes[field]
        return max(1, int(int(size) * share)) if isinstance(size, int) else float(size) * share
    return _held(part)[field]


def _held(part: KnownComponent) -> dict[str, Value]:
    """Return what a component has beside its sizes: settings, and defaults."""
    known = [*get_method(part.method).info.parameters, *MASK_PARAMETERS]
    # A density of the method's own comes first and is not that of a mask.
    return {p.domain.name: p.default for p in reversed(known)} | dict(part.settings)


def nearest(h: Hyperparameter, value: Value) -> Value:
    """Return the value of a dimension nearest to another; no size is switched off for it."""
    if isinstance(h, Choice) and not all(map(_is_number, (value, *h.choices))):
        return value if h.contains(value) else h.choices[0]
    if isinstance(h, Choice | Ordered):
        values = h.choices if isinstance(h, Choice) else h.values
        if value in values:
            return value
        above = [v for v in values if float(v) > 0] or list(values)
        return min(above, key=lambda v: abs(float(v) - float(value)))
    assert isinstance(h, FloatRange | IntRange)
    number = float(f"{float(value):.6g}") if isinstance(h, FloatRange) else round(float(value))
    return min(max(number, h.low), h.high)


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _off(h: Hyperparameter) -> Value:
    """Return the value that leaves a component out, where a dimension has one."""
    if isinstance(h, LayerMask) and h.empty:
        return "0" * h.n_layers
    return 0 if h.contains(0) else h.from_unit([0.0] * h.width)


def _nearest_layers(h: Hyperparameter, layers: frozenset[int], n_layers: int) -> Value:
    if isinstance(h, LayerMask):
        return "".join("1" if i in layers else "0" for i in range(n_layers))
    assert isinstance(h, Choice)
    return min(h.choices, key=lambda c: len(layers ^ set(resolve(str(c), n_layers))))


def _nearest_targets(h: Hyperparameter, part: KnownComponent, space: CandidateSpace) -> Value:
    assert isinstance(h, Choice)
    wanted = _source_targets(part)
    return max(h.choices, key=lambda c: _overlap(expand(str(c)), wanted, space))


def _source_targets(part: KnownComponent) -> tuple[str, ...]:
    return expand(part.targets or get_method(part.method).info.default_targets)


def _overlap(some: tuple[str, ...], others: tuple[str, ...], space: CandidateSpace) -> float:
    """Return the Jaccard index of two choices of module kinds, of those that the model has."""
    kinds = {*space.spec.kinds, "backbone"}
    a, b = set(some) & kinds, set(others) & kinds
    return len(a & b) / max(len(a | b), 1)


def _alike(part: KnownComponent, real: Component, space: CandidateSpace) -> bool:
    """Tell whether a component has the choices of an entry's, and about its targets."""
    if _overlap(real.targets, _source_targets(part), space) < LEAST_OVERLAP:
        return False
    domains = {p.domain.name: p.domain for p in get_method(part.method).info.parameters}
    held = _held(part)
    given = dict(real.params)
    return all(given[name] == held[name] for name, h in domains.items() if isinstance(h, Choice))


def _shares(part: KnownComponent, real: Component, space: CandidateSpace) -> list[float]:
    wanted = part.wanted(space.spec)
    return [float(real.param(name)) / float(size) for name, size in wanted.items()]


def _changes(part: KnownComponent, real: Component, space: CandidateSpace) -> Iterator[str]:
    """Yield what a component has otherwise than its source."""
    values: Mapping[str, Value] = {**part.settings, **part.wanted(space.spec)}
    for name, value in values.items():
        if real.param(name) != value:
            what = name.replace("_", " ")
            yield f"{part.method}: {what} {real.param(name):g} instead of {value:g}"
    if _overlap(real.targets, _source_targets(part), space) < 1:
        yield f"{part.method}: targets {', '.join(real.targets)}"
    if len(real.layers) < space.spec.n_layers:
        yield f"{part.method}: layers {describe(real.layers, space.spec.n_layers)}"


def _named(components: tuple[Component, ...], method: str) -> Component:
    return next(component for component in components if component.method == method)
