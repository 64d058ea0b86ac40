"""What a search space must know of the methods that it names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from autopeft.space.hyperparameter import Hyperparameter

#: Learning rate of the head where it is all that trains.
HEAD_LEARNING_RATE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """One method.

    Attributes:
        learning_rate: What a searched multiple of 1 means.
        targets: Module kinds where a space does not choose them.
        domains: All values that each of its hyperparameters takes.
        dimensions: Its hyperparameters and its targets as a space that names it searches them.
        goes_alone: Whether a point can be this method and no other.
    """

    learning_rate: float
    targets: tuple[str, ...]
    domains: Mapping[str, Hyperparameter]
    dimensions: tuple[Hyperparameter, ...]
    goes_alone: bool = True


#: All methods that a space may name.
Catalogue = Mapping[str, CatalogueEntry]


def shared_learning_rate(rates: Iterable[float]) -> float:
    """Return the learning rate of components that train together: that of the most careful."""
    return min(rates, default=HEAD_LEARNING_RATE)
