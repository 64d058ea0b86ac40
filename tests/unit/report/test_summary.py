import csv
import io
import json
from pathlib import Path

import pytest

from autopeft.report.files import write_report
from autopeft.report.markdown import front_markdown, noise_text
from autopeft.report.summary import column_title, to_csv
from autopeft.trials.trial import TrialStatus
from tests.records import record, repeat, summary

TRIALS = [
    record(0, [0.5, 0.60], 100),
    record(1, [0.5, 0.70], 1_000),
    record(2, [0.5, 0.71], 9_000),
    record(3, [0.5, 0.65], 2_000),  # dominated by 1
    record(4, [0.99], 50, TrialStatus.STOPPED),  # better and smaller, but never finished
    record(5, [], 10, TrialStatus.NAN),
    record(6, [0.4], 60, None),
]


def test_the_front_and_its_picks() -> None:
    study = summary(TRIALS)
    assert [r.number for r in study.front] == [0, 1, 2]
    best, knee, smallest = study.best(), study.knee(), study.smallest()
    assert best is TRIALS[2]
    assert knee is TRIALS[1]
    assert smallest is TRIALS[0]
    assert [study.marks(r) for r in TRIALS[:4]] == ["smallest", "knee", "best", ""]
    assert study.statuses() == "4 complete, 1 stopped, 1 nan, 1 running"


def test_of_equal_qualities_the_cheaper_is_best() -> None:
    study = summary([record(0, [0.5, 0.7], 900), record(1, [0.5, 0.7], 800)])
    best = study.best()
    assert best is not None
    assert best.number == 1
    assert [r.number for r in study.front] == [1]


def test_the_smallest_is_by_parameters_whatever_the_objectives() -> None:
    trials = [record(0, [0.5, 0.6], 500, memory=10), record(1, [0.5, 0.7], 100, memory=999)]
    study = summary(trials, "quality", "memory")
    smallest = study.smallest()
    assert smallest is not None
    assert smallest.number == 1


def test_the_front_is_of_means() -> None:
    """A second seed shows that what looked better was luck."""
    lucky, honest = record(0, [0.1, 0.72], 500), record(1, [0.1, 0.70], 400)
    assert [r.number for r in summary([lucky, honest]).front] == [1, 0]
    trials = [lucky, honest, repeat(lucky, 2, 0.60), repeat(honest, 3, 0.69)]
    study = summary(trials)
    assert study.front == [honest]
    assert study.hypervolume < summary([lucky, honest]).hypervolume
    rows = study.rows(trials)
    assert [row["mean"] for row in rows] == [0.66, 0.695, 0.66, 0.695]
    assert [row["accuracy"] for row in rows] == [0.72, 0.70, 0.60, 0.69]
    assert [row["seeds"] for row in rows] == [2, 2, 2, 2]
    assert [row["repeat_of"] for row in rows] == [None, None, 0, 1]
    assert rows[0]["on_front"] < rows[1]["on_front"] == 1.0


def test_best_is_the_cheapest_that_noise_does_not_tell_from_the_first() -> None:
    small, middle, large = (
        record(i, [0.1, q], params)
        for i, (q, params) in enumerate([(0.60, 100), (0.698, 500), (0.70, 5_000)])
    )
    trials = [small, middle, large]
    assert summary(trials).best() == large  # one seed each: nothing is known of the noise
    for first, quality in zip(trials[:3], (0.61, 0.693, 0.705), strict=True):
        trials.append(repeat(first, len(trials), quality))
    study = summary(trials)
    error = study.estimates[large.spec.configuration.digest].error
    assert 0.7025 - 0.6955 < error < 0.7025 - 0.605
    assert study.best() == middle
    assert study.marks(middle) == "best, knee"


def test_a_study_without_repeats_shows_the_evaluations_error_alone() -> None:
    rows = summary(TRIALS).rows(TRIALS)
    assert {row["mean"] for row in rows} == {row["seeds"] for row in rows} == {None}
    assert rows[0]["standard_error"] == pytest.approx((0.6 * 0.4 / 400) ** 0.5, abs=1e-4)
    assert [row["standard_error"] is None for row in rows] == [False] * 4 + [True] * 3
    assert rows[0]["on_front"] == 1.0  # nothing complete is cheaper


def test_the_noise_in_words() -> None:
    trial, failed = record(0, [0.1, 0.7], 100), record(1, [], 100, TrialStatus.NAN)
    study = summary([trial, failed])
    assert noise_text(study, failed) == ""
    assert noise_text(study, trial) == "standard error 0.0228 for the choice of the validation rows"
    again = repeat(trial, 2, 0.68)
    assert noise_text(summary([trial, failed, again]), again).startswith(
        "of seed 2; the mean of 2 seeds is 0.6900, standard error 0.01"
    )


def test_a_study_without_complete_trials() -> None:
    study = summary([record(0, [], 10, TrialStatus.CRASH)])
    assert study.front == []
    assert (study.best(), study.knee(), study.smallest()) == (None, None, None)
    assert study.hypervolume == 0.0
    assert study.front_csv() == ""
    assert summary([]).statuses() == "none"


def test_hypervolume_grows_with_the_front_and_stays_below_one() -> None:
    volumes = [summary(TRIALS[:n]).hypervolume for n in range(4)]
    assert volumes[0] == 0.0
    assert volumes == sorted(volumes)
    assert len(set(volumes)) == 4
    assert 0.0 < volumes[-1] < 1.0


def test_csv_holds_every_row_and_column() -> None:
    study = summary(TRIALS)
    rows = list(csv.DictReader(io.StringIO(to_csv(study.rows(study.records)))))
    assert [int(r["trial"]) for r in rows] == list(range(7))
    assert rows[2]["accuracy"] == "0.71"
    assert rows[2]["adapter_params"] == "9000"
    assert rows[2]["share_of_base_percent"] == "0.9"
    assert rows[5]["accuracy"] == ""


def test_the_markdown_table_holds_the_front_alone() -> None:
    lines = front_markdown(summary(TRIALS)).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["0", "1", "2"]
    assert len({line.count("|") for line in lines}) == 1
    titles, rules, *rows = ([cell.strip() for cell in line.split("|")] for line in lines)
    params = titles.index("adapter params")
    assert rules[params] == "---:"
    assert rows[-1][params] == "9,000"


def test_a_mean_says_of_what_it_is() -> None:
    lines = front_markdown(summary([*TRIALS, repeat(TRIALS[1], 7, 0.69)])).splitlines()
    assert "| mean accuracy |" in lines[0]


def test_an_empty_front_is_no_table() -> None:
    assert front_markdown(summary([])) == ""


@pytest.mark.parametrize("trials", [TRIALS, []])
def test_the_report_has_four_files(tmp_path: Path, trials: list) -> None:
    study = summary(trials)
    data = {
        "front": [r.number for r in study.front],
        "trials": [r.to_dict() for r in study.records],
    }
    files = write_report(study, data, tmp_path)
    assert {f.name for f in files} == {"front.csv", "front.json", "pareto.html", "pareto.png"}
    written = json.loads((tmp_path / "front.json").read_text())
    assert [t["number"] for t in written["trials"]] == data["front"]
    assert (tmp_path / "pareto.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "pareto.html").read_text()
    assert "adapter parameters" in page
    assert 'src="http' not in page  # it opens without a network


def test_titles_of_columns_write_units_as_units() -> None:
    assert column_title("peak_memory_mib") == "peak memory MiB"
    assert column_title("share_of_base_percent") == "share of base %"
    assert column_title("gflop_a_step") == "GFLOP a step"
    assert column_title("trial") == "trial"
