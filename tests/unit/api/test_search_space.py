"""`autopeft.search_space`: what cannot be asked is said in one sentence."""

from pathlib import Path

import pytest

from autopeft import search_space
from autopeft.errors import AutopeftError


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"budget": 5}, "Cannot read the budget 5: "),
        ({"budget": "1%", "n_labels": 0}, "n_labels is 0: it takes a whole number from 1 up"),
        ({"seq_length": -1}, "seq_length is -1"),
        ({"batch_size": 0.5}, "batch_size is 0.5"),
        ({"language_modeling": True, "n_labels": 2}, "has no classes"),
        ({"space": "lroa"}, "did you mean lora"),
    ],
    ids=str,
)
def test_what_cannot_be_asked(tiny_model: Path, asked: dict[str, object], message: str) -> None:
    with pytest.raises(AutopeftError, match=message):
        search_space(str(tiny_model), **asked)  # type: ignore[arg-type]


def test_an_argument_that_there_is_not(tiny_model: Path) -> None:
    with pytest.raises(TypeError, match=r"search_space\(\) got an unexpected .*'foo'"):
        search_space(str(tiny_model), foo=1)  # type: ignore[call-arg]
