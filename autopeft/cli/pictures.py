"""The option `--pictures` of the commands that show figures."""

from collections.abc import Callable
from pathlib import Path

from autopeft.cli.output import console
from autopeft.errors import RequestError
from autopeft.report.pictures import FORMATS, check_pictures

#: Writes pictures into a folder, with this ending.
Write = Callable[[Path, str], list[Path]]

#: The folder and the ending of pictures; no folder is no wish for any.
Wish = tuple[Path | None, str | None]


def check_wish(wish: Wish) -> None:
    """Check what can be checked of a wish for pictures before the work.

    Raises:
        MissingPackageError: If kaleido is not installed.
        RequestError: If there is a format without a folder, or the folder is a file.
    """
    folder, ending = wish
    if folder is None:
        if ending is not None:
            raise RequestError("Name the folder of the pictures with --pictures.")
        return
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"'{folder}' is a file: name a folder for the pictures.")
    check_pictures()


def draw(write: Write, wish: Wish, *, quiet: bool = False) -> None:
    """Write pictures if they are wished for, and print their paths.

    Args:
        write: What writes them.
        wish: Where to, and how; without an ending in the first of `FORMATS`.
        quiet: Whether a machine reads standard output.
    """
    folder, ending = wish
    if folder is not None:
        for path in write(folder, ending or FORMATS[0]):
            console(stderr=quiet).print(f"Picture: {path}", highlight=False, markup=False)
