"""Which layers and targets the front changes: the numbers of a heat map."""

from collections import Counter
from dataclasses import dataclass

from autopeft.report.summary import Summary
from autopeft.space.targets import KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerUse:
    """How many members of the front change a kind of module in a layer.

    Attributes:
        n_members: Members of the front.
        n_layers: Layers of the model.
        counts: Members by layer, for each kind that any of them changes.
    """

    n_members: int
    n_layers: int
    counts: dict[str, tuple[int, ...]]


def layer_use(summary: Summary) -> LayerUse:
    """Return which layers and targets the front changes; a member counts once in a place."""
    places = Counter(
        place
        for record in summary.front
        for place in {
            (kind, layer)
            for component in record.spec.configuration.components
            for kind in component.targets
            for layer in component.layers
        }
    )
    used = [kind for kind in KINDS if any(kind == place[0] for place in places)]
    layers = range(summary.n_layers)
    return LayerUse(
        n_members=len(summary.front),
        n_layers=summary.n_layers,
        counts={kind: tuple(places[kind, layer] for layer in layers) for kind in used},
    )
