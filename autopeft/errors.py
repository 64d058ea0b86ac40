"""Every error that autopeft raises on purpose.

::

    AutopeftError                 shown as one sentence, exit code 2
    ├── RequestError              an argument, or arguments that do not go together
    │   └── UnknownNameError      a name that is not registered; nearest names are suggested
    ├── SpaceError                a search-space file, or a configuration outside its space
    ├── ModelError                a model that cannot be read, loaded or adapted
    ├── DataError                 a task file or data that cannot be used
    ├── BudgetError               a parameter budget that no configuration meets
    ├── StudyError                a study folder that is missing, foreign, busy or broken
    └── MissingPackageError       an optional package that the request needs
"""

import difflib
from collections.abc import Iterable


class AutopeftError(Exception):
    """Base of the tree. `str(error)` is one sentence: what is wrong, and what to do."""


class RequestError(AutopeftError):
    """An argument that cannot be used, alone or with the others."""


class UnknownNameError(RequestError):
    """A name that is not registered.

    Attributes:
        kind: What the name should have been, such as "task".
        name: The name as given.
        nearest: Up to three registered names that look like it.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = sorted(known)
        self.kind = kind
        self.name = name
        self.nearest = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
        if self.nearest:
            advice = f"did you mean {' or '.join(self.nearest)}?"
        else:
            advice = f"known: {', '.join(names)}."
        super().__init__(" ".join(filter(None, [f"Unknown {kind} '{name}': {advice}", hint])))


class SpaceError(AutopeftError):
    """A search-space file with a mistake, or a configuration that its space does not hold."""


class ModelError(AutopeftError):
    """A model that cannot be read, loaded or adapted."""


class DataError(AutopeftError):
    """A task file or a data set that cannot be used."""


class BudgetError(AutopeftError):
    """A parameter budget that no configuration meets."""


class StudyError(AutopeftError):
    """A study folder that is missing, foreign, busy or broken."""


class MissingPackageError(AutopeftError):
    """An optional package that the request needs and that is not installed."""

    def __init__(self, package: str, purpose: str, extra: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}': install it with "
            f"`pip install 'autopeft[{extra}]'`."
        )
