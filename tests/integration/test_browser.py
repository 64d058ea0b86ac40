"""The report in a real browser: what it draws, says and does. Needs a Chromium on the machine."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from autopeft.report.page import Findings, Origin, study_page
from autopeft.report.summary import Summary
from autopeft.report.theme import mark
from autopeft.trials.trial import TrialStatus
from tests.browser import open_browser
from tests.records import record, repeat, summary

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow
FRONT = "#front-params"
PHONE = 360


def study() -> Summary:
    methods = ("lora", "ia3", "shira")
    trials = [
        record(i, [0.5, 0.60 + (i * 7 % 10) / 100], 100 * (i + 1), method=methods[i % 3])
        for i in range(9)
    ]
    trials.append(record(9, [0.55], 950, TrialStatus.STOPPED, method="ia3"))
    trials.append(record(10, [], 10, TrialStatus.NAN))
    return summary([*trials, repeat(trials[0], 11, 0.61)])


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    origin = Origin(asked=(("task", "task"),), again=(("seed", "3"),), commands=(), written="today")
    path: Path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(study_page(study(), origin, Findings()), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def complaints() -> list[str]:
    """What a page asked of a network, or said on the console."""
    return []


@pytest.fixture(scope="module")
def page(browser: "Browser", address: str, complaints: list[str]) -> "Page":
    """The report, open; tests leave it as they found it."""
    opened = browser.new_page(color_scheme="light")
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on(
        "request", lambda asked: complaints.append(asked.url) if asked.url != address else None
    )
    opened.goto(address)
    return opened


def shown_trials(page: "Page") -> list[int]:
    rows = page.locator("#trials tbody tr:visible > :first-child").all_text_contents()
    return [int(text.strip()) for text in rows]


def wait_until(page: "Page", condition: str) -> None:
    """Wait until an expression is true; Playwright's own way is `eval`, which the page forbids."""
    page.evaluate(
        f"""() => new Promise((resolve) => {{
              const look = () => ({condition}) ? resolve() : requestAnimationFrame(look);
              look();
            }})"""
    )


def test_the_points_are_the_trials(page: "Page") -> None:
    expected = {
        (r.number, max(r.cost.adapter_params, 1), r.quality)
        for r in study().records
        if r.quality is not None
    }
    drawn: list[list[Any]] = page.evaluate(
        """() => document.querySelector("#front-params").data.flatMap((trace) =>
           (trace.customdata ?? []).map((number, i) => [number, trace.x[i], trace.y[i]]))"""
    )
    assert {tuple(point) for point in drawn} == expected
    assert page.locator(f"{FRONT} .scatterlayer path.point").count() == len(expected)


def test_the_hover_shows_the_whole_configuration(page: "Page") -> None:
    chosen = study().best()
    assert chosen is not None
    number = chosen.number
    place = page.evaluate(
        """([number]) => {
             const plot = document.querySelector("#front-params");
             plot.scrollIntoView();
             const trace = plot.data.find((t) => t.customdata?.includes(number));
             const i = trace.customdata.indexOf(number);
             const box = plot.getBoundingClientRect();
             const { xaxis, yaxis } = plot._fullLayout;
             return [box.x + xaxis._offset + xaxis.d2p(trace.x[i]),
                     box.y + yaxis._offset + yaxis.d2p(trace.y[i])];
           }""",
        [number],
    )
    page.mouse.move(place[0] - 2, place[1])
    page.mouse.move(*place)
    words = page.locator(f"{FRONT} .hoverlayer .hovertext").first.text_content()
    assert words is not None
    for part in (f"trial {number}:", "targets attn.q", "layers all", f"rank={number + 1}"):
        assert part in words
    assert "learning rate 0.001" in words


@pytest.mark.parametrize("words", ["ia3", "IA3 stopped", "nothing of the kind", ""])
def test_the_filter_filters(words: str, page: "Page") -> None:
    page.get_by_label("Filter the trials").fill(words)
    expected = [
        r.number
        for r in study().records
        if all(
            word in f"{r.spec.configuration.method} {r.status.value}"
            for word in words.lower().split()
        )
    ]
    assert shown_trials(page) == expected
    told = page.get_by_role("status").text_content()
    assert told == f"{len(expected)} of {len(study().records)} trials"


def test_only_the_front_can_be_shown(page: "Page") -> None:
    box = page.get_by_label("only the front")
    box.check()
    on_front = [r.number for r in study().records if study().on_front(r)]
    assert shown_trials(page) == on_front
    box.uncheck()


def test_a_click_and_a_key_sort_what_has_no_value_last(page: "Page") -> None:
    header = page.locator("#trials th", has_text="accuracy")
    known = [r for r in study().records if r.quality is not None]
    without = [r.number for r in study().records if r.quality is None]
    rising = [r.number for r in sorted(known, key=lambda r: r.quality or 0)]
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    assert shown_trials(page) == [*rising, *without]
    page.keyboard.press("Enter")  # the button has the focus
    assert header.get_attribute("aria-sort") == "descending"
    falling = [r.number for r in sorted(known, key=lambda r: -(r.quality or 0))]
    assert shown_trials(page) == [*falling, *without]
    page.locator("#trials th button").first.click()
    assert shown_trials(page) == [r.number for r in study().records]
    assert page.locator('#trials th[aria-sort="none"]').count() > 5


def test_figures_have_the_colours_of_the_scheme_and_paper_is_light(page: "Page") -> None:
    ink = f"document.querySelector('{FRONT}')._fullLayout.font.color"
    light = page.evaluate(ink)
    page.emulate_media(color_scheme="dark")
    wait_until(page, f"{ink} !== '{light}'")
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    colors = f"document.querySelector('{FRONT}').data.map((trace) => trace.marker?.color)"
    assert mark("lora").color in page.evaluate(colors)
    page.evaluate("() => dispatchEvent(new Event('afterprint'))")
    assert mark("lora").color not in page.evaluate(colors)
    page.emulate_media(color_scheme="light")
    wait_until(page, f"{ink} === '{light}'")


def test_a_phone_needs_no_sideways_scrolling(page: "Page") -> None:
    before = page.viewport_size
    assert before is not None
    page.set_viewport_size({"width": PHONE, "height": 740})
    wait_until(page, f"document.querySelector('{FRONT}')._fullLayout.width <= {PHONE}")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE
    page.set_viewport_size(before)


def test_nothing_was_asked_of_a_network_and_nothing_went_wrong(
    page: "Page", complaints: list[str]
) -> None:
    assert page.title() == "task on model: autopeft"
    assert complaints == []
