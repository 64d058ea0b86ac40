"""The project keeps its own rules."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from autopeft.cli.main import app
from autopeft.methods.registry import get_method, method_names
from autopeft.space.schema import shipped_spaces
from autopeft.tasks.task import find_task, task_names
from tests.project import method_table
from tests.spaces import space_of

ROOT = Path(__file__).parents[2]
UNSAFE = re.compile(r"\bpickle\.|yaml\.load\(|weights_only=False|(?<!\.)\beval\(|\bexec\(")
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_imports_run_one_way() -> None:
    script = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", shipped_spaces())
def test_shipped_spaces_are_valid_and_named_after_their_file(name: str) -> None:
    file = shipped_spaces()[name]
    for n_layers in (1, 6, 33):
        space = space_of(file.read_text(), n_layers)
        assert set(space.methods) <= set(method_names())
    assert yaml.safe_load(file.read_text())["name"] == name


def test_everything_holds_every_method_that_goes_alone() -> None:
    text = shipped_spaces()["everything"].read_text()
    alone = {name for name in method_names() if get_method(name).info.goes_alone}
    assert set(space_of(text).methods) == alone


@pytest.mark.parametrize("name", task_names())
def test_shipped_tasks_are_valid_and_described(name: str) -> None:
    task = find_task(name)
    assert task.name == name
    assert task.about
    assert task.default_model
    assert f"`{name}`" in (ROOT / "docs" / "tasks.md").read_text()


def test_the_readme_names_every_command() -> None:
    text = (ROOT / "README.md").read_text()
    for command in app.registered_commands:
        name = command.name or command.callback.__name__  # type: ignore[union-attr]
        assert f"autopeft {name}" in text
    assert "make demo" in text
    assert "make test" in text


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_links_between_documents_hold(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (document.parent / target).exists(), target


def test_modules_stay_small() -> None:
    for file in (ROOT / "autopeft").rglob("*.py"):
        assert len(file.read_text().splitlines()) <= 300, file


def test_nothing_unpickles_or_runs_what_it_reads() -> None:
    for file in (ROOT / "autopeft").rglob("*.py"):
        assert not UNSAFE.search(file.read_text()), file


def test_the_page_of_methods_is_what_the_registry_says() -> None:
    assert method_table.FILE.read_text() == method_table.text(), (
        "run: python -m tests.project.method_table"
    )


def test_the_benchmark_runs_points_of_the_default_space() -> None:
    file = ROOT / "experiments" / "trial_throughput" / "configurations.json"
    points = json.loads(file.read_text())["points"]
    assert len(points) == 24
    assert len({json.dumps(point, sort_keys=True) for point in points}) == 24
    assert [point["method"] for point in points].count("full") == 1
    space = space_of("default")
    assert all(space.contains(point) for point in points)
