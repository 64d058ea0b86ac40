"""Several studies side by side."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autopeft.api.report import now_text, write_page
from autopeft.api.result import SearchResult
from autopeft.errors import RequestError, StudyError
from autopeft.report.comparison import Compared, notes, pick_rows, share_rows
from autopeft.report.comparison_figure import comparison_figure, comparison_page
from autopeft.report.pictures import write_pictures


@dataclass(frozen=True, slots=True)
class Comparison:
    """Studies that are compared, in the order they were named.

    Attributes:
        studies: The studies.
    """

    studies: tuple[Compared, ...]

    @property
    def notes(self) -> list[str]:
        """What has to be known before their qualities are compared."""
        return notes(self.studies)

    @property
    def picks(self) -> list[dict[str, Any]]:
        """Each study's picks as flat rows."""
        return pick_rows(self.studies)

    @property
    def shares(self) -> list[dict[str, Any]]:
        """The best mean quality of each study within shares of the base."""
        return share_rows(self.studies)

    def write(self, to: Path) -> Path:
        """Write the comparison as one page; return its path.

        Raises:
            RequestError: If the file cannot be written.
        """
        write_page(comparison_page(self.studies, now_text()), to)
        return to

    def write_pictures(self, folder: Path, ending: str = "png") -> list[Path]:
        """Write the fronts as a picture; return its path in a list.

        Raises:
            MissingPackageError: If kaleido is not installed.
            RequestError: If there is no browser that draws it, or the folder cannot be written.
            StudyError: If no study has a front.
        """
        if not any(study.summary.front for study in self.studies):
            raise StudyError("No study has a complete trial: there is nothing to draw.")
        return write_pictures({"fronts": comparison_figure(self.studies)}, folder, ending)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for machines."""
        return {"picks": self.picks, "shares": self.shares, "notes": self.notes}


def compare_studies(folders: Sequence[Path]) -> Comparison:
    """Return studies side by side.

    Args:
        folders: At least two folders of studies.

    Raises:
        RequestError: If there are fewer, or one is named twice.
        StudyError: If a folder holds no study, or one that cannot be read.
    """
    if len(folders) < 2:
        raise RequestError("Name at least two studies to compare.")
    counts = Counter(folder.resolve() for folder in folders)
    twice, most = counts.most_common(1)[0]
    if most > 1:
        raise RequestError(f"The study '{twice}' is named twice: name each once.")
    results = [SearchResult.open(folder) for folder in folders]
    names = Counter(result.summary.name for result in results)
    return Comparison(
        tuple(
            Compared(
                label=_label(result, alone=names[result.summary.name] == 1),
                summary=result.summary,
                fingerprint=result.manifest["task"]["fingerprint"],
            )
            for result in results
        )
    )


def _label(result: SearchResult, *, alone: bool) -> str:
    return result.summary.name if alone else str(result.folder.path)
