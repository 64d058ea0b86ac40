from collections import Counter

import pytest

from autopeft.tasks.data import load_data
from autopeft.tasks.pydoc import TOPICS, pydoc_splits
from autopeft.tasks.task import find_task

Splits = tuple[list[dict[str, str]], list[dict[str, str]], str]


@pytest.fixture(scope="module")
def splits() -> Splits:
    return pydoc_splits()


def test_size_and_balance(splits: Splits) -> None:
    train, validation, _ = splits
    assert len(train) + len(validation) >= 1_800
    counts = Counter(row["label"] for row in train)
    assert set(counts) == set(TOPICS)
    assert 8 <= len(TOPICS) <= 10
    assert min(counts.values()) >= 100
    assert max(counts.values()) <= 0.25 * len(train)


def test_the_task_names_its_classes() -> None:
    assert find_task("pydoc").labels == tuple(sorted(TOPICS))


def test_texts_are_distinct_and_in_one_split(splits: Splits) -> None:
    train, validation, _ = splits
    texts = [row["text"] for row in train + validation]
    assert len(texts) == len(set(texts))


def test_the_same_every_time(splits: Splits) -> None:
    assert pydoc_splits() == splits


@pytest.mark.parametrize("name", ["threading", "asyncio", "unittest", "urllib", "zipfile", "email"])
def test_names_that_give_the_label_away_are_masked(splits: Splits, name: str) -> None:
    train, validation, _ = splits
    words = {w.lower() for row in train + validation for w in row["text"].split()}
    assert name not in words


def test_as_a_task() -> None:
    data = load_data(find_task("pydoc"))
    assert data.head.n_labels == len(TOPICS)
    assert len(data.train) == find_task("pydoc").train_rows
    assert len(data.validation) == find_task("pydoc").eval_rows
