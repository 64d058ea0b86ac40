import pytest

from autopeft.errors import SpaceError
from autopeft.space.targets import GROUPS, KINDS, expand


def test_groups_and_kinds_expand_in_forward_order() -> None:
    assert expand("attn.v+attn.q") == ("attn.q", "attn.v")
    assert expand("attn.qv+mlp.up") == ("attn.q", "attn.v", "attn.qkv", "mlp.up")
    assert expand(["mlp", "mlp.up"]) == ("mlp.gate", "mlp.up", "mlp.gate_up", "mlp.down")


def test_every_group_names_kinds() -> None:
    assert all(set(kinds) <= set(KINDS) for kinds in GROUPS.values())
    assert not set(GROUPS) & set(KINDS)


@pytest.mark.parametrize("names", ["attn.x", "", []])
def test_unknown_or_no_targets_are_refused(names: str | list[str]) -> None:
    with pytest.raises(SpaceError, match="target"):
        expand(names)
