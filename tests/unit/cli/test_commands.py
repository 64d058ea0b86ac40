import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from autopeft.api.result import SearchResult
from autopeft.study.rungs import FIDELITIES
from tests.command import as_options, run

COMMANDS = (
    *("search", "train", "plan", "recommend", "pareto", "analyze", "report", "compare", "export"),
    *("methods", "estimate", "space", "sync", "ui", "doctor"),
)


@pytest.fixture
def options(tiny_settings: dict[str, Any]) -> list[object]:
    return as_options(tiny_settings)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = run(capsys, "--help")
    assert outcome.code == 0
    named = re.findall(r"^│ (\w+)  ", outcome.out, re.MULTILINE)
    assert sorted(named) == sorted(COMMANDS)


@pytest.mark.parametrize("command", [*COMMANDS, "space show", "space validate"])
def test_help_cuts_nothing_in_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    helped = run(capsys, *command.split(), "--help")
    assert helped.code == 0
    assert "Usage" in helped.out
    assert "…" not in helped.out


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, autopeft, autopeft.cli.main as m\n"
        "sys.argv = ['autopeft', 'search', '--help']\n"
        "try: m.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'ray', 'mlflow', 'botorch', 'optuna', 'datasets'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version").out.startswith("autopeft 0.")


def test_search_prints_the_front_and_what_to_do_next(
    capsys: pytest.CaptureFixture[str], options: list[object], tmp_path: Path
) -> None:
    shape = ["--max-length", 6, "--batch-size", 500]
    outcome = run(capsys, "search", *options, "--trials", 2, *shape)
    assert outcome.code == 0
    for note in ("a batch of 500 is more than the 96", "are longer than 6 tokens and are cut"):
        assert note in outcome.err.lower()
    [folder] = [p for p in (tmp_path / "studies").iterdir() if (p / "study.json").is_file()]
    assert folder.name.startswith("sst2-tiny-bert-20")
    for text in ("Pareto front", "2 trials", f"autopeft export studies/{folder.name}"):
        assert text in outcome.out
    assert "[2/2] trial 1" in outcome.err  # a plain line a trial where there is no terminal
    assert (folder / "report" / "pareto.html").is_file()
    assert (tmp_path / "studies" / "mlflow.db").is_file()


def test_search_for_machines(
    capsys: pytest.CaptureFixture[str], options: list[object], tmp_path: Path
) -> None:
    outcome = run(capsys, "search", *options, "--trials", 1, "--json", "--study", tmp_path / "s")
    assert outcome.code == 0
    assert [t["number"] for t in json.loads(outcome.out)["trials"]] == [0]
    assert outcome.err == ""


@pytest.mark.parametrize("command", ["pareto", "plan", "methods", "estimate", "doctor"])
def test_every_table_has_three_formats(
    command: str,
    capsys: pytest.CaptureFixture[str],
    options: list[object],
    tiny_study: SearchResult,
    tmp_path: Path,
) -> None:
    configuration = tmp_path / "c.yaml"
    configuration.write_text(yaml.safe_dump({"method": "lora", "rank": 4}))
    model = options[options.index("--model") + 1]
    arguments: dict[str, list[object]] = {
        "pareto": [tiny_study.folder.path],
        "plan": options,
        "methods": ["--model", model],
        "estimate": ["--model", model, "--config", configuration],
        "doctor": [],
    }
    chosen = arguments[command]
    table = run(capsys, command, *chosen)
    data = run(capsys, command, *chosen, "--format", "json")
    rows = run(capsys, command, *chosen, "--format", "csv")
    assert (table.code, data.code, rows.code) == (0, 0, 0)
    assert json.loads(data.out)
    read = list(csv.DictReader(io.StringIO(rows.out)))
    assert read
    assert None not in read[0]
    assert len(table.out.splitlines()) > len(read)


def test_pareto_shows_the_front_or_all(
    capsys: pytest.CaptureFixture[str], tiny_study: SearchResult
) -> None:
    folder = tiny_study.folder.path
    front = json.loads(run(capsys, "pareto", folder, "--format", "json").out)
    everything = json.loads(run(capsys, "pareto", folder, "--all", "--format", "json").out)
    assert [t["number"] for t in front["trials"]] == sorted(r.number for r in tiny_study.front)
    assert len(everything["trials"]) == len(tiny_study.trials)


def test_commands_without_a_study_take_the_newest(
    capsys: pytest.CaptureFixture[str], tiny_study: SearchResult, tmp_path: Path
) -> None:
    for name in ("old", "new"):
        shutil.copytree(tiny_study.folder.path, tmp_path / "studies" / name)
    old, new = (tmp_path / "studies" / n / "study.json" for n in ("old", "new"))
    new.touch()
    assert "studies/new" in json.loads(run(capsys, "pareto", "--format", "json").out)["study"]
    stamp = new.stat().st_mtime_ns + 10**9
    os.utime(old, ns=(stamp, stamp))
    assert "studies/old" in json.loads(run(capsys, "pareto", "--format", "json").out)["study"]


