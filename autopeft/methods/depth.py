"""How deep a configuration reaches into a model: what lies below never changes."""

from autopeft.methods.registry import get_method
from autopeft.models.spec import ModelSpec, ModuleSpec
from autopeft.space.configuration import Configuration


def frozen_depth(configuration: Configuration, spec: ModelSpec) -> int:
    """Return how many layers, from the first, lie below everything that a configuration changes.

    What they compute for a row is the same in every epoch and trial. 0 where the configuration
    changes the first layer or what comes before it; all layers where only the head is trained.
    """
    depth = spec.n_layers
    for component in configuration.components:
        info = get_method(component.method).info
        if "backbone" in info.kinds:
            return 0
        for module in info.select(component, spec):
            depth = min(depth, _layer(module, spec))
    # A decoder reads what the whole encoder has made.
    return depth if depth == spec.n_layers else min(depth, spec.first_stack)


def _layer(module: ModuleSpec, spec: ModelSpec) -> int:
    if module.layer is not None:
        return module.layer
    # A norm after the last layer is above all of them, unless another stack comes after it.
    return spec.n_layers if module.kind == "norm.final" and spec.first_stack == spec.n_layers else 0
