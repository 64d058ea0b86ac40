"""What is measured: methods, ranks, layers and targets that differ in what they keep."""

from typing import Any

_LORAS: dict[str, dict[str, Any]] = {
    f"lora r{rank} {targets} {layers}": {
        "method": "lora",
        "rank": rank,
        "targets": targets,
        "layers": layers,
    }
    for rank in (2, 8, 64)
    for targets in ("attn.qv", "linear")
    for layers in ("all", "last:1/2", "last:1")
}
_OTHERS: dict[str, dict[str, Any]] = {
    "dora r8": {"method": "lora", "variant": "dora", "rank": 8},
    "dora r8 linear": {"method": "lora", "variant": "dora", "rank": 8, "targets": "linear"},
    "lora-fa r8": {"method": "lora", "variant": "fa", "rank": 8},
    "adalora r8": {"method": "adalora", "rank": 8},
    "loha": {"method": "loha"},
    "lokr": {"method": "lokr"},
    "vera": {"method": "vera"},
    "oft": {"method": "oft"},
    "hra": {"method": "hra"},
    "fourierft": {"method": "fourierft"},
    "shira": {"method": "shira"},
    "ia3": {"method": "ia3"},
    "ssf": {"method": "ssf"},
    "ln_tuning": {"method": "ln_tuning"},
    "serial_adapter 64": {"method": "serial_adapter", "bottleneck": 64},
    "parallel_adapter 64": {"method": "parallel_adapter", "bottleneck": 64},
    "prefix 10": {"method": "prefix", "length": 10},
    "prompt_tuning": {"method": "prompt_tuning"},
    "full": {"method": "full"},
    "head alone": {"components": []},
}
CONFIGURATIONS = _LORAS | _OTHERS
#: On a model that writes text, which takes longer: one of each way of attaching.
WRITING = {
    name: CONFIGURATIONS[name]
    for name in (
        *("lora r8 attn.qv all", "lora r64 linear all", "lora r8 attn.qv last:1", "dora r8"),
        *("adalora r8", "ia3", "ln_tuning", "serial_adapter 64", "prefix 10", "prompt_tuning"),
        "full",
    )
}
