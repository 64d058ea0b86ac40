"""How many trials an hour, beside what users write today?

The same configurations run in four ways: a loop of Optuna around `Trainer`, Ray Tune with the same
function, autopeft in one process, and autopeft on Ray. Each way runs in processes of its own, in
rounds of a few configurations that take turns, so that a disturbance meets all of them. A fifth
kind of process switches autopeft's features off, one at a time.

    python experiments/trial_throughput/benchmark.py           # all, on all cores of this process
    python experiments/trial_throughput/benchmark.py --quick   # does it work? two configurations
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from material import CONFIGURATIONS, Settings, cores, draw_points, drawn_points, rounds_of
from report import markdown, summary, write_table

HERE = Path(__file__).parent
SST2 = HERE.parents[2] / "shared" / "data" / "sst2"
WAYS = ("optuna", "tune", "local", "ray")
FEATURES = "features"


def child(kind: str, settings: Settings, to: Path) -> None:
    """Run one way's share of a round in this process; write what was measured."""
    import torch
    from material import Material

    torch.set_num_threads(cores())
    if kind == FEATURES:
        from features import run_features

        found: Any = run_features(Material(settings), settings.indices)
    else:
        from ways import WAYS as RUN

        found = [asdict(m) for m in RUN[kind](Material(settings), settings.indices)]
    to.write_text(json.dumps(found), encoding="utf-8")


def run_child(kind: str, settings: Settings, caches: Path) -> dict[str, Any]:
    """Run a way in a process of its own; return what it measured and when it was started."""
    with tempfile.TemporaryDirectory() as scratch:
        to = Path(scratch) / "found.json"
        command = [sys.executable, __file__, "--child", kind, json.dumps(asdict(settings))]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(cores()),
            "MKL_NUM_THREADS": str(cores()),
            "TOKENIZERS_PARALLELISM": "false",
            "AUTOPEFT_CACHE": str(caches / kind),
            "HF_HUB_OFFLINE": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        started = time.time()
        done = subprocess.run(
            [*command, "--to", str(to)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            sys.exit(f"{kind} failed:\n{done.stderr[-4000:]}")
        return {"started": started, "found": json.loads(to.read_text(encoding="utf-8"))}


def measure(
    settings: Settings, kinds: Sequence[str], n_rounds: int, caches: Path
) -> list[dict[str, Any]]:
    """Run all rounds; the order of the ways rotates, and each has a cache of its own."""
    rounds = []
    for turn, indices in enumerate(rounds_of(settings.indices, n_rounds)):
        shift = turn % len(kinds)
        for kind in [*kinds[shift:], *kinds[:shift]]:
            started = time.perf_counter()
            found = run_child(kind, replace(settings, indices=indices), caches)
            rounds.append({"kind": kind, "round": turn, **found})
            print(f"round {turn + 1}: {kind:<9} {time.perf_counter() - started:6.1f} s", flush=True)
    return rounds


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help=f"folder of sst2; default: {SST2}")
    parser.add_argument("--model", default="minilm", help="name, folder or GGUF file")
    parser.add_argument("--rows", type=int, default=256, help="training rows")
    parser.add_argument("--eval-rows", type=int, default=200, help="validation rows")
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--configurations", type=int, help="the first so many; default: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", choices=[*WAYS, FEATURES], default=[*WAYS, FEATURES])
    parser.add_argument("--threads", type=int, help="default: all cores this process may use")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="2 configurations, few rows")
    parser.add_argument("--draw", action="store_true", help=f"write {CONFIGURATIONS.name} anew")
    parser.add_argument("--to", type=Path, default=HERE / "result.json")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def model_of(name: str) -> str:
    """Return a name or folder that everyone can load; a GGUF file is converted once, before."""
    if not name.endswith(".gguf"):
        return name
    from autopeft.models.gguf import converted_folder

    return str(converted_folder(Path(name)))


def settings_of(options: argparse.Namespace) -> Settings:
    """Return the benchmark's settings; say so if the embedded task takes the place of sst2."""
    data = (options.data or SST2).resolve()
    if not data.is_dir():
        if options.data is not None:
            sys.exit(f"There is no folder '{data}': give one with sst2's train and validation.")
        print("sst2 is not on this machine: the embedded task pydoc takes its place.")
    n = len(drawn_points()) if CONFIGURATIONS.is_file() else 0
    shape = {"rows": options.rows, "eval_rows": options.eval_rows}
    if options.quick:
        n, shape = min(n, 2), {"rows": 48, "eval_rows": 24}
    return Settings(
        data=str(data) if data.is_dir() else None,
        model=model_of(options.model),
        epochs=options.epochs,
        seed=options.seed,
        indices=tuple(range(min(n, options.configurations or n))),
        **shape,
    )


def main() -> None:
    options = parse()
    if options.child:
        kind, data = options.child[0], json.loads(options.child[1])
        child(kind, Settings(**{**data, "indices": tuple(data["indices"])}), options.to)
        return
    if options.threads:  # all ways, and Ray's processes, see as many cores as threads
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    settings = settings_of(options)
    if options.draw:
        CONFIGURATIONS.write_text(json.dumps(draw_points(settings), indent=1) + "\n")
        return
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as caches:  # empty, as for a first study
        n_rounds = 1 if options.quick else options.rounds
        rounds = measure(settings, options.kinds, n_rounds, Path(caches))
    result = {
        "settings": asdict(settings) | {"data": "pydoc" if settings.data is None else "sst2"},
        "threads": cores(),
        "seconds": round(time.perf_counter() - started),
        **summary(rounds),
        "rounds": rounds,
    }
    print(markdown(result))
    if options.quick:
        return
    options.to.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    write_table(result, options.to.stem, HERE / "README.md")


if __name__ == "__main__":
    main()