def test_estimate_counts_what_a_trial_has(
    capsys: pytest.CaptureFixture[str], tiny_study: SearchResult, tmp_path: Path
) -> None:
    """A configuration taken from a study costs what the study says."""
    trial = tiny_study.best()
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump(trial.spec.configuration.to_dict()))
    model = tiny_study.manifest["model"]["location"]
    length = tiny_study.manifest["task"]["max_length"]
    shape = ["--num-labels", 2, "--seq-len", length]
    outcome = run(
        capsys, "estimate", "--model", model, "--config", file, *shape, "--format", "json"
    )
    found = json.loads(outcome.out)
    assert found["adapter_params"] == trial.cost.adapter_params
    assert found["peak_memory_bytes"] == trial.cost.peak_memory_bytes


def test_estimate_says_that_the_model_takes_less(
    capsys: pytest.CaptureFixture[str], tiny_model: Path
) -> None:
    arguments = ["estimate", "--model", tiny_model, "--config", "preset:lora-qv"]
    usual = run(capsys, *arguments, "--format", "json")
    longest = json.loads(usual.out)["seq_length"]
    assert usual.err == ""
    outcome = run(capsys, *arguments, "--format", "json", "--seq-len", 4096)
    assert "and not the 4,096 that were asked for" in outcome.err
    assert longest <= json.loads(outcome.out)["seq_length"] < 4096


def test_estimate_of_other_ways_to_make_a_step(
    capsys: pytest.CaptureFixture[str], tiny_model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("method: lora\n")
    call = ["estimate", "--model", tiny_model, "--config", file]
    plain = json.loads(run(capsys, *call, "--format", "json").out)
    sizes = {"adapter_params", "head_params", "base_params", "adapter_bytes", "flops_per_step"}
    assert sizes < set(plain)
    assert sum(plain["memory_parts"].values()) == plain["peak_memory_bytes"]
    less = {
        ("--dtype", "bf16"): "weights",
        ("--optimizer", "sgd"): "optimizer",
        ("--gradient-checkpointing",): "activations",
        ("--base-bits", 4, "--double-quantization"): "weights",
    }
    for options, part in less.items():
        other = json.loads(run(capsys, *call, *options, "--format", "json").out)
        assert other["memory_parts"][part] < plain["memory_parts"][part]
    table = run(capsys, *call).out
    assert f"{plain['peak_memory_bytes'] / 2**20:.2f} MiB" in table
    assert "GFLOP" in table
    wrong = run(capsys, *call, "--optimizer", "adamw9")
    assert wrong.code == 2
    assert "There is no optimizer 'adamw9'" in wrong.err


def test_plan_runs_nothing(
    capsys: pytest.CaptureFixture[str], options: list[object], tmp_path: Path
) -> None:
    plan = json.loads(run(capsys, "plan", *options, "--format", "json").out)
    assert list(tmp_path.iterdir()) == []
    table = run(capsys, "plan", *options, "--trials", 1, "--fidelity", "none").out
    assert "Search  1 trial of " in table
    assert " = 1 times a full training with --fidelity none" in table
    assert plan["full_training_equivalents"]["most"] == 8
    assert plan["repeats"] == {"seeds": 1, "most": 0}
    every = plan["full_training_equivalents_by_fidelity"]
    assert set(every) == set(FIDELITIES)
    assert every["none"] == {"least": 8, "most": 8}
    assert plan["full_training_equivalents"] == every["asha"]
    assert all(e["adapter_params"] <= plan["budget"]["limit"] for e in plan["examples"])


def test_methods_say_why_not(capsys: pytest.CaptureFixture[str], tiny_model: Path) -> None:
    rows = json.loads(run(capsys, "methods", "--format", "json").out)
    names = {row["name"] for row in rows}
    assert names >= {"lora", "adalora", "ia3", "ln_tuning", "bitfit", "shira", "full"}
    asked = json.loads(run(capsys, "methods", "--model", tiny_model, "--format", "json").out)
    assert all(row["takes"] or row["reason"] for row in asked)
    assert all(row["smallest_params"] <= row["largest_params"] for row in asked if row["takes"])
    assert {row["name"] for row in asked if row["converts_to_lora"]} >= {"lora", "loha", "psoft"}


def test_export_and_its_messages(
    capsys: pytest.CaptureFixture[str], tiny_study: SearchResult, tmp_path: Path
) -> None:
    folder = tiny_study.folder.path
    outcome = run(capsys, "export", folder, "--pick", "smallest", "--to", "mine")
    assert outcome.code == 0
    assert "python mine/predict.py" in outcome.out
    assert (tmp_path / "mine" / "README.md").is_file()
    again = run(capsys, "export", folder, "--to", "mine")
    assert again.code == 2
    assert "already exists" in again.err
    named = run(capsys, "export", f"{folder}:smallest", "--to", "named")
    assert named.out == outcome.out.replace("mine", "named")
    for name in ("configuration.yaml", "README.md"):
        assert (tmp_path / "named" / name).read_text() == (tmp_path / "mine" / name).read_text()
    twice = run(capsys, "export", f"{folder}:smallest", "--pick", "best", "--to", "twice")
    assert (twice.code, "names the trial smallest" in twice.err) == (2, True)
