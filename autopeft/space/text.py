"""Files that users write, as text."""

from pathlib import Path

from autopeft.errors import AutopeftError


def text_of(file: Path, wrong: type[AutopeftError]) -> str:
    """Return the text of a file.

    Args:
        file: The file; it is there.
        wrong: What to raise.

    Raises:
        AutopeftError: If it is no text in UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise wrong(f"Cannot read '{file}': it is no text in UTF-8.") from error
