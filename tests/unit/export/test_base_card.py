from pathlib import Path

import pytest

from autopeft.export.base_card import license_of
from autopeft.models.registry import ModelReference

CARDS = {
    "named": ("---\nlicense: apache-2.0\n---\n# A model\n", "apache-2.0"),
    "not named": ("---\nlanguage: en\n---\n# A model\n", None),
    "no card": ("# A model\nwith words\n", None),
    "not YAML": ("---\nlicense: [\n---\n", None),
}


@pytest.mark.parametrize("case", CARDS)
def test_the_license_is_that_of_the_card(case: str, tmp_path: Path) -> None:
    text, expected = CARDS[case]
    (tmp_path / "README.md").write_text(text)
    for location in (tmp_path, tmp_path / "model.gguf"):
        reference = ModelReference(name="m", location=str(location), hub_id=None)
        assert license_of(reference) == expected


def test_without_a_card_nothing_is_said(tmp_path: Path) -> None:
    assert license_of(ModelReference(name="m", location=str(tmp_path), hub_id=None)) is None
    assert license_of(ModelReference(name="o/m", location="o/m", hub_id="o/m")) is None
