"""`autopeft train`."""

from pathlib import Path
from typing import Any

from autopeft.api.device import all_devices
from autopeft.api.search import STUDIES
from autopeft.cli.output import console
from autopeft.cli.search import search_command
from autopeft.errors import RequestError
from autopeft.export.folder import check_target


def train_command(
    config: str,
    to: Path | None,
    study: Path | None,
    settings: dict[str, Any],
    *,
    json_output: bool,
) -> None:
    """Train one configuration with each seed; export the first if there is a place for it.

    The seeds come one after the other, each spread over all devices; docs/engine.md says why.
    """
    if to is not None:  # before the work, not after it
        check_target(to)
        _check_apart(to, study)
    # A space of one point: all that a search records of a trial is recorded of this one.
    one: dict[str, Any] = {
        "configuration": config,
        "trials": 1,
        "strategy": "random",
        "fidelity": "none",
        "devices": settings.get("devices") or all_devices(),
    }
    if settings["repeats"] == 1:
        one["workers"] = 1  # there is never a second trial to run beside the first
    result = search_command(study, {**settings, **one}, resume=False, json_output=json_output)
    if to is not None:
        folder = result.export(to)
        console(stderr=json_output).print(f"\nThe trained adapter is in {folder}", highlight=False)


def _check_apart(to: Path, study: Path | None) -> None:
    """Check that the export will not be where the study lies; without a name it is in a folder."""
    place = STUDIES / "new" if study is None else study
    if to.resolve() in {place.resolve(), *place.resolve().parents}:
        raise RequestError(f"'{to}' is to hold the study itself: name another folder with --to.")
