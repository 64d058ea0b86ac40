import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autopeft.errors import DataError, UnknownNameError
from autopeft.models.head import TaskHead
from autopeft.tasks.data import TaskData, load_data, own_task
from autopeft.tasks.task import TaskSpec, find_task, read_task, task_names

GLUE = {"cola", "sst2", "mrpc", "qqp", "stsb", "mnli", "qnli", "rte", "wnli"}


def write(folder: Path, **splits: list[dict[str, Any]]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, rows in splits.items():
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return folder


def sentences(n: int, share: float = 0.5) -> list[dict[str, Any]]:
    return [{"sentence": f"text {i}", "label": int(i < share * n)} for i in range(n)]


def test_all_shipped_tasks_are_valid() -> None:
    assert set(task_names()) == GLUE | {"pydoc", "e2e_nlg", "gsm8k"}
    for name in task_names():
        task = find_task(name)
        assert task.name == name
        assert task.hub or task.builtin


def test_splits_are_read_and_labelled(tmp_path: Path) -> None:
    folder = write(tmp_path / "d", train=sentences(10), validation=sentences(4))
    data = load_data(find_task("sst2"), folder)
    assert (len(data.train), len(data.validation), data.head.n_labels) == (10, 4, 2)
    assert data.train.texts[0] == ("text 0",)
    assert data.labels == ("negative", "positive")
    assert data.train.labels[0] == 1.0


def test_names_and_numbers_of_labels_mean_the_same(tmp_path: Path) -> None:
    named = [{**row, "label": ["negative", "positive"][row["label"]]} for row in sentences(8)]
    by_number = load_data(find_task("sst2"), write(tmp_path / "a", train=sentences(8)))
    by_name = load_data(find_task("sst2"), write(tmp_path / "b", train=named))
    assert by_name.train == by_number.train
    assert by_name.fingerprint == by_number.fingerprint


def test_a_part_is_held_out_when_there_is_no_validation(tmp_path: Path) -> None:
    folder = write(tmp_path / "d", train=sentences(50))
    data = load_data(find_task("sst2"), folder)
    assert (len(data.train), len(data.validation)) == (40, 10)
    assert not set(data.train.texts) & set(data.validation.texts)
    assert sum(data.validation.labels) == 5
    again = load_data(find_task("sst2"), folder)
    assert again.fingerprint == data.fingerprint
    other = load_data(find_task("sst2"), folder, seed=1)
    assert other.fingerprint != data.fingerprint


@given(st.integers(10, 80), st.floats(0.1, 0.9), st.integers(2, 80), st.integers(0, 5))
def test_thinning_out_keeps_the_label_shares(
    tmp_path_factory: pytest.TempPathFactory, n: int, share: float, rows: int, seed: int
) -> None:
    folder = write(tmp_path_factory.mktemp("d"), train=sentences(n, share), validation=sentences(4))
    full = load_data(find_task("sst2"), folder)
    thin = load_data(find_task("sst2"), folder, train_rows=rows, seed=seed)
    assert len(thin.train) == min(rows, n)
    ones = sum(full.train.labels) / n * len(thin.train)
    assert abs(sum(thin.train.labels) - ones) <= 1
    assert set(thin.train.texts) <= set(full.train.texts)


def own(path: Path) -> TaskData:
    return load_data(own_task(["review"], path, label_column="stars"), path)


def test_own_data_without_a_spec(tmp_path: Path) -> None:
    path = tmp_path / "my reviews.csv"
    lines = [f"text {i},{1 + i % 3}" for i in range(30)]
    path.write_text("review,stars\n" + "\n".join(lines))
    data = own(path)
    assert data.task.name == "my-reviews"
    assert data.labels == ("1", "2", "3")
    assert len(data.train) + len(data.validation) == 30


def test_the_only_row_of_a_class_is_trained_on(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("review,stars\n" + "".join(f"text {i},{i % 2}\n" for i in range(20)) + "x,9\n")
    for seed in range(5):
        data = load_data(own_task(["review"], path, label_column="stars"), path, seed=seed)
        assert ("x",) in data.train.texts
        assert (len(data.train), len(data.validation)) == (17, 4)
    path.write_text("review,stars\na,0\nb,1\nc,0\n")
    three = own(path)
    assert set(three.train.labels) == {0.0, 1.0}
    assert three.validation.labels == (0.0,)


def test_no_class_is_held_out_whole(tmp_path: Path) -> None:
    """Beside many classes of one row, a fifth of all rows would be all the others."""
    path = tmp_path / "r.csv"
    labels = [*range(90), *(f"twice {i % 5}" for i in range(10))]
    path.write_text("review,stars\n" + "".join(f"text {i},{n}\n" for i, n in enumerate(labels)))
    data = own(path)
    assert set(data.validation.labels) < set(data.train.labels)
    assert len(data.validation) == 5


def test_every_row_with_a_label_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("review,stars\n" + "".join(f"text {i},{i / 7}\n" for i in range(20)))
    with pytest.raises(DataError, match="no two rows have the same label"):
        own(path)


def test_a_label_that_the_training_rows_lack(tmp_path: Path) -> None:
    rows = [{"review": f"a {i}", "stars": "good" if i % 2 else "bad"} for i in range(6)]
    unseen = [{"review": "b", "stars": "good"}, {"review": "c", "stars": "fair"}]
    folder = write(tmp_path / "d", train=rows, validation=unseen)
    with pytest.raises(DataError, match=r"\(validation\), row 2: unknown label 'fair'.*bad, good"):
        own(folder)


def test_numeric_labels_keep_their_order(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("review,stars\n" + "\n".join(f"text {i},{i % 12}" for i in range(60)))
    assert own(path).labels == tuple(str(i) for i in range(12))


def test_regression(tmp_path: Path) -> None:
    rows = [{"sentence1": "a", "sentence2": f"b{i}", "label": i / 2} for i in range(10)]
    data = load_data(find_task("stsb"), write(tmp_path / "d", train=rows))
    assert data.head == TaskHead("regression", 1)
    assert data.train.texts[0][0] == "a"


def spoiled(**change: Any) -> list[dict[str, Any]]:
    rows = sentences(6)
    rows[3] = {**rows[3], **change}
    return rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"text": "a", "label": 0}],
            r"the column 'sentence' is missing; the columns are 'text', 'label'",
        ),
        (spoiled(label=None), r"the column 'label' has no value in row 4"),
        (spoiled(label=float("nan")), r"the column 'label' has no value in row 4"),
        (spoiled(label="NaN"), r"the column 'label' has no value in row 4"),
        (spoiled(sentence=None), r"the column 'sentence' has no value in row 4"),
        (spoiled(label=[1]), r"'label' holds a list in row 4, and must hold a class"),
        (spoiled(sentence={"en": "a"}), r"'sentence' holds a dict in row 4, and must hold a te"),
        (spoiled(sentence="\ud800"), r"'sentence' holds half of a character.* in row 4"),
        ([{"sentence": "", "label": i % 2} for i in range(10)], r"all texts .* are empty"),
        (spoiled(label=7), r"row 4: unknown label 7; the labels are negative, positive"),
        (spoiled(label="meh"), r"unknown label 'meh'"),
        ([{"sentence": "a", "label": 1}] * 10, r"all training rows have the same label"),
    ],
)
def test_unusable_rows_are_named(tmp_path: Path, rows: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_data(find_task("sst2"), write(tmp_path / "d", train=rows))


def test_bytes_of_a_parquet_file_are_no_text(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"sentence": [b"a", b"b"], "label": [0, 1]})
    parquet.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(DataError, match=r"'sentence' holds a bytes in row 1, and must hold a text"):
        load_data(find_task("sst2"), tmp_path)


