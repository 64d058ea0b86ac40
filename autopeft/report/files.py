"""The report's files: the front as CSV and JSON, the interactive figure, the picture."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autopeft.report.figures import write_figures
from autopeft.report.summary import Summary


def write_report(summary: Summary, data: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write `front.csv`, `front.json`, `pareto.html` and `pareto.png`; return their paths.

    Args:
        summary: The study.
        data: The study as plain data; `front.json` holds it with the front's trials alone.
        folder: Where to write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    on_front = set(data["front"])
    trials = [trial for trial in data["trials"] if trial["number"] in on_front]
    front_json, front_csv = folder / "front.json", folder / "front.csv"
    text = json.dumps({**data, "trials": trials}, indent=2, ensure_ascii=False)
    front_json.write_text(text + "\n", encoding="utf-8")
    front_csv.write_text(summary.front_csv(), encoding="utf-8")
    return [front_csv, front_json, *write_figures(summary, folder)]
