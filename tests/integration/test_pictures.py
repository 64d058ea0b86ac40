"""The figures of a study as pictures, drawn by the browser of this machine."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from autopeft.api.comparison import compare_studies
from autopeft.api.report import write_report_pictures
from autopeft.api.result import SearchResult
from autopeft.report.pictures import HEIGHT, SCALE, WIDTH
from tests.command import run

pytestmark = pytest.mark.slow
REPORT = {"front-params", "front-memory", "hypervolume-trials", "learning", "parallel", "winners"}


@pytest.fixture(scope="module", autouse=True)
def browser() -> None:
    """Skip where nothing can draw."""
    kaleido = pytest.importorskip("kaleido", reason="kaleido is not installed")
    from kaleido.errors import ChromeNotFoundError

    try:
        kaleido.Kaleido()
    except ChromeNotFoundError:
        pytest.skip("there is no Chrome or Chromium on this machine")


def test_each_figure_of_a_report_is_a_picture(tiny_study: SearchResult, tmp_path: Path) -> None:
    paths = write_report_pictures(tiny_study, tmp_path / "new" / "pictures")
    assert {p.stem for p in paths} >= REPORT
    assert sorted(paths) == sorted((tmp_path / "new" / "pictures").iterdir())
    for path in paths:
        pixels = imread(path)
        height, width, _ = pixels.shape
        assert width == SCALE * WIDTH, path
        assert height >= SCALE * HEIGHT, path
        assert np.all(pixels[0] == 1), f"{path} is not on white"
        field = pixels[height // 5 : height // 2, width // 5 :]
        for part in (pixels, field):
            colours = np.unique(part.reshape(-1, part.shape[-1]), axis=0)
            assert len(colours) > 10, f"{path} is blank"


def test_commands_draw_in_other_formats(
    tiny_study: SearchResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny_study.folder.path
    for ending, start in (("svg", b"<svg"), ("pdf", b"%PDF")):
        to = tmp_path / ending
        options = ("--pictures", to, "--pictures-format", ending)
        outcome = run(capsys, "analyze", folder, "--format", "json", *options)
        assert outcome.code == 0
        assert outcome.err.count("Picture: ") == len(list(to.iterdir()))
        assert {"winners"} <= {p.stem for p in to.iterdir()}
        assert all(p.read_bytes().startswith(start) for p in to.iterdir())


def test_the_fronts_of_several_studies(tiny_study: SearchResult, tmp_path: Path) -> None:
    twin = shutil.copytree(tiny_study.folder.path, tmp_path / "twin")
    [path] = compare_studies([tiny_study.folder.path, twin]).write_pictures(tmp_path)
    assert path == tmp_path / "fronts.png"
    assert imread(path).shape[1] == SCALE * WIDTH
