"""The built-in data set: which part of Python's standard library is a docstring about?

Every machine that runs this program has the source of the standard library. It is parsed with
`ast`, never imported. The text is the docstring's beginning, the label the topic of its module.
Words that give the label away (names of the modules) are masked in every text.
"""

import ast
import hashlib
import re
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path

from autopeft.errors import DataError

#: Topics, each a group of modules and packages that minimal installations carry too.
TOPICS: Mapping[str, tuple[str, ...]] = {
    "concurrency": (
        *("asyncio", "multiprocessing", "threading", "concurrent", "queue", "sched", "subprocess"),
        *("_threading_local", "contextvars", "selectors", "signal"),
    ),
    "email": ("email", "mailbox", "smtplib", "imaplib", "poplib", "mimetypes", "quopri"),
    "imports": (
        *("importlib", "pkgutil", "zipimport", "runpy", "modulefinder", "site", "sysconfig"),
        *("py_compile", "compileall", "venv", "zipapp"),
    ),
    "introspection": (
        *("inspect", "ast", "dis", "symtable", "tokenize", "typing", "pyclbr", "enum"),
        *("dataclasses", "abc", "types", "annotationlib", "codeop", "pickletools"),
    ),
    "logging": ("logging", "warnings", "traceback", "linecache"),
    "markup": ("xml", "html", "json", "plistlib", "csv", "tomllib", "_markupbase"),
    "network": (
        *("http", "urllib", "socket", "socketserver", "ssl", "ftplib", "xmlrpc", "wsgiref"),
        *("ipaddress", "webbrowser", "netrc"),
    ),
    "numbers": (
        *("_pydecimal", "fractions", "numbers", "statistics", "random", "datetime", "calendar"),
        *("_pydatetime", "zoneinfo", "heapq", "bisect", "_strptime", "colorsys"),
    ),
    "files": (
        *("os", "pathlib", "shutil", "tempfile", "tarfile", "zipfile", "gzip", "bz2", "lzma"),
        *("posixpath", "ntpath", "genericpath", "fileinput", "filecmp", "glob", "fnmatch", "stat"),
        *("_pyio", "_compression", "compression", "io", "shelve", "dbm"),
    ),
    "testing": (
        *("unittest", "doctest", "pdb", "bdb", "trace", "timeit", "profile", "cProfile", "pstats"),
        *("tracemalloc", "faulthandler"),
    ),
}

#: Parts of a module path that are everyday words; masking them would hide meaning.
_EVERYDAY = {
    "a",
    "abc",
    "base",
    "case",
    "client",
    "code",
    "main",
    "server",
    "text",
    "types",
    "util",
}
_MIN_WORDS = 5
_MAX_WORDS = 60
_VALIDATION_SHARE = 0.25
_MASK = "it"
_NOT_SOURCE = {"test", "tests", "idlelib", "lib2to3", "site-packages", "__pycache__"}


def pydoc_splits() -> tuple[list[dict[str, str]], list[dict[str, str]], str]:
    """Return training rows, validation rows and the origin of the data.

    Rows have the columns `text` and `label`. They are the same for every installation of one
    Python version, apart from modules that an installation lacks.

    Raises:
        DataError: If the source of the standard library is not on this machine.
    """
    library = Path(sysconfig.get_paths()["stdlib"])
    train: list[dict[str, str]] = []
    validation: list[dict[str, str]] = []
    for row, digest in sorted(_rows(library), key=lambda item: item[1]):
        share = int(digest[:8], 16) / 16**8
        (validation if share < _VALIDATION_SHARE else train).append(row)
    if not train or not validation:
        raise DataError(
            f"The source of Python's library is not in '{library}': give --task and --data."
        )
    version = ".".join(str(part) for part in sys.version_info[:3])
    return train, validation, f"docstrings of Python {version}"


def _rows(library: Path) -> Iterator[tuple[dict[str, str], str]]:
    """Yield each distinct text once, with its label and the hash of the text."""
    masked = _masked_names(library)
    seen: dict[str, str | None] = {}
    for topic, modules in TOPICS.items():
        for module in modules:
            for path in _sources(library, module):
                for docstring in _docstrings(path):
                    text = _text(docstring, masked)
                    if len(text.split()) >= _MIN_WORDS:
                        # A text of two topics has no right label.
                        seen[text] = topic if seen.get(text, topic) == topic else None
    for text, label in seen.items():
        if label is not None:
            yield {"text": text, "label": label}, hashlib.sha256(text.encode()).hexdigest()


def _sources(library: Path, module: str) -> list[Path]:
    file, folder = library / f"{module}.py", library / module
    found = [file] if file.is_file() else []
    if folder.is_dir():
        found += sorted(
            path
            for path in folder.rglob("*.py")
            if not _NOT_SOURCE.intersection(path.relative_to(folder).parts)
        )
    return found


def _docstrings(path: Path) -> Iterator[str]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return  # templates that come with the library are not all Python
    for node in ast.walk(tree):
        if isinstance(node, documented):
            docstring = ast.get_docstring(node)
            if docstring:
                yield docstring


def _masked_names(library: Path) -> re.Pattern[str]:
    names = {name.strip("_") for modules in TOPICS.values() for name in modules}
    for modules in TOPICS.values():
        for module in modules:
            for path in _sources(library, module):
                names.update(
                    part.strip("_") for part in path.relative_to(library).with_suffix("").parts
                )
    names -= _EVERYDAY | {""}
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    return re.compile(rf"\b_?(?:{'|'.join(map(re.escape, longest_first))})\b", re.IGNORECASE)


def _text(docstring: str, masked: re.Pattern[str]) -> str:
    words = masked.sub(_MASK, docstring).split()
    return " ".join(words[:_MAX_WORDS])
