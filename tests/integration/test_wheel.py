"""The wheel is complete: it works from any folder, without the checkout."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    arguments = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [built] = folder.glob("*.whl")
    return built


def make_venv(folder: Path) -> Path:
    """Make an empty virtual environment; return its Python."""
    venv.create(folder)
    return folder / "bin" / "python"


def pip_of(python: Path) -> list[str]:
    """Return the command that installs into another environment, which needs no pip of its own."""
    return [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]


def call(*arguments: object, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(a) for a in arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(600)
def test_the_wheel_brings_its_data(wheel: Path, tmp_path: Path, tiny_model: Path) -> None:
    python = make_venv(tmp_path / "venv")
    call(*pip_of(python), "--no-deps", "--no-index", wheel, cwd=tmp_path)
    # The dependencies are lent by the environment of the tests; autopeft itself is not.
    [packages] = (tmp_path / "venv").glob("lib/python*/site-packages")
    (packages / "lent.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    code = (
        "import autopeft, autopeft.space.schema as s; "
        "print(autopeft.__file__, *s.shipped_spaces().values(), sep='\\n')"
    )
    files = call(python, "-c", code, cwd=tmp_path).splitlines()
    assert len(files) > 1
    assert all(file.startswith(str(packages)) and Path(file).is_file() for file in files)
    autopeft = tmp_path / "venv" / "bin" / "autopeft"
    (tmp_path / "elsewhere").mkdir()
    settings = ["--model", tiny_model, "--train-rows", 32, "--eval-rows", 32, "--json"]
    found = call(
        *(autopeft, "train", "--config", "preset:lora-qv", *settings),
        *("--study", tmp_path / "lora", "--to", "mine"),
        cwd=tmp_path / "elsewhere",
    )
    assert json.loads(found)["trials"][0]["status"] == "complete"
    assert "Plotly, Inc." in (tmp_path / "lora" / "report" / "report.html").read_text()
    assert (tmp_path / "elsewhere" / "mine" / "predict.py").is_file()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_wheel_names_its_dependencies(wheel: Path, tmp_path: Path) -> None:
    """Nothing is lent: pip installs what the wheel asks for."""
    python = make_venv(tmp_path / "venv")
    pip = pip_of(python)
    call(*pip, "torch==2.13.0", cwd=tmp_path)
    call(*pip, f"{wheel}[demo]", cwd=tmp_path)
    autopeft = tmp_path / "venv" / "bin" / "autopeft"
    settings = ["--trials", 1, "--train-rows", 64, "--eval-rows", 32, "--json"]
    found = call(autopeft, "search", *settings, cwd=tmp_path)
    assert json.loads(found)["trials"][0]["status"] == "complete"
