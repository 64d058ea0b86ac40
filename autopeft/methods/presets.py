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


def _unipelt(spec: ModelSpec) -> list[dict[str, Any]]:
    # arXiv 2110.07577. Its code (lora_layers.py) has LoRA's gate in the place of alpha by rank.
    gated = {"gate": "input"}
    parts = [_prefix(10) | gated, _serial(spec) | gated]
    return [_lora(1.0), {"method": "update_gate"}, *parts]


#: Components of each preset for a model.
_PRESETS: dict[str, Callable[[ModelSpec], list[dict[str, Any]]]] = {
    "pfeiffer": lambda spec: [_serial(spec)],
    "houlsby": lambda spec: [_serial(spec, "attn.o+mlp.down")],
    "parallel": lambda spec: [_parallel(spec)],
    "prefix": lambda _: [_prefix(10)],
    "mam": lambda spec: [_prefix(30), _parallel(spec)],
    "unipelt": _unipelt,
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
    check_preset(name)
    return {"components": _PRESETS[name](spec)}


def check_preset(name: str) -> None:
    """Check that there is a preset of a name.

    Raises:
        UnknownNameError: If there is none.
    """
    if name not in _PRESETS:
        raise UnknownNameError("preset", name, _PRESETS)
