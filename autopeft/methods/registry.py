"""Names of PEFT methods, and the class behind each: every module of this package is looked at."""

import importlib
import inspect
import pkgutil
from functools import cache

from autopeft.errors import UnknownNameError
from autopeft.methods.density import MASK_PARAMETERS
from autopeft.methods.method import FAMILIES, MethodParameter, PeftMethod
from autopeft.space.catalogue import Catalogue, CatalogueEntry


@cache
def _methods() -> dict[str, PeftMethod]:
    """Return all methods by name, in the order of families, then names; LoRA is the first."""
    package = importlib.import_module(__package__)
    found: list[PeftMethod] = []
    for entry in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{__package__}.{entry.name}")
        found += [
            member()
            for _, member in inspect.getmembers(module, inspect.isclass)
            if issubclass(member, PeftMethod)
            and member.__module__ == module.__name__
            and not inspect.isabstract(member)
        ]
    found.sort(key=lambda m: (m.info.name != "lora", FAMILIES.index(m.info.family), m.info.name))
    assert len({m.info.name for m in found}) == len(found)
    return {method.info.name: method for method in found}


def method_names() -> tuple[str, ...]:
    """Return the names of all methods."""
    return tuple(_methods())


def get_method(name: str) -> PeftMethod:
    """Return the method `name`.

    Raises:
        UnknownNameError: If no method has that name.
    """
    methods = _methods()
    if name not in methods:
        raise UnknownNameError("method", name, methods)
    return methods[name]


@cache
def catalogue() -> Catalogue:
    """Return what search spaces must know of every method."""
    return {
        name: CatalogueEntry(
            learning_rate=method.info.default_learning_rate,
            targets=method.info.default_targets,
            domains={p.domain.name: p.domain for p in (*method.info.parameters, *_mask(method))},
            dimensions=method.info.dimensions(),
            goes_alone=method.info.goes_alone,
        )
        for name, method in _methods().items()
    }


def _mask(method: PeftMethod) -> tuple[MethodParameter, ...]:
    return MASK_PARAMETERS if method.info.maskable else ()
