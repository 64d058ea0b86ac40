"""`MemoryLimit`: the upper limit on the predicted memory of a training step."""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from autopeft.cost.cost import CostModel
from autopeft.errors import BudgetError, RequestError
from autopeft.methods.compose import added_tokens, conflict, count_trained, no_room, obstacle
from autopeft.methods.density import MASK_PARAMETERS
from autopeft.methods.registry import get_method
from autopeft.models.spec import ModelSpec
from autopeft.space.configuration import Component, Configuration, Value
from autopeft.space.hyperparameter import Choice, Hyperparameter

_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*(|[KMGT]i?B?|B)", re.IGNORECASE)
#: Bytes of a parameter in float32, and of Adam's two moments of one.
_WEIGHT, _MOMENTS = 4, 8
#: Parts of a size's range, on its own scale: powers of four for a rank of 1 to 256.
_STEPS = 4
#: Smallest number that may be bytes; with a smaller one somebody forgot the unit.
_LEAST_BARE = 1000
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def n_bytes(text: str) -> int:
    """Return the bytes of a size such as `24GiB`, `24GB`, `512M` or `1000`.

    Units with an i count in 1024s, those with a B alone in 1000s; a bare letter is 1024s, as GPU
    makers mean it.

    Raises:
        RequestError: If the text is no size above zero, or a few bytes where a unit was forgotten.
    """
    match = _BYTES.fullmatch(text.strip())
    if match is None or float(match[1]) == 0:
        raise RequestError(f"Cannot read the memory '{text}': write 24GiB, 24GB or 512MiB.")
    unit = match[2].lower()
    if not unit and float(match[1]) < _LEAST_BARE:
        raise RequestError(
            f"Cannot read the memory '{text}': without a unit it is bytes. Write {match[1]}GiB."
        )
    thousand = 1000 if unit.endswith("b") and "i" not in unit else 1024
    return int(float(match[1]) * thousand ** _POWERS[unit.rstrip("b").rstrip("i")])


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLimit:
    """An upper limit on memory, kept by sending a batch through the model in parts.

    Attributes:
        text: How the limit is named to the user.
        limit: Most bytes of a step.
        costs: Predicts memory.
    """

    text: str
    limit: int
    costs: CostModel
    _known: dict[object, tuple[list[Configuration], list[Configuration]]] = field(
        default_factory=dict
    )
    _guesses: dict[object, int] = field(default_factory=dict)

    def met(self, configuration: Configuration) -> Configuration | None:
        """Return a configuration with the largest micro-batch that fits, `None` if none does.

        The batch is halved, half an example rounded up, until a part of it fits.
        """
        if self._always(configuration) > self.limit:
            return None
        whole = configuration.training.rows_at_once
        sizes = list(halvings(whole))
        # Most configurations of a kind take the same size, and many of other kinds too: two
        # predictions tell it.
        kind = (_kind(configuration), whole)
        index = self._guesses.get(kind, self._guesses.get(whole, 0))
        if not self._holds(configuration, sizes[index]):
            # Where nothing fits, one example tells it at once.
            if not self._holds(configuration, sizes[-1]):
                return None
            index += 1
            while not self._holds(configuration, sizes[index]):
                index += 1
        while index > 0 and self._holds(configuration, sizes[index - 1]):
            index -= 1
        self._guesses.update({kind: index, whole: index})
        return configuration if index == 0 else _at_once(configuration, sizes[index])

    def _holds(self, configuration: Configuration, rows: int) -> bool:
        return self.costs.memory(_at_once(configuration, rows)).total <= self.limit

    def admits(self, configuration: Configuration) -> bool:
        """Tell whether a configuration fits with one example at a time; mostly from bounds.

        A prediction takes a tenth of a second for a small model, and a search looks at hundreds of
        points for each trial. So bounds stand for predictions: what is there at any moment follows
        from counts, and a step holds at most what it does with larger sizes at more places, of
        which there are few. A configuration whose sizes are just below the largest that fit may
        therefore be refused.
        """
        if self._always(configuration) > self.limit:
            return False
        largest = self._everywhere(configuration, 1)
        if largest is not None:
            room = self._always(largest) - self._always(configuration)
            if self.least(largest) - room <= self.limit:
                return True
        larger = self._everywhere(configuration, _STEPS)
        if larger is not None and self._fits(larger):
            return True
        near = _raised(configuration, self.costs.spec, _STEPS, everywhere=False)
        return self._fits(near if self._goes(near) else configuration)

    def _fits(self, configuration: Configuration) -> bool:
        """Tell whether a configuration fits, from what is known of smaller and larger ones."""
        fitting, others = self._known.setdefault(_kind(configuration), ([], []))
        if any(_within(configuration, known) for known in fitting):
            return True
        if any(_within(known, configuration) for known in others):
            return False
        fits = self.least(configuration) <= self.limit
        (fitting if fits else others).append(configuration)
        return fits

    def least(self, configuration: Configuration) -> int:
        """Return the bytes that a configuration takes with one example at a time."""
        return self.costs.memory(_at_once(configuration, 1)).total

    def nothing_fits(self, space: str, configurations: Iterable[Configuration]) -> BudgetError:
        """Return the error of a space whose smallest configurations are all over the limit.

        Args:
            space: Name of the space.
            configurations: The smallest of each method at each choice of places.
        """
        # Of each method the one that changes the top of the model: least is kept for it.
        top: dict[str, Configuration] = {}
        for configuration in configurations:
            other = top.setdefault(configuration.method, configuration)
            if _lowest_layer(configuration) > _lowest_layer(other):
                top[configuration.method] = configuration
        need, method = min((self.least(c), c.method) for c in top.values())
        return BudgetError(
            f"Nothing in the space '{space}' fits {self.text} of memory: the smallest that was "
            f"predicted, {method} with one example at a time, takes {shown_bytes(need)}."
        )

    def _always(self, configuration: Configuration) -> int:
        """Return bytes that are there at any moment: the base, and Adam's moments of what trains.

        An adapter's own weights are left out, because some methods train those of the base.
        """
        trained = count_trained(configuration, self.costs.spec) + self.costs.spec.head_params
        return (
            _WEIGHT * (self.costs.spec.base_params + self.costs.spec.head_params)
            + _MOMENTS * trained
        )

    def _everywhere(self, configuration: Configuration, steps: int) -> Configuration | None:
        """Return the same methods with sizes raised, everywhere if they go together there."""
        for everywhere in (True, False):
            larger = _raised(configuration, self.costs.spec, steps, everywhere=everywhere)
            if self._goes(larger):
                return larger
        return None

    def _goes(self, configuration: Configuration) -> bool:
        components = configuration.components
        return (
            not any(obstacle(component, self.costs.spec) for component in components)
            and conflict(components, self.costs.spec) is None
            and no_room(added_tokens(configuration), self.costs.spec, self.costs.seq_length) is None
        )


