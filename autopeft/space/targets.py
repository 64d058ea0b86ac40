"""The vocabulary of places: module kinds that mean the same in every architecture."""

from collections.abc import Iterable

from autopeft.errors import SpaceError

#: Every module kind: `backbone` is the whole base model, the others are listed in the order in
#: which a forward pass meets them.
KINDS = (
    "backbone",
    "embed.tokens",
    "norm.embed",
    "norm.attn",
    "attn.q",
    "attn.k",
    "attn.v",
    "attn.qkv",
    "attn.o",
    "norm.mlp",
    "mlp.gate",
    "mlp.up",
    "mlp.gate_up",
    "mlp.down",
    "linear.other",
    "norm.other",
    "norm.final",
)

#: Names for several kinds at once. `attn.qkv` and `mlp.gate_up` are fused projections: a model has
#: either them or the separate ones, so a group names both and a model takes those that it has.
#: The embeddings are in no group: what is right for a projection seldom is for a whole vocabulary.
GROUPS: dict[str, tuple[str, ...]] = {
    "attn.qv": ("attn.q", "attn.v", "attn.qkv"),
    "attn.kv": ("attn.k", "attn.v", "attn.qkv"),
    "attn": ("attn.q", "attn.k", "attn.v", "attn.qkv", "attn.o"),
    "mlp": ("mlp.gate", "mlp.up", "mlp.gate_up", "mlp.down"),
    "linear": (
        "attn.q",
        "attn.k",
        "attn.v",
        "attn.qkv",
        "attn.o",
        "mlp.gate",
        "mlp.up",
        "mlp.gate_up",
        "mlp.down",
        "linear.other",
    ),
    "ia3": ("attn.k", "attn.v", "attn.qkv", "mlp.down"),
    "norm": ("norm.attn", "norm.mlp", "norm.other"),
    "norm.all": ("norm.embed", "norm.attn", "norm.mlp", "norm.other", "norm.final"),
}


def expand(names: str | Iterable[str]) -> tuple[str, ...]:
    """Return the module kinds that `names` stand for, without repeats, in `KINDS` order.

    Args:
        names: A kind, a group, several joined by "+", or an iterable of those.

    Raises:
        SpaceError: If a name is neither a kind nor a group.
    """
    listed = names.split("+") if isinstance(names, str) else list(names)
    chosen: set[str] = set()
    for name in listed:
        if name in GROUPS:
            chosen.update(GROUPS[name])
        elif name in KINDS:
            chosen.add(name)
        else:
            known = ", ".join([*GROUPS, *KINDS])
            raise SpaceError(f"Unknown target '{name}': choose from {known}.")
    if not chosen:
        raise SpaceError("A component needs at least one target.")
    return tuple(kind for kind in KINDS if kind in chosen)
