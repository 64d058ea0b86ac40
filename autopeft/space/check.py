"""Do the dimensions of a search space fit its methods?"""

from collections.abc import Iterator, Mapping, Sequence

from autopeft.errors import SpaceError, UnknownNameError
from autopeft.space.catalogue import Catalogue
from autopeft.space.configuration import TRAINING_FIELDS, Value
from autopeft.space.hyperparameter import (
    Choice,
    FloatRange,
    Hyperparameter,
    IntRange,
    Ordered,
)
from autopeft.space.space import LEARNING_RATE, SearchSpace, component_of, is_method_param


def check_dimension(
    h: Hyperparameter,
    above: Sequence[Hyperparameter],
    components: Sequence[str] | None,
    catalogue: Catalogue,
) -> None:
    """Check one dimension against the methods that it is for.

    Args:
        h: The dimension.
        above: The dimensions that stand above it.
        components: The components of the space, `None` if a point is one method.
        catalogue: What the methods are.

    Raises:
        SpaceError: If a method is unknown, or has no such field or not such values.
    """
    if h.name == "method":
        assert isinstance(h, Choice)
        for choice in h.choices:
            _known(str(choice), catalogue)
            check_alone(str(choice), catalogue)
        return
    component = component_of(h)
    if component is None:
        if components is not None and h.field not in {"layers", LEARNING_RATE, *TRAINING_FIELDS}:
            raise SpaceError(
                f"say which component it is for: 'sets: {components[0]}.{h.field}' or the like."
            )
        if is_method_param(h.field):
            for method in _methods(h, above):
                _check_values(h, h.field, method, catalogue, may_be_off=False)
        return
    if component not in (components or ()):
        raise SpaceError(f"'{component}' is none of the components {', '.join(components or ())}.")
    field = h.field.removeprefix(f"{component}.")
    if is_method_param(field):
        _check_values(h, field, component, catalogue, may_be_off=True)


def check_together(space: SearchSpace) -> None:
    """Check that no field is set by two dimensions at once.

    Raises:
        SpaceError: If one is.
    """
    for method in space.methods:
        fields = [h.field for h in space.hyperparameters if h.active({"method": method})]
        twice = {f for f in fields if fields.count(f) > 1}
        if twice:
            raise SpaceError(f"'{min(twice)}' is set twice for the method '{method}'.")


def _methods(h: Hyperparameter, above: Sequence[Hyperparameter]) -> list[str]:
    """Return the methods with which a dimension can be active."""
    parents = {parent.name: parent for parent in above}
    choice = parents.get("method")
    methods = [str(c) for c in choice.choices] if isinstance(choice, Choice) else []
    return [m for m in methods if _reachable(h, m, parents)]


def _reachable(h: Hyperparameter, method: str, parents: Mapping[str, Hyperparameter]) -> bool:
    return h.possible(method) and all(_reachable(parents[p], method, parents) for p, _ in h.when)


def check_alone(method: str, catalogue: Catalogue) -> None:
    """Check that a point can be a method and no other.

    Raises:
        SpaceError: If the method changes what another one does.
    """
    if not catalogue[method].goes_alone:
        raise SpaceError(
            f"{method} changes what another method does: name both under 'components'."
        )


def _known(method: str, catalogue: Catalogue) -> None:
    if method not in catalogue:
        raise SpaceError(str(UnknownNameError("method", method, catalogue)))


def _check_values(
    h: Hyperparameter, field: str, method: str, catalogue: Catalogue, *, may_be_off: bool
) -> None:
    entry = catalogue[method]
    domain = entry.domains.get(field)
    if domain is None:
        listed = ", ".join(entry.domains) or "none"
        raise SpaceError(f"{method} has no hyperparameter '{field}': it takes {listed}.")
    for value in extremes(h):
        if not domain.contains(value) and not (may_be_off and value == 0):
            raise SpaceError(
                f"'{field}' of {method} cannot be {value!r}; it must be {domain.describe()}."
            )


def extremes(h: Hyperparameter) -> Iterator[Value]:
    """Yield the values that lie farthest out: both ends of a range, all choices."""
    if isinstance(h, IntRange | FloatRange):
        yield from (h.low, h.high)
    elif isinstance(h, Choice):
        yield from h.choices
    elif isinstance(h, Ordered):
        yield from h.values
