"""`autopeft search`: what it says of how it ended."""

from typing import Any

import pytest

import autopeft
from tests.command import as_options, run


@pytest.fixture
def options(tiny_settings: dict[str, Any]) -> list[object]:
    return as_options({**tiny_settings, "epochs": 1, "trials": 2})


def test_trials_that_all_fail_are_an_error(
    capsys: pytest.CaptureFixture[str], options: list[object]
) -> None:
    """A head that takes such steps ends in no number."""
    options[options.index("--head-learning-rate") + 1] = 1e30
    once = run(capsys, "search", "--study", "s", *options)
    again = run(capsys, "search", "--resume", "--study", "s")
    for outcome in (once, again):
        assert outcome.code == 2
        assert "2 trials (2 nan)" in outcome.out
        assert "No trial of the study was trained: trial 1, the last of 2, ended with nan" in (
            outcome.err
        )
    assert all(r.status.failed for r in autopeft.open_study("s").trials)


def test_a_training_that_fails_is_not_exported(
    capsys: pytest.CaptureFixture[str], options: list[object], tmp_path: Any
) -> None:
    options[options.index("--head-learning-rate") + 1] = 1e30
    for name in ("--budget", "--trials", "--repeats"):
        at = options.index(name)
        del options[at : at + 2]
    place = ["--study", "s", "--to", "home"]
    outcome = run(capsys, "train", "--config", "preset:lora-qv", *place, *options)
    assert outcome.code == 2
    assert "trial 0 ended with nan" in outcome.err
    assert "Go on:" not in outcome.out
    again = run(capsys, "search", "--resume", "--study", "s")
    assert again.code == 2
    assert "Nothing was left to do: what failed is not made again." in again.err
    assert not (tmp_path / "home").exists()


def test_nothing_is_left_to_do(capsys: pytest.CaptureFixture[str], options: list[object]) -> None:
    once = run(capsys, "search", "--study", "s", *options)
    assert once.code == 0
    assert "Nothing was left to do" not in once.err
    again = run(capsys, "search", "--resume", "--study", "s")
    assert again.code == 0
    assert "Nothing was left to do: ask for more with --trials N or --repeats N." in again.err


def test_a_search_whose_trials_failed_goes_on_with_more(
    capsys: pytest.CaptureFixture[str], options: list[object]
) -> None:
    options[options.index("--head-learning-rate") + 1] = 1e30
    options[options.index("--trials") + 1] = 2
    once = run(capsys, "search", "--study", "s", *options)
    assert once.code == 2
    assert "--study s --trials N\n" in once.out
    again = run(capsys, "search", "--resume", "--study", "s")
    assert again.code == 2
    assert "Nothing was left to do: ask for more with --trials N." in again.err


def test_time_that_is_over_is_said(
    capsys: pytest.CaptureFixture[str], options: list[object]
) -> None:
    options[options.index("--trials") + 1] = 500
    outcome = run(capsys, "search", "--study", "s", "--time", "1s", *options)
    assert outcome.code == 0
    assert "The search's time is over" in outcome.err
    assert 0 < len(autopeft.open_study("s").trials) < 500


def test_a_space_that_has_been_tried_is_said(
    capsys: pytest.CaptureFixture[str], options: list[object], tmp_path: Any
) -> None:
    """One method, one target, three learning rates."""
    space = tmp_path / "three.yaml"
    space.write_text(
        "schema_version: 1\nname: three\nabout: Three points.\nhyperparameters:\n"
        "  method: {type: choice, choices: [bitfit]}\n"
        "  learning_rate_multiple: {type: choice, choices: [0.5, 1.0, 2.0]}\n"
    )
    options[options.index("--trials") + 1] = 500
    outcome = run(capsys, "search", "--study", "s", "--space", space, *options)
    assert outcome.code == 0, outcome.err
    assert "Every configuration of the space within the budget has been tried." in outcome.err
    assert len(autopeft.open_study("s").trials) == 3
