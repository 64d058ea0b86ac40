"""`Recommendation`: what `autopeft recommend` gives, and the file that it writes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from autopeft.errors import RequestError
from autopeft.space.configuration import Configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A configuration that is recommended.

    Attributes:
        what: What it is for: the pick, or which wish it meets.
        name: Name in the portfolio.
        about: What it is, in one sentence.
        source: Where it is from.
        configuration: What to train.
        costs: As `estimate` gives them.
        reasons: Why, a sentence each.
    """

    what: str
    name: str
    about: str
    source: str
    configuration: Configuration
    costs: Mapping[str, Any]
    reasons: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        texts = {k: getattr(self, k) for k in ("what", "name", "about", "source")}
        return {**texts, "reasons": list(self.reasons), **self.costs}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """What the portfolio says of a model, a task and a budget.

    Attributes:
        pick: The configuration to begin with.
        alternatives: The next best ones for other wishes.
        facts: What was asked and how it was taken, for the user.
        n_layers: Layers of the model.
        notes: What the user should know, a sentence each.
    """

    pick: Advice
    alternatives: tuple[Advice, ...]
    facts: Mapping[str, Any]
    n_layers: int
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for machines."""
        return {
            **self.facts,
            "pick": self.pick.to_dict(),
            "alternatives": [advice.to_dict() for advice in self.alternatives],
            "notes": list(self.notes),
        }

    def write(self, to: str | Path) -> Path:
        """Write the pick as YAML that `train --config` and `estimate --config` read.

        Raises:
            RequestError: If the file cannot have this name or be written.
        """
        path = Path(to)
        check_configuration_file(path)
        data = self.pick.configuration.to_dict()
        try:
            path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
        except OSError as error:
            raise RequestError(
                f"Cannot write a configuration to '{path}': {error.strerror}."
            ) from error
        return path


def check_configuration_file(to: Path) -> None:
    """Check that a configuration can have this name, before the work.

    Raises:
        RequestError: If its ending is not that of YAML, or there is no such folder.
    """
    if to.suffix not in {".yaml", ".yml"}:
        raise RequestError(f"Cannot write a configuration to '{to}': name a .yaml file.")
    if not to.resolve().parent.is_dir():
        raise RequestError(f"Cannot write a configuration to '{to}': there is no such folder.")
