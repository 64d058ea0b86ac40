"""Files that users write, as text and as YAML."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from pydantic_core import ErrorDetails

from autopeft.errors import AutopeftError

#: What pydantic's mistakes are to somebody who writes a file and knows no pydantic, by type.
_MISTAKES = {
    "missing": "this key is missing",
    "extra_forbidden": "there is no such key: look for a slip, or leave it out",
    "union_tag_not_found": "the key 'type' is missing in it",
    "dict_type": "expected keys with values below it",
    "list_type": "expected a list",
    "string_type": "expected a text: put it in quotes",
}


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


def load_yaml(text: str) -> Any:
    """Return what a YAML text holds.

    Raises:
        yaml.YAMLError: If it is no YAML, a value is not what its form says, or a key is named
            twice, of which YAML's own loader takes the last.
    """
    loader = _UniqueKeys(text)
    try:
        return loader.get_single_data()
    except (ValueError, RecursionError) as error:  # such as of the date 2020-13-45
        raise yaml.constructor.ConstructorError(problem=f"a value is wrong: {error}") from error
    finally:
        loader.dispose()


def yaml_mistake(error: yaml.YAMLError) -> tuple[str, str]:
    """Return where a mistake is, such as ", line 3" or nothing, and what it is."""
    mark = getattr(error, "problem_mark", None)
    line = f", line {mark.line + 1}" if mark else ""
    return line, getattr(error, "problem", None) or "not readable"


def form_mistake(error: ErrorDetails) -> str:
    """Return what is wrong with a value, or a key, of a file whose form pydantic checked."""
    if error["type"] == "union_tag_invalid":
        tag, known = (error["ctx"][part] for part in ("tag", "expected_tags"))
        return f"there is no type '{tag}': choose from {known}"
    message = error["msg"].removeprefix("Value error, ").rstrip(".")
    return _MISTAKES.get(error["type"], message)


class _UniqueKeys(yaml.SafeLoader):
    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002 - PyYAML's signature
    ) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key '{key.value}' is there twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)
