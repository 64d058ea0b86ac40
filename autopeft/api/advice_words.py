"""Why a configuration is recommended, in words."""

from collections.abc import Iterator, Mapping
from typing import Any

from autopeft.cost.memory_limit import shown_bytes
from autopeft.methods.registry import get_method
from autopeft.models.spec import ModelSpec
from autopeft.space.catalogue import shared_learning_rate
from autopeft.study.strategies.fitted import Fitted, Limits
from autopeft.study.strategies.portfolio import kind_of, strongest_first

#: Stronger entries of which it is said why they are not taken; the others are counted.
_NAMED = 3


def reasons(
    fitted: Fitted,
    costs: Mapping[str, Any],
    limits: Limits,
    spec: ModelSpec,
    before: Mapping[str, str],
    steps: int | None,
) -> Iterator[str]:
    """Yield why a configuration is recommended, a sentence each.

    Args:
        fitted: The configuration and where it is from.
        costs: What it costs.
        limits: What it had to keep.
        spec: The model.
        before: Stronger entries that are not taken, each with the reason.
        steps: Steps of the training, `None` if nobody knows.
    """
    yield _place_in_order(fitted, spec)
    yield from _not_taken(before)
    yield _size(fitted, costs, limits)
    if limits.memory is not None:
        peak = shown_bytes(costs["peak_memory_bytes"])
        yield f"Its predicted memory, {peak}, is within {limits.memory.text}."
    yield _rate(fitted, limits, spec, steps)
    if all(get_method(c.method).info.mergeable for c in fitted.configuration.components):
        yield "It merges into the model's weights, so that it costs nothing to use."
    else:
        yield "It stays beside the model's weights: using it takes the adapter's own operations."


def _place_in_order(fitted: Fitted, spec: ModelSpec) -> str:
    architecture, given = kind_of(spec)
    names = list(strongest_first(spec))
    what = "classes or numbers" if given == "labels" else "text"
    article = "an" if architecture.startswith("e") else "a"
    return (
        f"Number {names.index(fitted.name) + 1} of {len(names)} in the portfolio's order for "
        f"{article} {architecture} that gives {what}; its source is {fitted.entry.source}."
    )


def _not_taken(before: Mapping[str, str]) -> Iterator[str]:
    for name, reason in list(before.items())[:_NAMED]:
        yield f"Before it comes {name}: {reason.rstrip('.')}."
    if len(before) > _NAMED:
        yield f"{len(before) - _NAMED} more before it do not fit either."


def _size(fitted: Fitted, costs: Mapping[str, Any], limits: Limits) -> str:
    count, limit = costs["adapter_params"], limits.budget.limit
    text = f"It has {count:,} of the {limit:,} adapter parameters allowed"
    if not fitted.changes:
        return f"{text}, as its source describes it."
    return f"{text}. To fit it was changed: {'; '.join(fitted.changes)}."


def _rate(fitted: Fitted, limits: Limits, spec: ModelSpec, steps: int | None) -> str:
    rates = [get_method(c.method).info.default_learning_rate for c in fitted.entry.components]
    rate, factor = fitted.configuration.training.learning_rate, fitted.entry.width_factor(spec)
    wide = f", times {factor:.2g} as the decoder is {spec.hidden_size:,} wide" if factor < 1 else ""
    if limits.short:
        return (
            f"The learning rate {rate:.3g} is {fitted.entry.multiple:g} times the default, as a "
            f"training of {steps:,} steps is short{wide}."
        )
    text = f"The learning rate {rate:.3g} is the default{wide}"
    if fitted.entry.multiple == 1.0:
        return f"{text}."
    short = shared_learning_rate(rates) * fitted.entry.multiple_on(spec, short=True)
    return f"{text}; a training of a few hundred steps bears {short:.3g}."
