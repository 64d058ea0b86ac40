"""What do reports cost: one of so many trials, and those that a search writes while it runs?

The trials of a short search of the embedded task are the pattern of as many as are asked for, each
with a learning rate, a size and a quality of its own. The share of the search is with as many
refreshes as the rule of a hundredth allows, without the minute that else lies between two of them.

    python experiments/report_cost.py --sizes 1 10 1000

With `--study FOLDER` the trials of that study are the pattern, and nothing is searched.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from embedded_search import embedded_search

from autopeft.api import live_report
from autopeft.api.report import write_report_page
from autopeft.api.result import SearchResult
from autopeft.api.search import run_search
from autopeft.trials.trial import TrialRecord


def many(pattern: Sequence[TrialRecord], n: int) -> tuple[TrialRecord, ...]:
    """Return as many trials, made of some in turn."""
    rng = np.random.default_rng(0)
    return tuple(_like(pattern[i % len(pattern)], i, rng) for i in range(n))


def _like(record: TrialRecord, number: int, rng: np.random.Generator) -> TrialRecord:
    training = record.spec.configuration.training
    changed = replace(training, learning_rate=float(training.learning_rate * rng.uniform(0.5, 2)))
    configuration = replace(record.spec.configuration, training=changed)
    shift, metric = float(rng.uniform(-0.05, 0.05)), record.quality_metric
    reports = tuple(
        replace(r, metrics={**r.metrics, metric: float(np.clip(r.metrics[metric] + shift, 0, 1))})
        for r in record.reports
    )
    params = max(1, int(record.cost.adapter_params * rng.uniform(0.3, 1)))
    return replace(
        record,
        spec=replace(record.spec, number=number, configuration=configuration),
        cost=replace(record.cost, adapter_params=params),
        reports=reports,
    )


def search(folder: Path, trials: int, epochs: float) -> tuple[SearchResult, dict[str, float]]:
    """Return a search whose report is refreshed all the time, and what that took of it."""
    written: list[float] = []
    write = live_report.write_report_page
    live_report.INTERVAL = 0.0

    def timed(*arguments: Any, **named: Any) -> Path:
        begun = time.perf_counter()
        path = write(*arguments, **named)
        written.append(time.perf_counter() - begun)
        return path

    live_report.write_report_page = timed
    request = embedded_search(trials, epochs)
    begun = time.perf_counter()
    result = run_search(request, folder)
    whole = time.perf_counter() - begun
    facts = {
        "trials": trials,
        "search_seconds": round(whole, 1),
        "refreshes": len(written),
        "seconds_of_each": [round(seconds, 2) for seconds in written],
        "share_percent": round(100 * sum(written) / whole, 2),
    }
    return result, facts


def cost(
    result: SearchResult, pattern: Sequence[TrialRecord], n: int, page: Path
) -> dict[str, Any]:
    """Return what a report of so many trials takes; `refresh` is one during a search."""
    facts: dict[str, Any] = {"trials": n}
    for name, quick in (("refresh", True), ("end", False)):
        result.summary = replace(result.summary, records=many(pattern, n))  # nothing is kept
        begun = time.perf_counter(), time.process_time()
        write_report_page(result, page, quick=quick)
        facts[f"{name}_seconds"] = round(time.perf_counter() - begun[0], 2)
        facts[f"{name}_processor_seconds"] = round(time.process_time() - begun[1], 2)
    facts["megabytes"] = round(page.stat().st_size / 1e6, 2)
    return facts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 10, 1000])
    parser.add_argument("--trials", type=int, default=12, help="of the search")
    parser.add_argument("--epochs", type=float, default=1.0, help="of a full training")
    parser.add_argument("--study", type=Path, help="whose trials are taken, instead of a search")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.study is None:
            study = Path(scratch) / "studies" / "s"
            result, shares = search(study, arguments.trials, arguments.epochs)
        else:
            result, shares = SearchResult.open(arguments.study), {}
        pattern, page = result.trials, Path(scratch) / "page.html"
        cost(result, pattern, 10, page)  # what is done once is not counted
        sizes = [cost(result, pattern, n, page) for n in arguments.sizes]
    print(json.dumps({"search": shares, "reports": sizes}, indent=2))
