"""From a configuration to a model that trains: checks, parameter count and attachment."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from transformers import PreTrainedModel

from autopeft.errors import SpaceError
from autopeft.methods.composite import CompositeAttachment, in_order, lacking
from autopeft.methods.density import MASK_PARAMETERS, complete_mask, mask_settings
from autopeft.methods.inserted import InsertedMethod
from autopeft.methods.mask import masked
from autopeft.methods.method import AttachContext, Attachment, PeftMethod
from autopeft.methods.peft_types import LORA_LEFT_OUT
from autopeft.methods.registry import get_method
from autopeft.models.spec import ModelSpec
from autopeft.space.catalogue import shared_learning_rate
from autopeft.space.configuration import Component, Configuration
from autopeft.space.targets import expand

_IDLE = "there is no component, and a model that writes text keeps its head as it is"


def refusal(method: PeftMethod, spec: ModelSpec, input_length: int = 0) -> str | None:
    """Return why a model cannot take a method, or `None` if it can.

    Args:
        method: The method.
        spec: The model.
        input_length: Longest input in tokens.
    """
    info = method.info
    component = _default(method, spec)
    if method.added_tokens(component) and no_room(1, spec, input_length):
        return no_room(1, spec, input_length)
    if "backbone" in info.kinds:
        return method.obstacle(component, spec)
    # Word embeddings are nobody's usual target.
    candidates = [m for m in spec.modules if m.kind in info.kinds and m.type != "embedding"]
    if not candidates:
        return f"{spec.family} has no module that {info.name} changes ({', '.join(info.kinds)})"
    projections = [m for m in candidates if m.type in {"linear", "conv1d"}]
    if projections and not any(m.type in info.module_types for m in projections):
        return (
            f"{spec.family}'s projections are Conv1D modules (transposed linear ones), and peft "
            f"has {info.name} for Linear alone"
        )
    return method.obstacle(component, spec)


def no_room(n_added: int, spec: ModelSpec, input_length: int) -> str | None:
    """Return why so many more tokens do not go into a model beside an input, if so."""
    if not n_added or spec.max_length is None or input_length + n_added <= spec.max_length:
        return None
    return (
        f"{spec.family} takes {spec.max_length} tokens, which leaves no room for {n_added} beside "
        f"inputs of {input_length}"
    )


def added_tokens(configuration: Configuration) -> int:
    """Return by how many tokens a configuration makes an input longer."""
    return sum(get_method(c.method).added_tokens(c) for c in configuration.components)


def _default(method: PeftMethod, spec: ModelSpec) -> Component:
    """Return the component that a method is when nothing else is said."""
    return Component(
        method=method.info.name,
        targets=expand(method.info.default_targets),
        layers=tuple(range(spec.n_layers)),
        params=tuple((p.domain.name, p.default) for p in method.info.parameters),
    )


def obstacle(component: Component, spec: ModelSpec) -> str | None:
    """Return why a component cannot be attached to a model, or `None` if it can."""
    method = get_method(component.method)
    modules = method.info.select(component, spec)
    if "backbone" not in method.info.kinds and not modules:
        return (
            f"{component.method} finds none of {', '.join(component.targets)} in the layers "
            f"{', '.join(map(str, component.layers))} of {spec.family}"
        )
    if any(m.type == "embedding" and m.shared_by for m in modules):
        return (
            f"{spec.family} uses one matrix of word embeddings in several modules: what is "
            "trained for one of them would change the others when it is merged"
        )
    return method.obstacle(component, spec)


def count_parameters(configuration: Configuration, spec: ModelSpec) -> int:
    """Return the adapter parameters of a configuration: those that can be non-zero at its end.

    They are what trains, less what a density mask prunes; the head is not counted.
    """
    return sum(_count_left(component, spec) for component in configuration.components)


def count_trained(configuration: Configuration, spec: ModelSpec) -> int:
    """Return the adapter parameters that train, and so hold memory, pruned or not."""
    return sum(get_method(c.method).count_parameters(c, spec) for c in configuration.components)


def count_mask_bytes(configuration: Configuration, spec: ModelSpec) -> int:
    """Return the bytes that the masks of a configuration hold while it trains."""
    total = 0
    for component in configuration.components:
        settings = mask_settings(component, get_method(component.method).info)
        if settings is not None:
            total += settings.mask_bytes(_count_maskable(component, spec))
    return total


def _count_left(component: Component, spec: ModelSpec) -> int:
    method = get_method(component.method)
    trained = method.count_parameters(component, spec)
    settings = mask_settings(component, method.info)
    if settings is None:
        return trained
    maskable = _count_maskable(component, spec)
    return trained - maskable + settings.n_left(maskable)


def _count_maskable(component: Component, spec: ModelSpec) -> int:
    method = get_method(component.method)
    return method.count_parameters(component, spec) - method.count_unmasked(component, spec)


def check_configuration(configuration: Configuration, spec: ModelSpec) -> None:
    """Check every component against its method and the model.

    Raises:
        SpaceError: If a method's hyperparameter is missing, unknown or out of its range, a
            component changes nothing in this model, or components cannot go together.
    """
    for component in configuration.components:
        _check_component(component)
        problem = obstacle(component, spec)
        if problem:
            raise SpaceError(f"The configuration cannot be attached: {problem}.")
    problem = conflict(configuration.components, spec)
    if problem:
        what = "The components cannot go together" if configuration.components else "Nothing trains"
        raise SpaceError(f"{what}: {problem}.")


def _check_component(component: Component) -> None:
    info = get_method(component.method).info
    given = dict(component.params)
    mask = {p.domain.name: p for p in MASK_PARAMETERS if info.maskable}
    own = {p.domain.name: p for p in info.parameters}
    known = own | mask
    # The mask comes as a whole or not at all.
    wrong = set(given) ^ set(known if set(given) & set(mask) else own)
    if wrong:
        name = min(wrong)
        what = "has no hyperparameter" if name in given else "needs the hyperparameter"
        raise SpaceError(f"{info.name} {what} '{name}': it takes {_listed(known)}.")
    for name, value in given.items():
        if not known[name].domain.contains(value):
            domain = known[name].domain.describe()
            # Of what peft has under that name and we do not, say why.
            reason = LORA_LEFT_OUT.get(str(value)) if info.name == "lora" else None
            why = f": '{value}' {reason}" if reason else ""
            raise SpaceError(f"'{name}' of {info.name} is {value!r}; it must be {domain}{why}.")
    settings = mask_settings(component, info)
    if settings is not None and settings.start > settings.end:
        raise SpaceError(
            f"'mask_start' of {info.name} is {settings.start:g}, after 'mask_end', which is "
            f"{settings.end:g}: pruning must start before it is over."
        )


def conflict(components: Sequence[Component], spec: ModelSpec) -> str | None:
    """Return why components cannot go on one model together, or `None` if they can."""
    if len(components) < 2:
        idle = not components and not spec.head_modules
        return _IDLE if idle else lacking(components, spec)
    changed: dict[str, list[str]] = {}
    for method, component in in_order(components):
        if method.info.family == "full":
            return "full fine-tuning leaves nothing to other components"
        if method.stands_alone(component):
            return f"{component.method} as it starts here goes with no other component"
        other = next((c for c in components if c.method in method.info.not_beside), None)
        if other is not None:
            return f"{component.method} and {other.method} do not go on one model"
        own = isinstance(method, InsertedMethod)
        for module in method.info.select(component, spec):
            # Two of peft's methods cannot hold one module; ours go around whatever is there.
            others = changed.setdefault(module.name, [])
            if component.method in others or (others and not own):
                return (
                    f"{component.method} and {others[0]} both change '{module.name}': give them "
                    "different targets or layers"
                )
            others.append(component.method)
    return lacking(components, spec)


def read_configuration(data: Any, spec: ModelSpec) -> Configuration:
    """Read a configuration for a model from plain data, filling in the methods' defaults.

    Args:
        data: As `Configuration.to_dict` writes it. `components` may be left out for a single
            method written at the top level; targets, layers ("all"), hyperparameters and the
            learning rate have defaults.
        spec: The model.

    Raises:
        SpaceError: If the data is no configuration, or not one for this model.
    """
    if isinstance(data, Mapping) and "method" in data:
        training = data.get("training", {})
        data = {
            "components": [{k: v for k, v in data.items() if k != "training"}],
            "training": training,
        }
    if not isinstance(data, Mapping) or not isinstance(data.get("components"), list):
        raise SpaceError("A configuration must be a mapping with 'method' or 'components'.")
    components = [_with_defaults(item) for item in data["components"]]
    rates = [get_method(c["method"]).info.default_learning_rate for c in components]
    training = {"learning_rate": shared_learning_rate(rates), **(data.get("training") or {})}
    known = {k: v for k, v in data.items() if k not in {"components", "training"}}
    configuration = complete(
        Configuration.from_dict(
            {**known, "components": components, "training": training}, spec.n_layers
        ),
        spec,
    )
    check_configuration(configuration, spec)
    return configuration


def complete(configuration: Configuration, spec: ModelSpec) -> Configuration:
    """Return the configuration as one way of writing it for a model.

    Hyperparameters that are left out get their defaults, and module kinds that the model does
    not have are dropped, so that equal configurations have equal digests.
    """
    components, kinds = [], {module.kind for module in spec.modules}
    for component in configuration.components:
        info = get_method(component.method).info
        params = {p.domain.name: p.default for p in info.parameters} | dict(component.params)
        present = tuple(kind for kind in component.targets if kind in kinds)
        components.append(
            Component(
                method=component.method,
                targets=present or component.targets,
                layers=tuple(range(spec.n_layers))
                if "backbone" in info.kinds
                else component.layers,
                params=tuple(complete_mask(params, info).items()),
            )
        )
    return Configuration(components=tuple(components), training=configuration.training)


def attach(
    model: PreTrainedModel, configuration: Configuration, context: AttachContext
) -> Attachment:
    """Attach a configuration to a model whose parameters are all frozen."""
    components = configuration.components
    context = replace(context, components=components)
    if len(components) != 1:
        together = CompositeAttachment(model, components, context)
        return masked(together, together.parts, context.total_steps)
    alone = get_method(components[0].method).attach(model, components[0], context)
    head = set(context.spec.head_modules)
    trains = [p for name, p in alone.trainable() if head.isdisjoint(name.split("."))]
    return masked(alone, [(components[0], trains)], context.total_steps)


def _with_defaults(item: Any) -> dict[str, Any]:
    if not isinstance(item, Mapping) or not isinstance(item.get("method"), str):
        raise SpaceError("Each component must be a mapping with a 'method'.")
    info = get_method(item["method"]).info
    defaults: dict[str, Any] = {p.domain.name: p.default for p in info.parameters}
    targets = item.get("targets", list(info.default_targets))
    return defaults | dict(item) | {"targets": expand(targets), "layers": item.get("layers", "all")}


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(names) or "none"
