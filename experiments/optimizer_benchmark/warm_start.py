"""What are earlier trainings worth, and what do they cost where they are of no use?

    python experiments/optimizer_benchmark/warm_start.py --target sst2 --seeds 8 --trials 40
    python experiments/optimizer_benchmark/warm_start.py --target sst2 --source rte

A search on the table of one task begins with a study of 40 rows (`--past`): of the same task, with
new noise of as many rows to evaluate; of the same task after a third of the training; of another
task's table; of qualities that are shuffled, or turned around. What is shown is the hypervolume of
the rows that were looked at, as a share of that of the whole table, as in `compare.py`.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, get_args

import numpy as np
from compare import HERE, mean_and_error, rows_of, shares
from contestants import N_INITIAL, Rows, _TableDomain
from numpy.typing import NDArray
from table import OBJECTIVES

from autopeft.study.past import PastStudy, PastTrial
from autopeft.study.strategies.bayesian import WARM_SHARE, BayesianStrategy
from autopeft.study.strategies.warm_points import WARM, goes_on, warm_points
from autopeft.study.strategy import Surrogate

COLD = "cold"
Values = NDArray[np.float64]
#: Rows to evaluate of a training in the tables: the noise of an accuracy.
EVAL_ROWS = 600


def _again(quality: Values, rng: np.random.Generator) -> Values:
    return quality + rng.normal(size=len(quality)) * np.sqrt(quality * (1 - quality) / EVAL_ROWS)


#: Qualities of a past study by those of the table, at the end and after a third.
SOURCES: Mapping[str, Callable[[Values, Values, np.random.Generator], Values]] = {
    "same": lambda end, _, rng: _again(end, rng),
    "third": lambda _, early, __: early,
    "shuffled": lambda end, _, rng: rng.permutation(end),
    "inverted": lambda end, _, rng: _again(1 - end, rng),
}


def past_study(rows: Rows, quality: Values, chosen: Sequence[int], name: str) -> PastStudy:
    """Return rows of a table as an earlier study."""
    trainings = rows.table.first_seed
    trials = tuple(
        PastTrial(
            number=n,
            configuration=rows.table.space.configuration(trainings[i].point),
            adapter_params=trainings[i].adapter_params,
            measured=((1.0, float(quality[i])),),
        )
        for n, i in enumerate(chosen)
    )
    spec = rows.table.space.spec
    return PastStudy(
        name=name,
        study_id=name,
        task=rows.table.task,
        model="minilm",
        n_layers=spec.n_layers,
        base_params=spec.base_params,
        trials=trials,
    ).usable_for(rows.table.space.space.methods)


def sources_of(
    target: Rows, source: Rows | None, name: str, seed: int, n_past: int
) -> list[PastStudy]:
    """Return the studies that a search begins with; none for `COLD`."""
    if name == COLD:
        return []
    rng = np.random.default_rng([seed, 1])
    rows = source if name == "other" and source is not None else target
    chosen = rng.permutation(len(rows))[:n_past].tolist()
    if name == "both":  # a useful one beside a useless one
        names = ["same", "shuffled"]
        return [s for each in names for s in sources_of(target, None, each, seed, n_past)]
    early = np.array(
        [next(iter(t.reports[-2].metrics.values())) for t in rows.table.first_seed], dtype=float
    )
    quality = rows.quality if name == "other" else SOURCES[name](rows.quality, early, rng)
    return [past_study(rows, quality, chosen, name)]


def run(  # noqa: PLR0913, PLR0917 - a search in another process
    target: Path,
    source: Path | None,
    name: str,
    seed: int,
    trials: int,
    n_past: int,
    surrogate: Surrogate,
) -> dict[str, Any]:
    """Search with one kind of source; return its curve, and what the sources were worth."""
    rows = rows_of(target, target.stem)
    other = None if source is None else rows_of(source, source.stem)
    past = sources_of(rows, other, name, seed, n_past)
    space = rows.table.space
    strategy = BayesianStrategy(
        space,
        OBJECTIVES,
        rows.table.reference,
        lambda point: [float(space.adapter_params(point) or 0)],
        seed=seed,
        n_initial=N_INITIAL,
        surrogate=surrogate,
        pool=len(rows),
        past=past,
    )
    strategy._domain = _TableDomain(rows)  # noqa: SLF001 - a search never has a table
    started = time.process_time()
    looked_at = _start(rows, strategy, seed)
    worth = []
    while len(looked_at) < min(trials, len(rows)):
        candidate = strategy.ask(rows.records(looked_at), len(looked_at))
        assert candidate is not None
        looked_at.append(rows.number[space.configuration(candidate.assignment).digest])
        if past and strategy._latest is not None:  # noqa: SLF001 - what it made of the sources
            worth.append(strategy._latest[1].slopes.tolist())  # noqa: SLF001
    spent = (time.process_time() - started) / (len(looked_at) - N_INITIAL)
    curve = shares(rows, looked_at)
    return {"strategy": name, "seed": seed, "curve": curve, "worth": worth, "seconds": spent}


def _start(rows: Rows, strategy: BayesianStrategy, seed: int) -> list[int]:
    """Return the first rows: two of a cold start, what is next to the sources' points, the others.

    As in a search, which begins with two points of LoRA.
    """
    cold = rows.start(seed)
    chosen, origins = cold[:2], [""] * 2
    warm = warm_points(strategy._sources, rows.table.space)  # noqa: SLF001
    for point in warm[: int(WARM_SHARE * N_INITIAL)]:
        pairs = zip(rows.records(chosen), origins, strict=True)
        records = [replace(r, notes={"origin": o}) for r, o in pairs]
        if not goes_on(records, OBJECTIVES, strategy._sources):  # noqa: SLF001
            break
        distances = np.abs(rows.features - rows.domain.row(point)).sum(axis=1)
        distances[chosen] = np.inf
        chosen.append(int(distances.argmin()))
        origins.append(WARM)
    return [*chosen, *(i for i in cold if i not in chosen)][:N_INITIAL]


def summary(results: Sequence[dict[str, Any]], at: Sequence[int]) -> str:
    """Return a table in Markdown: mean share at some trials, and what the sources were worth."""
    lines = [
        "| start | " + " | ".join(f"after {n}" for n in at) + " | worth at the end | seconds |",
        "| --- |" + " --- |" * (len(at) + 2),
    ]
    for name in dict.fromkeys(r["strategy"] for r in results):
        own = [r for r in results if r["strategy"] == name]
        cells = [mean_and_error([r["curve"][n - 1] for r in own]) for n in at]
        last = np.array([r["worth"][-1] for r in own if r["worth"]])
        worth = ", ".join(f"{value:.3f}" for value in last.mean(axis=0)) if len(last) else "-"
        seconds = float(np.mean([r["seconds"] for r in own]))
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {worth} | {seconds:.2f} |")
    return "\n".join(lines)


def paired(results: Sequence[dict[str, Any]], at: Sequence[int]) -> str:
    """Return a table in Markdown: mean difference to the cold start of the same seed."""
    cold = {r["seed"]: r["curve"] for r in results if r["strategy"] == COLD}
    lines = [
        "| less cold | " + " | ".join(f"after {n}" for n in at) + " |",
        "| --- |" + " --- |" * len(at),
    ]
    for name in dict.fromkeys(r["strategy"] for r in results if r["strategy"] != COLD):
        own = {r["seed"]: r["curve"] for r in results if r["strategy"] == name}
        cells = [mean_and_error([own[s][n - 1] - cold[s][n - 1] for s in own]) for n in at]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="sst2", help="a table beside this file, or a file")
    parser.add_argument("--source", help="the table of another task")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--past", type=int, default=40, help="trials of the earlier study")
    parser.add_argument("--starts", nargs="+", default=[COLD, *SOURCES, "both"])
    parser.add_argument("--surrogate", choices=get_args(Surrogate), default="matern")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--to", type=Path, help="default: warm-start-TARGET.json beside this file")
    options = parser.parse_args()
    target, source = _table(options.target), _table(options.source)
    assert target is not None
    starts = [*options.starts, "other"] if source else options.starts
    jobs = [
        (target, source, name, seed, options.trials, options.past, options.surrogate)
        for seed in range(options.seeds)
        for name in starts
    ]
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        results = list(pool.map(run, *zip(*jobs, strict=True)))
    to = options.to or HERE / f"warm-start-{target.stem}.json"
    to.write_text(json.dumps(results) + "\n", encoding="utf-8")
    at = [n for n in (5, 10, 20, options.trials) if n <= options.trials]
    print(summary(results, at))
    if COLD in options.starts:
        print("\n" + paired(results, at))


def _table(name: str | None) -> Path | None:
    if name is None:
        return None
    return Path(name) if name.endswith(".jsonl") else HERE / f"{name}.jsonl"


if __name__ == "__main__":
    main()
