"""`LoraPlan`: what other projects have to know to train a trial's LoRA."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from autopeft.errors import RequestError
from autopeft.trials.trial import TrialRecord

_ADAPTED = re.compile(r"base_model\.model\.(.+)\.lora_(?:embedding_)?A(?:\.|$)")
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraPlan:
    """A LoRA as it was trained.

    Attributes:
        rank: Inner size of the update.
        alpha: The update is scaled by alpha / rank, or by alpha / sqrt(rank) in rsLoRA.
        dropout: Dropout on the input of the update.
        variant: As the method `lora` names it.
        init: Likewise, how the factors start.
        b_rate_over_a: Learning rate of B by that of A.
        targets: Names of the modules that it changes, or ends of names.
    """

    rank: int
    alpha: float
    dropout: float
    variant: str
    init: str
    b_rate_over_a: float
    targets: tuple[str, ...]


def lora_plan(record: TrialRecord, adapter: Path, n_layers: int) -> LoraPlan | None:
    """Return the LoRA of a trial, `None` where all weights were trained.

    Args:
        record: The trial.
        adapter: Folder of its trained weights; shapes and names are read from it.
        n_layers: Layers of the base model.

    Raises:
        RequestError: If it is neither one LoRA without a density mask nor full fine-tuning.
    """
    components = record.spec.configuration.components
    methods = [component.method for component in components]
    if methods == ["full"]:
        return None
    params = dict(components[0].params) if components else {}
    if methods != ["lora"] or params.get("density", 1.0) != 1.0:
        what = record.spec.configuration.method if methods != ["lora"] else "lora with a density"
        raise RequestError(
            f"Trial {record.number} trains {what}, and recipes for other projects are of lora or "
            "full fine-tuning alone: leave them out of --format, or pick another trial."
        )
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    return LoraPlan(
        rank=int(config["r"]),
        alpha=float(config["lora_alpha"]),
        dropout=float(config["lora_dropout"]),
        variant=str(params.get("variant", "plain")),
        init=str(params.get("init", "default")),
        b_rate_over_a=float(params.get("b_rate_over_a", 1.0)),
        targets=_shortest(_adapted_modules(adapter), n_layers),
    )


def _adapted_modules(adapter: Path) -> list[str]:
    # The config may name ends of names; the tensors have them in full.
    with safe_open(adapter / "adapter_model.safetensors", framework="pt") as file:
        found = {match[1] for name in file.keys() if (match := _ADAPTED.match(name))}  # noqa: SIM118
    return sorted(found, key=lambda name: ([int(n) for n in _NUMBER.findall(name)], name))


def _shortest(modules: list[str], n_layers: int) -> tuple[str, ...]:
    """Return two-part ends, such as `self_attn.q_proj`, for modules that all layers have changed.

    Others keep their full names. peft takes both, and one part alone may name two modules: GPT-2
    has a `c_proj` in its attention and in its feed-forward network.
    """
    by_end: dict[str, list[str]] = {}
    for name in modules:
        end = ".".join(name.split(".")[-2:]) if _NUMBER.search(name) else name
        by_end.setdefault(end, []).append(name)
    targets: list[str] = []
    for end, names in by_end.items():
        everywhere = len(names) == n_layers and not _NUMBER.search(end)
        targets += [end] if everywhere else names
    return tuple(targets)
