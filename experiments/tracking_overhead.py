"""What does MLflow cost a search, against the same search without it?

A search of the embedded task writes its runs to MLflow's SQLite file beside the study, as every
search does. Tracking is done by the one thread that leads the search, so what its calls take is
what the search would be shorter by: both sides of the ratio are of one run. Seconds of the wall
hold the waiting for the disk, seconds of the processor tell what is left of them on a busy machine.

    python experiments/tracking_overhead.py --trials 12
"""

import argparse
import functools
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from embedded_search import embedded_search

from autopeft.api.search import run_search
from autopeft.report.tracking import MlflowTracker

#: What a search asks of its tracker, by the part of the search.
PARTS = {
    "__init__": "start",
    "started": "trials",
    "reported": "trials",
    "finished": "trials",
    "keep": "trials",
    "with_search_run": "end",
    "close": "end",
}
#: Wall and processor.
CLOCKS = (time.perf_counter, time.process_time)


@contextmanager
def timed(spent: dict[str, list[float]]) -> Iterator[None]:
    """Add up what the calls of a tracker take, by part."""
    kept = {name: getattr(MlflowTracker, name) for name in PARTS}

    def timing(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def timed_call(*arguments: Any, **named: Any) -> Any:
            begun = [clock() for clock in CLOCKS]
            try:
                return call(*arguments, **named)
            finally:
                for i, clock in enumerate(CLOCKS):
                    spent[PARTS[name]][i] += clock() - begun[i]

        return timed_call

    for name, call in kept.items():
        setattr(MlflowTracker, name, timing(name, call))
    try:
        yield
    finally:
        for name, call in kept.items():
            setattr(MlflowTracker, name, call)


def measure(trials: int, epochs: float) -> dict[str, Any]:
    """Return what a search took with tracking, and what of that was tracking."""
    request = embedded_search(trials, epochs)
    spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    with tempfile.TemporaryDirectory() as folder:
        begun = [clock() for clock in CLOCKS]
        with timed(spent):
            result = run_search(request, Path(folder) / "studies" / "s")
        whole = [clock() - start for clock, start in zip(CLOCKS, begun, strict=True)]
    n_rungs = sum(len(trial.reports) for trial in result.trials)
    return {
        "trials": len(result.trials),
        "rungs": n_rungs,
        "wall": _facts(whole[0], {part: pair[0] for part, pair in spent.items()}, trials),
        "processor": _facts(whole[1], {part: pair[1] for part, pair in spent.items()}, trials),
    }


def _facts(whole: float, spent: dict[str, float], trials: int) -> dict[str, float]:
    tracking = sum(spent.values())
    return {
        "search_seconds": round(whole, 2),
        "start_seconds": round(spent["start"], 2),
        "milliseconds_a_trial": round(1000 * spent["trials"] / trials, 1),
        "end_seconds": round(spent["end"], 2),
        "ratio_of_trials_alone": round(whole / (whole - spent["trials"]), 4),
        "ratio": round(whole / (whole - tracking), 4),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--epochs", type=float, default=1.0, help="of a full training")
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.trials, arguments.epochs), indent=2))
