"""One configuration as a search space of a single point, to be trained as a study is."""

from typing import Any

import yaml

from autopeft.errors import SpaceError
from autopeft.space.configuration import Configuration, Value


def point_space(configuration: Configuration, n_layers: int) -> str:
    """Return the text of a search-space file that holds this configuration and no other.

    Raises:
        SpaceError: If a method stands twice in the configuration.
    """
    methods = [component.method for component in configuration.components]
    twice = next((m for m in methods if methods.count(m) > 1), None)
    if twice is not None:
        raise SpaceError(f"The configuration has {twice} twice; it can be trained with one.")
    fields: dict[str, dict[str, Any]] = {}
    for component in configuration.components:
        mask = "".join("1" if i in component.layers else "0" for i in range(n_layers))
        values = {
            "targets": "+".join(component.targets),
            "layers": f"mask:{mask}",
            **dict(component.params),
        }
        fields |= {f"{component.method}.{name}": _only(value) for name, value in values.items()}
    if not methods:  # the head alone: a component that is off
        methods = ["serial_adapter"]
        fields["serial_adapter.bottleneck"] = {"type": "ordered", "values": [0]}
    training = configuration.training.to_dict()
    fields |= {name: _only(value) for name, value in training.items() if value is not None}
    data = {
        "schema_version": 1,
        "name": configuration.method,
        "about": "One configuration.",
        "components": methods,
        "hyperparameters": fields,
    }
    return yaml.safe_dump(data, sort_keys=False)


def _only(value: Value) -> dict[str, Any]:
    return {"type": "choice", "choices": [value]}