def shown_bytes(size: int) -> str:
    """Return a size as a user reads it, rounded up."""
    unit, name = (2**30, "GiB") if size >= 2**30 else (2**20, "MiB")
    return f"{math.ceil(10 * size / unit) / 10:g} {name}"


def halvings(rows: int) -> Iterator[int]:
    """Yield a number of rows, its half rounded up, and so on down to 1."""
    while rows > 1:
        yield rows
        rows = -(-rows // 2)
    yield 1


def _at_once(configuration: Configuration, rows: int) -> Configuration:
    training = replace(configuration.training, micro_batch_size=rows)
    return replace(configuration, training=training)


def _lowest_layer(configuration: Configuration) -> int:
    return min((layer for c in configuration.components for layer in c.layers), default=0)


def _raised(
    configuration: Configuration, spec: ModelSpec, steps: int, *, everywhere: bool
) -> Configuration:
    """Return a configuration with its sizes raised, perhaps at all places of its methods.

    Args:
        configuration: The configuration.
        spec: The model.
        steps: Into how many parts each size's range is cut; it is raised to the next end of one.
        everywhere: Whether it also gets all targets and layers.
    """
    components = [_with_sizes(c, spec, steps) for c in configuration.components]
    if everywhere:
        components = [_everywhere(c, spec) for c in components]
    return replace(configuration, components=tuple(components))


def _with_sizes(component: Component, spec: ModelSpec, steps: int) -> Component:
    """Return a component with its sizes raised; see `_raised`."""
    method = get_method(component.method)
    params = dict(component.params)
    for domain in _sizes(component):
        highest = _with(component, domain.name, domain.from_unit([1.0]))
        # Dropout, scales and the like cost no parameters and hardly memory: one step for them.
        costs = method.count_parameters(highest, spec) != method.count_parameters(component, spec)
        n = steps if costs else 1
        [unit] = domain.to_unit(params[domain.name])
        raised = domain.from_unit([min(1.0, math.ceil(unit * n) / n)])
        if float(raised) > float(params[domain.name]):
            params[domain.name] = raised
    if method.info.maskable and "density" in params:  # a mask's bytes depend on its kind alone
        numbers = (p.domain for p in MASK_PARAMETERS if not isinstance(p.domain, Choice))
        params |= {domain.name: domain.from_unit([0.0]) for domain in numbers}
    return replace(component, params=tuple(params.items()))


def _with(component: Component, name: str, value: Value) -> Component:
    return replace(component, params=tuple((dict(component.params) | {name: value}).items()))


def _everywhere(component: Component, spec: ModelSpec) -> Component:
    info = get_method(component.method).info
    # Word embeddings are nobody's usual target.
    kinds = {kind for kind in info.kinds if kind in spec.kinds} - {"embed.tokens"}
    targets = tuple(kinds | set(component.targets))
    return replace(component, targets=targets, layers=tuple(range(spec.n_layers)))


def _sizes(component: Component) -> list[Hyperparameter]:
    domains = [p.domain for p in get_method(component.method).info.parameters]
    return [domain for domain in domains if not isinstance(domain, Choice)]


def _kind(configuration: Configuration) -> tuple[object, ...]:
    """Return what two configurations must share to be compared: methods and choices."""
    return tuple(
        (c.method, tuple(p for p in c.params if p[0] not in {d.name for d in _sizes(c)}))
        for c in configuration.components
    )


def _within(smaller: Configuration, larger: Configuration) -> bool:
    """Tell whether a configuration has no larger sizes and no more places than one of its kind."""
    return all(
        set(a.targets) <= set(b.targets)
        and set(a.layers) <= set(b.layers)
        and all(float(a.param(d.name)) <= float(b.param(d.name)) for d in _sizes(a))
        for a, b in zip(smaller.components, larger.components, strict=True)
    )
