"""`--max-memory` and `--precision` on the command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.command import as_options, run

WRONG: dict[str, tuple[list[object], str]] = {
    "no size": (["--max-memory", "much"], "Cannot read the memory 'much'"),
    "too small": (
        ["--max-memory", "10KiB"],
        "fits --max-memory 10KiB of memory: the smallest that was predicted",
    ),
    "fp16": (["--precision", "fp16"], "fp16 needs a GPU"),
    "unknown precision": (["--precision", "int8"], "--precision"),
}


@pytest.mark.parametrize("name", WRONG)
def test_mistakes_are_found_before_anything_is_written(
    name: str, capsys: pytest.CaptureFixture[str], tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    arguments, message = WRONG[name]
    if name == "fp16" and _has_gpu():
        pytest.skip("there is a GPU")
    outcome = run(capsys, "search", *as_options(tiny_settings), *arguments)
    assert outcome.code == 2
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert list(tmp_path.iterdir()) == []


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def test_bf16_on_a_cpu_without_units_is_said(
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    tiny_settings: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("autopeft.trials.precision.has_bf16_units", lambda: False)
    if _has_gpu():
        pytest.skip("there is a GPU")
    outcome = run(capsys, "plan", *as_options(tiny_settings), "--precision", "bf16")
    assert outcome.code == 0, outcome.err
    assert "This CPU has no units for bf16" in caplog.text


def test_a_plan_says_what_goes_through_the_model_at_once(
    capsys: pytest.CaptureFixture[str], tiny_settings: dict[str, Any]
) -> None:
    def plan(*options: object) -> dict[str, Any]:
        two = ["--methods", "lora,ia3", "--format", "json"]
        outcome = run(capsys, "plan", *two, *options, *as_options(tiny_settings))
        assert outcome.code == 0, outcome.err
        result: dict[str, Any] = json.loads(outcome.out)
        return result

    free = plan()
    assert free["max_memory_bytes"] is None
    assert {e["examples_at_once"] for e in free["examples"]} == {16}
    limited = plan("--max-memory", "1200KiB")
    assert limited["max_memory_bytes"] == 1200 * 2**10
    assert min(e["examples_at_once"] for e in limited["examples"]) < 16


def test_one_configuration_that_does_not_fit(
    capsys: pytest.CaptureFixture[str], tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    settings = {k: v for k, v in tiny_settings.items() if k not in {"budget", "trials", "repeats"}}
    arguments = ["--config", "preset:lora-qv", "--max-memory", "10KiB"]
    outcome = run(capsys, "train", *arguments, *as_options(settings))
    assert outcome.code == 2
    assert "smallest that was predicted, lora with one example at a time" in outcome.err
    assert list(tmp_path.iterdir()) == []
