"""What a surrogate sees of a point."""

from itertools import combinations

import pytest

from autopeft.cost.budget import ParamBudget
from autopeft.cost.candidates import CandidateSpace
from autopeft.models.spec import inspect_model
from autopeft.study.strategies.features import Features
from tests.spaces import space_of
from tests.tiny import build

SPEC = inspect_model(build("bert", "meta"))
TEXT = """
schema_version: 1
name: places
hyperparameters:
  method: {type: choice, choices: [lora]}
  targets: {type: choice, choices: [attn.qv, CHOICE]}
  variant: {type: choice, choices: [plain, kasa]}
"""


BUDGET = ParamBudget(text="100k", limit=100_000)


def candidates(choice: str) -> CandidateSpace:
    return CandidateSpace(space_of(TEXT.replace("CHOICE", choice), 2), SPEC, BUDGET)


def width(choice: str) -> int:
    space = candidates(choice)
    return len(Features(space).row(space.smallest()))


@pytest.mark.parametrize("choice", ["embed.tokens", "embed.tokens+attn.qv"])
def test_word_embeddings_are_a_column_where_a_space_names_them(choice: str) -> None:
    assert width(choice) == width("linear") + 1


def test_layers_that_are_chosen_by_name_are_told_apart() -> None:
    """Share and depth alone tell some of them from others by little, or not at all."""
    choice = "  layers: {type: choice, choices: ['every:2', 'first:1/2', all]}\n"
    mask = "  layers: {type: layer_mask}\n"
    spaces = [
        CandidateSpace(space_of(TEXT.replace("CHOICE", "linear") + layers, 2), SPEC, BUDGET)
        for layers in (choice, mask)
    ]
    point = {"method": "lora", "targets": "linear", "variant": "plain"}
    chosen, switched = map(Features, spaces)
    rows = [chosen.row({**point, "layers": name}) for name in ("every:2", "first:1/2", "all")]
    assert len(rows[0]) == len(switched.row({**point, "layers": "11"})) + 3
    assert all((a != b).sum() >= 2 for a, b in combinations(rows, 2))


def test_points_that_embeddings_cannot_take_are_left_out() -> None:
    space = candidates("embed.tokens")
    found = {
        (targets, variant): space.adapter_params(
            {"method": "lora", "targets": targets, "variant": variant}
        )
        for targets in ("attn.qv", "embed.tokens")
        for variant in ("plain", "kasa")
    }
    assert found["embed.tokens", "plain"] == 8 * (99 + 32)
    assert found["embed.tokens", "kasa"] is None
    assert found["attn.qv", "kasa"] is not None
