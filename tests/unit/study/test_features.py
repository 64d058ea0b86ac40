"""What a surrogate sees of a point."""

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


def candidates(choice: str) -> CandidateSpace:
    budget = ParamBudget(text="100k", limit=100_000)
    return CandidateSpace(space_of(TEXT.replace("CHOICE", choice), 2), SPEC, budget)


def width(choice: str) -> int:
    space = candidates(choice)
    return len(Features(space).row(space.smallest()))


@pytest.mark.parametrize("choice", ["embed.tokens", "embed.tokens+attn.qv"])
def test_word_embeddings_are_a_column_where_a_space_names_them(choice: str) -> None:
    assert width(choice) == width("linear") + 1


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
