"""`autopeft report`."""

import webbrowser
from pathlib import Path

from autopeft.api.report import check_page_file, write_report_page
from autopeft.cli.output import console
from autopeft.cli.study import open_study


def report_command(study: Path | None, to: Path | None, *, opened: bool) -> None:
    """Write the report of a study, and open it on request."""
    check_page_file(to)
    show_page(write_report_page(open_study(study), to), opened=opened)


def show_page(path: Path, *, opened: bool) -> None:
    """Say where a page is, and open it on request."""
    console().print(f"Report: {path}", highlight=False, markup=False)
    if opened and not webbrowser.open(path.resolve().as_uri()):
        console(stderr=True).print("No browser was found: open the file yourself.")
