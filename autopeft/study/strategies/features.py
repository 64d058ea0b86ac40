"""Points as numbers for a surrogate: choices, places, sizes and computed costs."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from autopeft.cost.candidates import CandidateSpace
from autopeft.space.configuration import Value
from autopeft.space.hyperparameter import Choice
from autopeft.space.targets import KINDS, expand

WORDS = "embed.tokens"
Row = NDArray[np.float64]


class Features:
    """Maps points to rows in [0, 1]^d.

    Columns: choices of methods, variants and layers as 0/1, numbers at their place in their range
    (inactive ones in the middle), 0/1 for each module kind, share and mean depth of the layers,
    log of the adapter parameters between the smallest configuration and the budget. Places and
    costs mean the same for all methods, so that what one method shows is used for the others.
    Which layers they are, every second or the first half, share and depth tell only in part.
    """

    def __init__(self, space: CandidateSpace) -> None:
        self._space = space
        kinds = {*space.spec.kinds, "backbone"}
        if WORDS not in _named(space):
            # No method's default: most spaces would get a column of zeros.
            kinds -= {WORDS}
        self._kinds = [kind for kind in KINDS if kind in kinds]
        smallest = space.adapter_params(space.smallest())
        assert smallest is not None
        self._low = np.log10(max(smallest, 1))
        self._high = max(np.log10(space.budget.limit), self._low + 1e-6)

    def row(self, assignment: Mapping[str, Value]) -> Row:
        """Return the features of a point, shape (d,)."""
        values: list[float] = []
        for h in self._space.space.hyperparameters:
            if h.field == "targets" or (h.field == "layers" and not isinstance(h, Choice)):
                continue  # the places below say it
            value = assignment.get(h.name)
            if isinstance(h, Choice):
                values += [float(value == choice) for choice in h.choices]
            else:
                values += [0.5] * h.width if value is None else list(h.to_unit(value))
        components = self._space.configuration(assignment).components
        targets = {kind for component in components for kind in component.targets}
        values += [float(kind in targets) for kind in self._kinds]
        n_layers = self._space.spec.n_layers
        layers = {layer for component in components for layer in component.layers}
        values.append(len(layers) / n_layers)
        # Without layers, the middle.
        values.append((sum(layers) / len(layers) + 0.5) / n_layers if layers else 0.5)
        count = self._space.adapter_params(assignment)
        values.append((np.log10(max(count or 1, 1)) - self._low) / (self._high - self._low))
        return np.asarray(values)


def _named(space: CandidateSpace) -> set[str]:
    """Return the module kinds that a space chooses from by name."""
    return {
        kind
        for h in space.space.hyperparameters
        if isinstance(h, Choice) and h.field.rpartition(".")[2] == "targets"
        for choice in h.choices
        for kind in expand(str(choice))
    }
