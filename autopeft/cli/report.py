"""`autopeft report` and `autopeft compare`."""

import webbrowser
from functools import partial
from pathlib import Path

from autopeft.api.comparison import compare_studies
from autopeft.api.report import check_page_file, write_report_page, write_report_pictures
from autopeft.cli.output import console, print_notes, print_rows
from autopeft.cli.pictures import Wish, check_wish, draw
from autopeft.cli.study import open_study
from autopeft.errors import RequestError


def report_command(study: Path | None, to: Path | None, pictures: Wish, *, opened: bool) -> None:
    """Write the report of a study, its figures as pictures and open it on request."""
    check_page_file(to)
    check_wish(pictures)
    result = open_study(study)
    draw(partial(write_report_pictures, result), pictures)
    _show_page(write_report_page(result, to), opened=opened)


def compare_command(
    studies: list[Path], to: Path | None, output: str, pictures: Wish, *, opened: bool
) -> None:
    """Print studies side by side, and write them as a page and a picture on request."""
    if opened and to is None:
        raise RequestError("Name the page to open with --to.")
    check_page_file(to)
    check_wish(pictures)
    comparison = compare_studies(studies)
    draw(comparison.write_pictures, pictures, quiet=output != "table")
    data = comparison.to_dict()
    if output == "table":
        print_rows(comparison.shares, output, title="Best mean quality within a share of the base")
    print_rows(comparison.picks, output, title="The picks", data=data)
    print_notes(comparison.notes)
    if to is not None:
        _show_page(comparison.write(to), opened=opened, quiet=output != "table")


def _show_page(path: Path, *, opened: bool, quiet: bool = False) -> None:
    # What a machine reads stays alone on standard output.
    console(stderr=quiet).print(f"Page: {path}", highlight=False, markup=False)
    if opened and not webbrowser.open(path.resolve().as_uri()):
        console(stderr=True).print("No browser was found: open the file yourself.")
