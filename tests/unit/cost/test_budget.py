import pytest

from autopeft.cost.budget import ParamBudget
from autopeft.errors import BudgetError

BASE = 22_713_216


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("0.1%", 22_713),
        ("100%", BASE),
        (" 1 % ", 227_132),
        ("50k", 50_000),
        ("1.5M", 1_500_000),
        ("20000", 20_000),
        (".5%", 113_566),
    ],
)
def test_parse(text: str, limit: int) -> None:
    assert ParamBudget.parse(text, BASE).limit == limit


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "allows no parameters"),
        ("0%", "allows no parameters"),
        ("101%", "more than the 22,713,216"),
        ("30M", "more than the 22,713,216"),
        ("-1%", "Cannot read"),
        ("ten", "Cannot read"),
        ("1e3", "Cannot read"),
        ("", "Cannot read"),
        ("nan%", "Cannot read"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    with pytest.raises(BudgetError, match=message):
        ParamBudget.parse(text, BASE)
