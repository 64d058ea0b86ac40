import pytest

from autopeft.space.wording import count_text


@pytest.mark.parametrize(
    ("n", "text"), [(0, "0 trials"), (1, "1 trial"), (2, "2 trials"), (12_345, "12,345 trials")]
)
def test_one_is_not_many(n: int, text: str) -> None:
    assert count_text(n, "trial") == text
