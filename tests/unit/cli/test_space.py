"""`autopeft space show` and `validate`."""

import json
from pathlib import Path

import pytest

from autopeft.space.schema import shipped_spaces
from tests.command import run


@pytest.mark.parametrize("name", sorted(shipped_spaces()))
def test_shipped_spaces_are_shown(
    name: str, capsys: pytest.CaptureFixture[str], tiny_model: Path
) -> None:
    outcome = run(capsys, "space", "show", name, "--model", tiny_model, "--format", "json")
    assert outcome.code == 0, outcome.err
    facts = json.loads(outcome.out)
    assert facts["space"] == name
    fewest, most = facts["adapter_params"].values()
    assert fewest < most
    assert facts["dimensions"]


def test_the_papers_space(capsys: pytest.CaptureFixture[str], tiny_model: Path) -> None:
    outcome = run(capsys, "space", "show", "autopeft-paper", "--model", tiny_model)
    assert outcome.code == 0, outcome.err
    for text in ("serial_adapter + parallel_adapter + prefix", "Points", "Cost"):
        assert text in outcome.out
    shown = run(
        capsys, "space", "show", "autopeft-paper", "--model", tiny_model, "--format", "json"
    )
    # Two layers of width 32: sizes 0, 1, 2, ... 32 of three components, and two switches.
    assert json.loads(shown.out)["points"] == 7**3 * 2**2


def test_a_file_is_valid_or_its_mistake_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    text = shipped_spaces()["lora"].read_text()
    file.write_text(text)
    outcome = run(capsys, "space", "validate", file)
    assert outcome.code == 0
    assert "is valid" in outcome.out
    file.write_text(text.replace("type: choice", "type: choise", 1))
    outcome = run(capsys, "space", "validate", file)
    assert outcome.code == 2
    assert "mine.yaml, line" in outcome.err
    assert outcome.out == ""


def test_a_space_of_layers_is_checked_for_a_model(
    capsys: pytest.CaptureFixture[str], tiny_model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "schema_version: 1\nname: mine\nmethods: [ia3]\n"
        'hyperparameters:\n  layers: {type: choice, choices: ["0-5"]}\n'
    )
    assert run(capsys, "space", "validate", file).code == 0
    outcome = run(capsys, "space", "validate", file, "--model", tiny_model)
    assert outcome.code == 2
    assert "mine.yaml, line 5" in outcome.err
