from pathlib import Path

import pytest

from autopeft.api.duration import seconds
from autopeft.api.request import RESUMABLE, SearchRequest
from autopeft.errors import RequestError
from autopeft.study.convergence import MOST_TRIALS


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("30min", 1800), ("1h", 3600), ("1h30m", 5400)],
)
def test_times(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "30x", "-5m", "0", "0h", "m", "1.h", "1h30", "5m10"])
def test_texts_that_are_no_times(text: str) -> None:
    with pytest.raises(RequestError, match="time"):
        SearchRequest.build(time=text)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trials": 0}, "--trials"),
        ({"until_converged": True, "strategy": "tpe"}, "--until-converged"),
        ({"surrogate": "forest"}, "--surrogate"),
        ({"epochs": -1.0}, "--epochs"),
        ({"strategy": "grid"}, "--strategy"),
        ({"fidelity": "fast"}, "--fidelity"),
        ({"workers": 0}, "--workers"),
        ({"repeats": 0}, "--repeats"),
        ({"seed": -1}, "--seed"),
        ({"rank": 8}, "Unknown setting 'rank'"),
        ({"text_columns": ("a",)}, "goes with --label-column, or with --completion-column"),
        ({"label_column": "b", "completion_column": "c"}, "give one of them"),
        ({"completion_column": "c"}, "those of --data, which is missing"),
        ({"text_columns": ("a",), "label_column": "b"}, "--data"),
        (
            {"text_columns": ("a", "b", "c"), "label_column": "d", "data": "x.csv"},
            "[Aa]t most two",
        ),
        ({"runner": "local", "workers": 2}, "one trial at a time"),
        ({"runner": "local", "ray_address": "auto"}, "--ray-address"),
        ({"devices": 2}, "a search gives each device a trial of its own"),
        ({"devices": 0, "configuration": "preset:mam"}, "--devices"),
        ({"devices": 2, "configuration": "preset:mam", "workers": 2}, "leave --workers"),
        ({"devices": 2, "configuration": "preset:mam", "runner": "ray"}, "without Ray"),
        ({"devices": 2, "configuration": "preset:mam", "ray_address": "auto"}, "--ray-address"),
        ({"storage": "postgresql://me:secret@host/db"}, "PGPASSWORD"),
        ({"storage": "study.db"}, "--storage: 'study.db' is no URL of a database: write sqlite://"),
        ({"storage": "postgres://me@host/db"}, "is no URL of a database"),
        ({"storage": "postgresql://me@host:x/db"}, "is no URL of a database"),
        ({"storage": "sqlite://"}, "'sqlite://' is lost with the process: write sqlite:///FILE"),
        ({"storage": "sqlite:///:memory:"}, "is lost with the process"),
        ({"mlflow_uri": "http://me:secret@host:5000"}, "MLFLOW_TRACKING_PASSWORD"),
    ],
)
def test_settings_that_cannot_be(settings: dict, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        SearchRequest.build(**settings)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(RequestError, match=r"--trials.*; --epochs"):
        SearchRequest.build(trials=0, epochs=0)


def test_none_takes_the_default() -> None:
    assert SearchRequest.build(task=None, trials=None) == SearchRequest()
    assert SearchRequest.build(until_converged=True).trials == MOST_TRIALS
    assert SearchRequest.build(until_converged=True, trials=9).trials == 9


def test_a_request_survives_its_record() -> None:
    request = SearchRequest.build(
        data=Path("x.csv"), text_columns=("a",), label_column="b", methods=("lora",), time="1h"
    )
    recorded = request.model_dump(mode="json")
    assert SearchRequest.build(**SearchRequest.described(recorded)) == request
    assert SearchRequest.model_fields.keys() >= RESUMABLE


@pytest.mark.parametrize(
    "url", ["sqlite:///all.db", "sqlite:////all.db", "postgresql+psycopg://me@host/db"]
)
def test_storages(url: str) -> None:
    assert SearchRequest.build(storage=url).storage == url
