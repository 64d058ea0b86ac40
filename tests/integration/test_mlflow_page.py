"""The report as MLflow's UI shows it, in a frame of its own page. Needs a Chromium."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import autopeft
from autopeft.api.result import SearchResult
from autopeft.api.tracking import newest_search
from autopeft.report.mlflow_runs import local_place
from tests.browser import open_browser
from tests.mlflow_server import Server

if TYPE_CHECKING:
    from playwright.sync_api import Frame, Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
PATIENCE = 180_000  # milliseconds
FRONT = "#front-params"


@pytest.fixture(scope="module")
def study(tiny_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    settings = {**tiny_settings, "trials": 4, "strategy": "random", "repeats": 1, "epochs": 2.0}
    folder = tmp_path_factory.mktemp("studies") / "study"
    return autopeft.search(study=folder, methods=("lora", "ia3"), **settings)


@pytest.fixture(scope="module")
def ui(study: SearchResult, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of MLflow's UI, as `autopeft ui` starts it."""
    folder = tmp_path_factory.mktemp("ui")
    server = Server(["autopeft", "ui", "--studies", study.folder.path.parent], folder / "log")
    server.start()
    yield server.uri
    server.die()


@pytest.fixture(scope="module")
def complaints() -> list[str]:
    """What the report said on the console; MLflow's own pages may say what they like."""
    return []


@pytest.fixture(scope="module")
def page(study: SearchResult, ui: str, complaints: list[str]) -> Iterator["Page"]:
    """MLflow's page of the report among the artifacts of the search."""
    run = newest_search(local_place(study.folder.path.parent))
    with open_browser() as browser:
        opened = browser.new_page(viewport={"width": 1400, "height": 900}, color_scheme="light")
        opened.set_default_timeout(PATIENCE)
        opened.on(
            "console",
            lambda message: (
                complaints.append(message.text)
                if message.location["url"].startswith("blob:") or "Content Security" in message.text
                else None
            ),
        )
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.goto(f"{ui}/{run}/artifacts/report.html")
        yield opened


@pytest.fixture(scope="module")
def frame(page: "Page") -> "Frame":
    """The report in MLflow's page, when its figure is drawn."""
    element = page.wait_for_selector("iframe.mlflow-html-iframe")
    found = element and element.content_frame()
    assert found is not None
    found.wait_for_selector(f"{FRONT} .scatterlayer path.point")
    return found


def test_the_points_of_the_figure_are_the_trials(study: SearchResult, frame: "Frame") -> None:
    drawn = frame.evaluate(
        f"""() => document.querySelector("{FRONT}").data.flatMap((trace) =>
            (trace.customdata ?? []).map((number, i) => [number, trace.x[i], trace.y[i]]))"""
    )
    expected = {(t.number, t.cost.adapter_params, t.quality) for t in study.trials}
    assert {tuple(point) for point in drawn} == expected
    assert frame.locator(f"{FRONT} .scatterlayer path.point").count() == len(expected)
    assert frame.locator("#trials tbody tr:visible").count() == len(expected)


def test_what_is_pressed_answers(frame: "Frame") -> None:
    header = frame.locator("#trials th", has=frame.locator("button")).first
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") in {"ascending", "descending"}


def test_nothing_went_wrong_in_the_frame(
    frame: "Frame", complaints: list[str], page: "Page", tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert frame.title()
    picture: Path = tmp_path_factory.getbasetemp() / "mlflow-page.png"
    frame.locator(FRONT).scroll_into_view_if_needed()
    page.screenshot(path=picture)  # to be looked at
    assert complaints == []
