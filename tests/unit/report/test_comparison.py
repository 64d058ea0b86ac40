import itertools
from dataclasses import replace
from typing import Any

import pytest

from autopeft.report.comparison import Compared, notes, pick_rows, share_rows
from autopeft.report.comparison_figure import comparison_figure, comparison_page, key
from autopeft.report.theme import study_mark, theme
from autopeft.trials.trial import TrialStatus
from tests.records import record, repeat, summary
from tests.unit.report.test_page import Outline, data_of

SMALL = [record(0, [0.5, 0.60], 200), record(1, [0.5, 0.70], 2_000), record(2, [0.5, 0.55], 9_000)]
LARGE = [record(0, [0.5, 0.65], 900, method="ia3"), record(1, [], 10, TrialStatus.NAN)]


def compared(label: str, trials: list, fingerprint: str = "same", **changes: Any) -> Compared:
    study = replace(summary(trials), **changes)
    return Compared(label=label, summary=study, fingerprint=fingerprint)


A, B, EMPTY = compared("a", SMALL), compared("b", LARGE), compared("empty", [])


@pytest.mark.parametrize("studies", [(A, B), (A, B, EMPTY), (B, A)])
def test_the_figure_holds_the_members_of_every_front(studies: tuple[Compared, ...]) -> None:
    drawn = {
        (name, x, y)
        for trace in comparison_figure(studies).data
        for name, x, y in zip(trace.customdata, trace.x, trace.y, strict=True)
    }
    expected = {
        (key(place, r.number), 100 * r.cost.adapter_params / 1_000_000, r.quality)
        for place, study in enumerate(studies)
        for r in study.summary.front
    }
    assert drawn == expected
    page = comparison_page(studies, "today")
    assert set(data_of(page)["hovers"]) == {name for name, _, _ in expected}


def test_a_page_stands_alone_also_when_no_study_has_a_front() -> None:
    for studies in ((A, B), (EMPTY, compared("none", LARGE[1:]))):
        outline = Outline(comparison_page(studies, "today"))
        assert all(address.startswith("#") for address in outline.addresses)
        assert set(outline.described) <= set(outline.names)
        assert all(b <= a + 1 for a, b in itertools.pairwise(outline.levels))


def test_every_pick_has_a_row_and_a_study_without_any_an_empty_one() -> None:
    rows = pick_rows([A, B, EMPTY])
    assert [(row["study"], row["trial"], row["pick"]) for row in rows] == [
        ("a", 1, "best"),
        ("a", 0, "knee, smallest"),
        ("b", 0, "best, knee, smallest"),
        ("empty", None, None),
    ]
    assert len({tuple(row) for row in rows}) == 1


def test_shares_hold_the_best_mean_within_each() -> None:
    again = compared("again", [*SMALL, repeat(SMALL[1], 3, 0.68)])
    rows = share_rows([again, B])
    assert rows == [
        {"share_of_base_percent": 0.03, "again": 0.6, "b": None},
        {"share_of_base_percent": 0.1, "again": 0.6, "b": 0.65},
        {"share_of_base_percent": 0.3, "again": 0.69, "b": 0.65},
    ]
    assert share_rows([EMPTY, EMPTY]) == []


def test_what_does_not_compare_is_said() -> None:
    assert notes([A, B]) == []
    assert "different tasks" in notes([A, compared("c", SMALL, task="other")])[0]
    assert "accuracy or f1" in notes([A, compared("c", SMALL, task="other", metric="f1")])[0]
    assert "different rows" in notes([A, compared("c", SMALL, "other rows")])[0]
    by_memory = replace(A, label="c", summary=summary(SMALL, "quality", "memory"))
    [words] = notes([A, by_memory])
    assert words.startswith("The studies have different objectives (quality and params; quality")
    roomier = replace(A.summary.reference, worst=(0.0, 9.0))
    [words] = notes([A, compared("c", SMALL, reference=roomier)])
    assert words.startswith("Hypervolume is measured from references that differ")
    bigger = replace(SMALL[0], cost=replace(SMALL[0].cost, base_params=2_000_000))
    assert "differ in size" in notes([A, compared("c", [bigger])])[0]


def test_studies_look_different_by_colour_and_by_shape() -> None:
    looks = [study_mark(place) for place in range(len(theme()["studies"]))]
    assert len({look.color for look in looks}) == len({look.symbol for look in looks}) == len(looks)
    assert study_mark(len(looks)) == looks[0]


def test_every_colour_is_told_from_its_ground() -> None:
    """At least 3 : 1, as WCAG 2.2 (1.4.11) asks of graphics, on the dark ground of pages."""
    dark = theme()["dark"]
    methods = [*theme()["methods"].values(), *theme()["others"], *theme()["studies"]]
    colors = {look["color"] for look in methods}
    colors |= {theme()[name]["color"] for name in ("front", "budget", "progress")}
    for color in colors:
        assert contrast(dark.get(color, color), "#14181D") >= 3.0, color


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours by WCAG 2.2's formula."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
