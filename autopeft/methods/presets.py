"""Configurations that papers made known, by name, sized for a model: `preset:mam`."""

from collections.abc import Callable
from typing import Any

from autopeft.errors import UnknownNameError
from autopeft.models.spec import ModelSpec

PREFIX = "preset:"


def _serial(spec: ModelSpec, targets: str = "mlp.down") -> dict[str, Any]:
    return {
        "method": "serial_adapter",
        "targets": targets,
        "bottleneck": max(1, spec.hidden_size // 16),
    }


def _parallel(spec: ModelSpec) -> dict[str, Any]:
    return {
        "method": "parallel_adapter",
        "bottleneck": max(1, spec.hidden_size // 2),
        "scale": 4.0,
    }


def _lora(alpha_over_rank: float) -> dict[str, Any]:
    return {"method": "lora", "rank": 8, "alpha_over_rank": alpha_over_rank}


def _prefix(length: int) -> dict[str, Any]:
    return {"method": "prefix", "length": length}


#: Components of each preset for a model. UniPELT (arXiv 2110.07577) is here without its gates.
_PRESETS: dict[str, Callable[[ModelSpec], list[dict[str, Any]]]] = {
    "pfeiffer": lambda spec: [_serial(spec)],
    "houlsby": lambda spec: [_serial(spec, "attn.o+mlp.down")],
    "parallel": lambda spec: [_parallel(spec)],
    "prefix": lambda _: [_prefix(10)],
    "mam": lambda spec: [_prefix(30), _parallel(spec)],
    "unipelt": lambda spec: [_lora(0.25), _prefix(10), _serial(spec)],
    "lora-qv": lambda _: [_lora(2.0)],
    "ia3": lambda _: [{"method": "ia3"}],
    "bitfit": lambda _: [{"method": "bitfit"}],
    "head": lambda _: [],
}


def preset_names() -> tuple[str, ...]:
    """Return the names of the presets."""
    return tuple(_PRESETS)


def preset(name: str, spec: ModelSpec) -> dict[str, Any]:
    """Return a preset as the plain data that `read_configuration` reads.

    Args:
        name: Name of the preset.
        spec: The model; bottlenecks are shares of its hidden size.

    Raises:
        UnknownNameError: If there is no such preset.
    """
    if name not in _PRESETS:
        raise UnknownNameError("preset", name, _PRESETS)
    return {"components": _PRESETS[name](spec)}
