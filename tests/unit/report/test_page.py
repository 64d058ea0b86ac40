"""The report of a study as one page: what is in it, whatever the study has."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import pytest

from autopeft.report.answer import headline, pick_lines
from autopeft.report.axes import COST_AXES, MEMORY, OPERATIONS, PARAMS
from autopeft.report.page import Findings, Origin, study_page
from autopeft.report.summary import Summary
from autopeft.report.tables import trial_table
from autopeft.report.templates import render
from autopeft.trials.trial import TrialRecord, TrialResult, TrialStatus
from tests.records import record, repeat, summary

ORIGIN = Origin(
    asked=(("task", "task: <b>bold</b>"),),
    again=(("seed", "3"),),
    commands=(("The search:", "autopeft search --data 'a & b'"),),
    written="today",
)
FAILED = TrialResult(status=TrialStatus.OOM_GPU, reason="5 GiB </script><script>alert(1)</script>")


def operations(trial: TrialRecord, flops: int) -> TrialRecord:
    return replace(trial, cost=replace(trial.cost, flops_per_example=flops))


def many(n: int) -> list[TrialRecord]:
    methods = ("lora", "ia3", "shira", "of_tomorrow")
    return [
        record(i, [0.5, 0.6 + (i * 37 % 101) / 1000], 100 + 9 * i, method=methods[i % 4])
        if i % 5
        else record(i, [0.5], 100 + i, TrialStatus.STOPPED)
        for i in range(n)
    ]


SOME = [record(0, [0.5, 0.6], 100), record(1, [0.5, 0.7], 900, method="ia3")]
STUDIES: dict[str, Callable[[], Summary]] = {
    "nothing yet": lambda: summary([]),
    "running": lambda: summary([record(0, [], 100, None)]),
    "one trial": lambda: summary(many(2)[1:]),
    "ten trials": lambda: summary([*many(10), repeat(many(2)[1], 10, 0.61)]),
    "failures only": lambda: summary([replace(record(0, [], 100), result=FAILED)]),
    "stopped only": lambda: summary([record(0, [0.5], 100, TrialStatus.STOPPED)]),
    "no parameters": lambda: summary(SOME, "quality", "memory"),
    "three objectives": lambda: summary(SOME, "quality", "params", "memory"),
    "operations": lambda: summary([operations(r, 10**9) for r in SOME]),
    "the head alone": lambda: summary([record(0, [0.5, 0.6], 0)]),
    "quality is no number": lambda: summary([record(0, [float("nan"), 0.6], 100)]),
}


class Outline(HTMLParser):
    """Reads what a page refers to, its headings and its elements' names."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.levels: list[int] = []
        self.names: list[str] = []
        self.words: list[str] = []
        self.described: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.addresses += [found[key] or "" for key in ("src", "href", "action") if key in found]
        self.names += [found["id"] or ""] if "id" in found else []
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        for key in ("aria-labelledby", "aria-describedby", "for"):
            self.described += (found.get(key) or "").split()


def data_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found
    return json.loads(found[1])


def page_of(study: Summary, **findings: object) -> str:
    return study_page(study, ORIGIN, Findings(**findings))  # type: ignore[arg-type]


@cache
def page_named(name: str) -> str:
    return page_of(STUDIES[name]())


@pytest.mark.parametrize("name", STUDIES)
def test_a_page_stands_alone_and_in_order_whatever_the_study_has(name: str) -> None:
    page = page_named(name)
    outline = Outline(page)
    assert all(address.startswith("#") for address in outline.addresses)
    assert {address[1:] for address in outline.addresses} <= set(outline.names)
    assert set(outline.described) <= set(outline.names)
    assert len(set(outline.names)) == len(outline.names)
    assert outline.levels[0] == 1
    pairs = zip(outline.levels, outline.levels[1:], strict=False)
    assert all(b <= a + 1 for a, b in pairs)
    assert set(data_of(page)["figures"]) <= set(outline.names)


@pytest.mark.parametrize("name", STUDIES)
def test_the_front_figure_holds_every_measured_trial_once(name: str) -> None:
    study = STUDIES[name]()
    data = data_of(page_named(name))
    measured = {r.number for r in study.records if r.quality is not None}
    for axis in COST_AXES:
        if axis.known(study):
            traces = data["figures"][f"front-{axis.name}"]["data"]
            drawn = [n for t in traces for n in t.get("customdata", ())]
            assert sorted(drawn) == sorted(measured)
    assert {int(number) for number in data["hovers"]} == measured
    assert bool(data["figures"]) is bool(measured)


@pytest.mark.parametrize("name", STUDIES)
def test_the_table_holds_every_trial(name: str) -> None:
    study = STUDIES[name]()
    table = trial_table(study)
    assert [row[0].number for row in table.rows] == [r.number for r in study.records]
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert set(table.marked) == {i for i, r in enumerate(study.records) if study.on_front(r)}


def test_what_was_not_recorded_is_not_drawn() -> None:
    old, new = STUDIES["three objectives"](), STUDIES["operations"]()
    assert [axis.known(old) for axis in (PARAMS, MEMORY, OPERATIONS)] == [True, True, False]
    assert OPERATIONS.known(new)
    assert "front-operations" in data_of(page_named("operations"))["figures"]
    assert not PARAMS.known(STUDIES["failures only"]())


def test_nothing_that_a_study_says_becomes_part_of_the_page() -> None:
    page = page_named("failures only")
    assert "<script>alert" not in page
    assert "5 GiB &lt;/script&gt;" in page
    assert "<b>bold</b>" not in page
    assert "--data &#39;a &amp; b&#39;" in page
    sly = record(0, [0.5, 0.6], 100, method="</script><script>alert(1)</script>")
    assert "<script>alert" not in page_of(summary([sly]))


def test_a_front_that_a_cost_does_not_order_has_no_line() -> None:
    trials = [record(0, [0.5, 0.6], 100, memory=900), record(1, [0.5, 0.7], 900, memory=100)]
    study = summary(trials, "quality", "params", "memory")
    assert len(study.front) == 2
    assert PARAMS.orders(study)
    assert not MEMORY.orders(study)


def test_a_thousand_trials_make_less_than_five_megabytes() -> None:
    page = page_of(summary(many(1000)))
    assert len(page.encode()) < 5_000_000
    assert page.count('<tr class="front">') + page.count("<tr>") > 1000


def test_the_answer_names_the_pick_and_its_rule() -> None:
    study = summary(SOME)
    assert "trial 1, ia3" in headline(study)
    assert "900 adapter parameters (0.09 % of the base)" in headline(study)
    [(name, what), _] = pick_lines(study)
    assert name == "best"
    assert "the highest quality" in what
    again = summary([*SOME, repeat(SOME[1], 2, 0.66)])
    assert "within one standard error" in dict(pick_lines(again))["best"]
    assert headline(summary([])).startswith("No trial is complete")


def test_a_template_that_lacks_a_value_is_an_error() -> None:
    with pytest.raises(Exception, match="is undefined"):
        render("report.html.j2", {}, {})