@pytest.mark.parametrize("value", ["high", float("inf"), float("nan")])
def test_labels_of_a_regression_are_finite_numbers(tmp_path: Path, value: Any) -> None:
    rows = [{"sentence1": "a", "sentence2": "b", "label": value}] * 3
    with pytest.raises(DataError, match=r"is not a|has no value in row 1"):
        load_data(find_task("stsb"), write(tmp_path / "d", train=rows))


def test_no_data_names_the_ways_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Hugging Face Hub for the task 'rte'.*--data FOLDER"):
        load_data(find_task("rte"))
    with pytest.raises(DataError, match="There is no file or folder"):
        load_data(find_task("rte"), tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no train\.jsonl"):
        load_data(find_task("rte"), tmp_path / "empty")
    with pytest.raises(DataError, match="needs data: give --data"):
        load_data(own_task(["a"], tmp_path / "x.csv", label_column="b"))


def test_unknown_tasks_are_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean rte"):
        find_task("ret")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schema_version: 1\nname: [", "not valid YAML"),
        (
            "schema_version: 1\nname: x\ntext_columns: [a]\nmetrics: [acc]",
            "metric 'acc' is not for",
        ),
        (
            "schema_version: 1\nname: x\nmetrics: [accuracy]",
            "key 'text_columns': this key is missing",
        ),
        ("schema_version: 1\nname: 2020-13-45", "not valid YAML: a value is wrong: month must be"),
        ("schema_version: 1\nnam: x", "own.yaml"),
        ("- 1", "own.yaml"),
    ],
)
def test_task_files_with_mistakes(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_task(path)


def test_own_task_file(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("schema_version: 1\nname: own\ntext_columns: [a, b]\nmetrics: [f1]\n")
    task = find_task(str(path))
    assert isinstance(task, TaskSpec)
    assert task.quality == "f1"


def test_real_data_sets_are_read(shared_data: Path) -> None:
    sizes = {"rte": 2963, "sst2": 67348, "mrpc": 3576, "stsb": 5734}
    for name, n in sizes.items():
        data = load_data(find_task(name), shared_data / name)
        assert len(data.train) == n, name


def test_braces_of_a_prompt_may_stand_for_themselves() -> None:
    task = TaskSpec(
        schema_version=1,
        name="json",
        kind="language_modeling",
        text_columns=("question",),
        prompt='{{"ask": "{question}", "as": {{{question}}}}}\n',
        metrics=("token_accuracy",),
    )
    assert task.prompt_of({"question": "{why}"}) == '{"ask": "{why}", "as": {{why}}}\n'
