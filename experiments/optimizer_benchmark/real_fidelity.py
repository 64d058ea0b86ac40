"""What does early stopping save in a search of the space itself?

    python experiments/optimizer_benchmark/real_fidelity.py --task sst2 --data DATA/sst2
    python experiments/optimizer_benchmark/real_fidelity.py --task stsb --data DATA/stsb \\
        --rows 640 --eval-rows 400
    python experiments/optimizer_benchmark/real_fidelity.py --task stsb --data DATA/stsb \\
        --rows 640 --eval-rows 400 --epochs 3 \\
        --table experiments/optimizer_benchmark/stsb-3-epochs.jsonl

The study of `autopeft search --trials 40 --fidelity ...` itself, each trial really trained, beside
the searches of `real_search.py`, which train every point to the end. Shown are the training that
was spent, in full trainings, the hypervolume as a share of that of the whole table, how many
trainings to the end have the same in the mean, and as a ratio how much less was spent. Searches are
written down when they end; a second run does those that are missing. With `--known FILE` what the
searches of such a file trained, with the same fidelity, is looked up as far as it goes.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from compare import HERE, MANY, RANDOM, mean_and_error, rows_of, run, shares_of
from contestants import Rows
from make_table import engine_of, problem_of
from real_search import ORDERS, PORTFOLIO, add_data_options, as_run, read
from replay import Memory
from table import training_of

from autopeft.api.problem import Problem
from autopeft.api.wiring import build_strategy
from autopeft.runners.local import run_trial
from autopeft.study.rungs import FIDELITIES
from autopeft.study.strategy import Surrogate
from autopeft.study.study import PointCosts, Study
from autopeft.trials.engine import Engine
from autopeft.trials.ports import Decision, SystemClock
from autopeft.trials.trial import RungReport, TrialRecord, TrialResult, TrialSpec, TrialStatus

STOPPING = tuple(name for name in FIDELITIES if name != "none")


class Spent:
    """Counts what trials have taken and writes down each that ends."""

    def __init__(self) -> None:
        self.trainings, self.evaluations = 0.0, 0
        self._shares: dict[int, float] = {}
        self.ended: list[dict[str, Any]] = []

    def started(self, _: TrialRecord) -> None:
        """Nothing is spent yet."""

    def reported(self, record: TrialRecord) -> None:
        """Count the steps since the rung before, and the evaluation."""
        before = self._shares.get(record.number, 0.0)
        if record.fidelity > before:  # what was looked up before it was trained is told twice
            self._shares[record.number] = record.fidelity
            self.trainings += record.fidelity - before
            self.evaluations += 1

    def finished(self, record: TrialRecord) -> None:
        """Write down a trial that does not only pause."""
        if record.status is TrialStatus.PAUSED:
            return
        self.ended.append(
            {
                "number": record.number,
                "digest": record.spec.configuration.digest,
                "point": dict(record.assignment),
                "adapter_params": record.cost.adapter_params,
                "origin": record.notes["origin"],
                "status": record.status.value,
                "reports": [report.to_dict() for report in record.reports],
                "spent": round(self.trainings, 4),
                "evaluations": self.evaluations,
            }
        )


def known_reports(
    rows: Sequence[Mapping[str, Any]], fidelity: str
) -> dict[str, Sequence[RungReport]]:
    """Return what searches with a fidelity trained, by digest; the longest of each."""
    known: dict[str, Sequence[RungReport]] = {}
    for row in sorted(rows, key=lambda row: len(row["reports"])):
        if row["fidelity"] == fidelity:
            known[row["digest"]] = training_of({**row, "seed": 0}).reports
    return known


def looked_up(reports: Sequence[RungReport], number: int, study: Study) -> bool:
    """Tell a study what is known of a trial; return whether that was enough."""
    made = len(study.records[number].reports)
    for report in reports[max(made - 1, 0) :]:
        decision = study.report(number, report)
        if decision is Decision.PAUSE:
            return True
        if report.last or decision is Decision.STOP:
            status = TrialStatus.COMPLETE if report.last else TrialStatus.STOPPED
            study.finish(number, TrialResult(status=status, seconds=report.seconds))
            return True
    return False


def search(
    problem: Problem,
    engine: Engine,
    rows: Rows,
    fidelity: str,
    seed: int,
    known: Mapping[str, Sequence[RungReport]],
) -> Spent:
    """Do one search; the seed is that of the strategy, trainings have that of the table."""
    plan = problem.plan(rows.table.reference)
    asked = problem.request.model_copy(update={"seed": seed})
    strategy = build_strategy(replace(problem, request=asked), rows.table.reference)
    points = PointCosts(configuration=problem.configuration, cost=problem.cost)
    spent = Spent()
    study = Study(plan, points, strategy, Memory(), SystemClock(), [spent])
    with tempfile.TemporaryDirectory() as folder:
        while isinstance(spec := study.next_trial(), TrialSpec):
            if not looked_up(known.get(spec.configuration.digest, ()), spec.number, study):
                run_trial(engine, spec, Path(folder) / str(spec.number), study)
    for row in spent.ended:
        row.update(search=seed, fidelity=fidelity, surrogate=problem.request.surrogate)
    return spent


def shares(rows: Rows, ended: Sequence[Mapping[str, Any]], metric: str) -> list[float]:
    """Return the share of the hypervolume after each trial that ended."""
    pairs = []
    for row in ended:
        complete = row["status"] == TrialStatus.COMPLETE.value
        quality = row["reports"][-1]["metrics"][metric] if complete else 0.0
        pairs.append((quality, float(row["adapter_params"])))
    return shares_of(rows, pairs)


def summary(
    rows: Rows, whole: Sequence[Sequence[float]], goal: float, found: Sequence[Mapping[str, Any]]
) -> str:
    """Return a table in Markdown.

    Args:
        rows: The table that hypervolume is a share of.
        whole: Shares after each training of searches that train all to the end.
        goal: What random search has after many trainings.
        found: All trials that ended, in their order.
    """
    metric = next(iter(rows.table.first_seed[0].reports[-1].metrics))
    curve = np.mean(np.array(whole), axis=0)
    lines = [
        "| fidelity | searches | trials | full trainings | share of the hypervolume | trainings to "
        f"the end for the same | ratio | trainings to {goal:.3f} |",
        "| --- |" + " --- |" * 7,
        f"| none | {len(whole)} | {len(curve)} | {len(curve):.1f} | "
        f"{mean_and_error([one[-1] for one in whole])} | {len(curve)} | 1 | "
        f"{first([range(1, len(curve) + 1)] * len(whole), whole, goal)} |",
    ]
    for fidelity in dict.fromkeys(row["fidelity"] for row in found):
        own = [row for row in found if row["fidelity"] == fidelity]
        searches = [[r for r in own if r["search"] == s] for s in {r["search"] for r in own}]
        curves = [shares(rows, ended, metric) for ended in searches]
        spent = [[row["spent"] for row in ended] for ended in searches]
        mean = float(np.mean([one[-1] for one in curves]))
        took = float(np.mean([one[-1] for one in spent]))
        same = int(np.searchsorted(curve, mean)) + 1
        beyond = same > len(curve)
        lines.append(
            f"| {fidelity} | {len(searches)} | {len(searches[0])} | {took:.1f} | "
            f"{mean_and_error([one[-1] for one in curves])} | "
            f"{'more than ' * beyond}{min(same, len(curve))} | {min(same, len(curve)) / took:.2f} "
            f"| {first(spent, curves, goal)} |"
        )
    return "\n".join(lines)


def first(spent: Sequence[Sequence[float]], curves: Sequence[Sequence[float]], goal: float) -> str:
    """Return what searches had spent, in the median, when they came to a share, and how many."""
    needed = [
        next((at for at, share in zip(*pair, strict=True) if share >= goal), None)
        for pair in zip(spent, curves, strict=True)
    ]
    reached = [at for at in needed if at is not None]
    return f"{np.median(reached):.1f} ({len(reached)} of {len(needed)})" if reached else "none"


def trials_of(path: Path) -> list[dict[str, Any]]:
    """Return the trials that a file holds."""
    return list(map(json.loads, path.read_text(encoding="utf-8").splitlines()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_options(parser)
    parser.add_argument("--fidelities", nargs="+", choices=STOPPING, default=["asha", "shortlist"])
    parser.add_argument("--surrogate", choices=get_args(Surrogate), default="matern")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--known", type=Path)
    parser.add_argument(
        "--to", type=Path, help="default: real-fidelity-TABLE.jsonl beside this file"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = options.table or HERE / f"{options.task}.jsonl"
    to = options.to or HERE / f"real-fidelity-{table.stem}.jsonl"
    rows = rows_of(table, options.task)
    found = trials_of(to) if to.exists() else []
    earlier = trials_of(options.known) if options.known is not None else []
    own = [row for row in found if row["surrogate"] == options.surrogate]
    held = {(row["fidelity"], row["search"]) for row in own}
    for seed in range(options.seeds if options.data is not None else 0):
        for fidelity in options.fidelities:
            if (fidelity, seed) in held:
                continue
            asked = {"fidelity": fidelity, "surrogate": options.surrogate, "repeats": 1}
            problem = problem_of(options, trials=options.trials, **asked)
            known = known_reports([*earlier, *found], fidelity)
            ended = search(problem, engine_of(problem), rows, fidelity, seed, known).ended
            found, own = [*found, *ended], [*own, *ended]
            with to.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in ended)
    orders = [run(table, options.task, RANDOM, order, MANY)["curve"] for order in range(ORDERS)]
    goal = float(np.mean([curve[-1] for curve in orders]))
    searches = read(HERE / f"real-{table.stem}.jsonl")
    # Those of `real_search.py`, which stop nothing early.
    same = (options.surrogate, PORTFOLIO)
    whole = [
        as_run(rows, key, trained[: options.trials])["curve"]
        for key, trained in searches.items()
        if key[:2] == same and len(trained) >= options.trials
    ]
    if not whole:
        raise SystemExit(
            f"{options.surrogate}: run real_search.py first, which stops nothing early."
        )
    print(summary(rows, whole, goal, own))


if __name__ == "__main__":
    main()
