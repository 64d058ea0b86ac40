"""What does it change that layers below the lowest adapted one work without dropout, once a row?

LoRA in the upper layers of MiniLM on rows of SST-2, each seed trained both ways: as the engine does
it, and with dropout everywhere and every layer computed in every step. Prints accuracy, validation
loss and processor seconds; the first trial of a depth also computes the states that the others use.

    python experiments/frozen_prefix.py --data FOLDER
"""

import argparse
import csv
import os
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import torch

from autopeft.methods.compose import read_configuration
from autopeft.models.registry import resolve_model
from autopeft.tasks.data import load_data
from autopeft.tasks.task import find_task
from autopeft.trials import training
from autopeft.trials.engine import Engine, Workload
from autopeft.trials.trial import RungReport, TrialSpec


def train(engine: Engine, layers: str, seed: int) -> tuple[RungReport, float]:
    """Train LoRA in some layers to the end; return the report and processor seconds."""
    data = {"method": "lora", "rank": 8, "layers": layers}
    rates = {"learning_rate": 2e-3, "head_learning_rate": 1e-3}
    configuration = read_configuration({**data, "training": rates}, engine.spec)
    started = time.process_time()
    spec = TrialSpec(number=0, configuration=configuration, rungs=(1.0,), epochs=2, seed=seed)
    run = training.TrialRun(engine, spec)
    report = run.advance()
    run.close()
    return report, time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of SST-2")
    parser.add_argument("--seeds", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = csv.writer(sys.stdout)
    rows.writerow(["layers", "seed", "dropout below", "accuracy", "eval loss", "cpu seconds"])
    with tempfile.TemporaryDirectory() as cache:
        os.environ["AUTOPEFT_CACHE"] = cache
        data = load_data(find_task("sst2"), options.data, train_rows=600, eval_rows=500)
        parts = (resolve_model("minilm"), data, 128)
        workload = Workload.prepare(*parts, cache_bytes=2**30, precision="float32")
        engine = Engine(workload, torch.device("cpu"))
        for layers in ("last:1", "last:1/2", "every:2"):
            for seed in range(options.seeds):
                for dropout in (False, True):
                    depth = (lambda *_: 0) if dropout else training.frozen_depth
                    with patch.object(training, "frozen_depth", depth):
                        report, seconds = train(engine, layers, seed)
                    quality = report.metrics["accuracy"]
                    numbers = (quality, round(report.eval_loss, 4), round(seconds, 1))
                    rows.writerow([layers, seed, dropout, *numbers])


if __name__ == "__main__":
    main()
