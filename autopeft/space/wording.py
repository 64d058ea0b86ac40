"""Configurations and counts in a few words.

The components of a configuration are joined by "+" in the order of its method.
"""

from collections.abc import Callable

from autopeft.space.configuration import Component, Configuration, Value
from autopeft.space.layers import describe


def count_text(n: int, thing: str) -> str:
    """Return how many there are of a thing: `1 trial`, `2,000 trials`."""
    return f"{n:,} {thing}" if n == 1 else f"{n:,} {thing}s"


def target_text(configuration: Configuration) -> str:
    """Return the targets: `attn.q,v mlp.up`."""
    return _each(configuration, _targets)


def layer_text(configuration: Configuration, n_layers: int) -> str:
    """Return the layers: `all`, `last 2`, `0,3`."""
    return _each(configuration, lambda component: describe(component.layers, n_layers))


def setting_text(configuration: Configuration) -> str:
    """Return the hyperparameters: `alpha_over_rank=2 rank=8`."""
    return _each(configuration, _settings)


def flat_params(configuration: Configuration) -> dict[str, Value]:
    """Return the hyperparameters by name; those of several components as `method.name`."""
    single = len(configuration.components) == 1
    return {
        name if single else f"{component.method}.{name}": value
        for component in configuration.components
        for name, value in component.params
    }


def _each(configuration: Configuration, text: Callable[[Component], str]) -> str:
    """Return the text of each component; one text where all say the same."""
    texts = [text(component) for component in configuration.components]
    return " + ".join(texts[:1] if len(set(texts)) == 1 else texts)


def _targets(component: Component) -> str:
    groups: dict[str, list[str]] = {}
    for kind in component.targets:
        family, _, part = kind.partition(".")
        groups.setdefault(family, []).append(part)
    return " ".join(
        f"{family}.{','.join(parts)}" if any(parts) else family for family, parts in groups.items()
    )


def _settings(component: Component) -> str:
    return " ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in component.params
    )
