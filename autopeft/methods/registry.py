"""Names of PEFT methods, and the class behind each; nothing is imported before it is asked for."""

import importlib
from functools import cache

from autopeft.errors import UnknownNameError
from autopeft.methods.method import PeftMethod

_METHODS = {
    "lora": "autopeft.methods.lora:Lora",
    "adalora": "autopeft.methods.adalora:AdaLora",
    "ia3": "autopeft.methods.ia3:Ia3",
    "ln_tuning": "autopeft.methods.ln_tuning:LnTuning",
    "bitfit": "autopeft.methods.bitfit:BitFit",
    "shira": "autopeft.methods.shira:Shira",
    "full": "autopeft.methods.full:FullFineTuning",
}


def method_names() -> tuple[str, ...]:
    """Return the registered names, in the order of the documentation."""
    return tuple(_METHODS)


@cache
def get_method(name: str) -> PeftMethod:
    """Return the method `name`.

    Raises:
        UnknownNameError: If no method has that name.
    """
    if name not in _METHODS:
        raise UnknownNameError("method", name, _METHODS)
    module, attribute = _METHODS[name].split(":")
    method: PeftMethod = getattr(importlib.import_module(module), attribute)()
    assert method.info.name == name
    return method


def default_learning_rates() -> dict[str, float]:
    """Return the learning rate that a multiple of 1 means, by method."""
    return {name: get_method(name).info.default_learning_rate for name in _METHODS}
