"""What can be chosen and what it costs, for a model or in general; nothing is trained."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from autopeft.api.result import SearchResult
from autopeft.errors import SpaceError
from autopeft.methods.compose import obstacle, read_configuration, refusal
from autopeft.methods.method import MethodParameter, PeftMethod
from autopeft.methods.presets import PREFIX, check_preset, preset
from autopeft.methods.registry import get_method, method_names
from autopeft.models.head import TaskHead
from autopeft.models.loading import load_config, meta_model
from autopeft.models.registry import resolve_model
from autopeft.models.spec import ModelSpec, inspect_model
from autopeft.space.configuration import Component, Configuration, Value
from autopeft.space.hyperparameter import Choice
from autopeft.space.targets import expand
from autopeft.space.text import load_yaml, text_of, yaml_mistake
from autopeft.trials.folder import StudyFolder


def spec_of(model: str) -> ModelSpec:
    """Return the structure of a model by its name, with a head for two classes.

    Raises:
        AutopeftError: If there is no such model, or its config cannot be had.
    """
    return inspect_model(meta_model(load_config(resolve_model(model), TaskHead())))


def configuration_of(
    name: str,
    spec: ModelSpec,
    training: Mapping[str, Any],
    defaults: Mapping[str, Any] | None = None,
) -> Configuration:
    """Return a configuration of a file, a preset or a trial.

    Args:
        name: Path of a YAML or JSON file, `preset:NAME`, or a study's folder with a trial,
            `STUDY:17` or `STUDY:best`.
        spec: The model.
        training: Fields of the training that replace those of the file.
        defaults: Fields of the training where neither says anything.

    Raises:
        AutopeftError: If there is no such configuration, or not for this model.
    """
    data = preset(name.removeprefix(PREFIX), spec) if name.startswith(PREFIX) else _read(name)
    own = data.get("training") or {}
    return read_configuration({**data, "training": {**(defaults or {}), **own, **training}}, spec)


def check_configuration(name: str) -> None:
    """Check that there is a configuration of a name, as far as no model is needed for it.

    Raises:
        AutopeftError: If there is none.
    """
    if name.startswith(PREFIX):
        check_preset(name.removeprefix(PREFIX))
    else:
        _read(name)


def _read(name: str) -> dict[str, Any]:
    file = Path(name)
    study, _, pick = name.rpartition(":")
    if not file.exists() and study and Path(study).is_dir():
        return SearchResult.open(study).pick(pick).spec.configuration.to_dict()
    if name and StudyFolder(file).exists:
        raise SpaceError(f"'{file}' is a study: name one of its trials, such as {file}:best.")
    if not name or not file.is_file():
        raise SpaceError(
            f"There is no configuration file '{name}': name a YAML or JSON file, preset:NAME or "
            "STUDY:TRIAL."
        )
    try:
        data = load_yaml(text_of(file, SpaceError))
    except yaml.YAMLError as error:
        line, problem = yaml_mistake(error)
        raise SpaceError(f"{file.name}{line}: not valid YAML or JSON: {problem}.") from error
    if not isinstance(data, dict):
        raise SpaceError(f"{file.name}: a configuration must be a mapping with 'method'.")
    return data


def method_rows(spec: ModelSpec | None) -> list[dict[str, Any]]:
    """Return what can be said of each method, for a model or in general."""
    rows = []
    for name in method_names():
        info = get_method(name).info
        row: dict[str, Any] = {"name": name, "family": info.family}
        if spec is not None:
            row |= _on_model(get_method(name), spec)
        row |= {
            "default_learning_rate": info.default_learning_rate,
            "ranges": "; ".join(
                f"{p.domain.name} {p.domain.describe()} ({p.default})" for p in info.parameters
            ),
            "mergeable": info.mergeable,
            "maskable": info.maskable,
            "converts_to_lora": info.converts_to_lora,
            "targets": "+".join(info.default_targets),
            "about": info.about,
        }
        rows.append(row)
    return rows


def _on_model(method: PeftMethod, spec: ModelSpec) -> dict[str, Any]:
    """Return whether a model takes a method, or why not, and the parameters of its extremes."""
    reason = refusal(method, spec)
    counts = [] if reason else list(_counts(method, spec))
    return {
        "takes": reason is None,
        "reason": reason or "",
        "smallest_params": min(counts, default=None),
        "largest_params": max(counts, default=None),
    }


def _counts(method: PeftMethod, spec: ModelSpec) -> Iterator[int]:
    """Yield the parameters on all layers: all choices, all sizes at an end or at their defaults.

    RandLoRA's are fewest between the ends, nearer to the default.
    """
    parameters = method.info.parameters
    layers = tuple(range(spec.n_layers))
    for sizes in (_at(parameters, 0.0), _at(parameters, 1.0), [p.default for p in parameters]):
        options = [
            p.domain.choices if isinstance(p.domain, Choice) else (size,)
            for p, size in zip(parameters, sizes, strict=True)
        ]
        for targets, *values in itertools.product(method.info.target_choices, *options):
            component = Component(
                method=method.info.name,
                targets=expand(str(targets)),
                layers=layers,
                params=tuple((p.domain.name, v) for p, v in zip(parameters, values, strict=True)),
            )
            if obstacle(component, spec) is None:
                yield method.count_parameters(component, spec)


def _at(parameters: Iterable[MethodParameter], end: float) -> list[Value]:
    return [p.domain.from_unit([end] * p.domain.width) for p in parameters]
