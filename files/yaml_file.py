"""The one reader of YAML files: plain data only, bounded before it is built, every error with file and line.

A file from a stranger may be of any size, nest without end, or repeat itself by aliases a million times over in a few
bytes. What is read here is at most 1 MB of text, 50 levels deep and 100,000 values, aliases counted as often as they
stand; scalars are null, booleans, whole numbers, decimal numbers and text. A date stays the text that it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

from files.paths import is_file

MAX_BYTES = 1_000_000
MAX_DEPTH = 50
MAX_VALUES = 100_000
_TEXT_PER_VALUE = 16  # characters of a scalar that count as one value more
_MAX_NUMBER = 64  # characters
_EXPECTED = {
    "int": f"a whole number of at most {_MAX_NUMBER} characters",
    "float": f"a number of at most {_MAX_NUMBER} characters",
}
_TAG = "tag:yaml.org,2002:"
_SCALARS = {
    f"{_TAG}null": SafeConstructor.construct_yaml_null,
    f"{_TAG}bool": SafeConstructor.construct_yaml_bool,
    f"{_TAG}int": SafeConstructor.construct_yaml_int,
    f"{_TAG}float": SafeConstructor.construct_yaml_float,
    f"{_TAG}str": SafeConstructor.construct_yaml_str,
}


def read_yaml(file: Path) -> Any:  # noqa: ANN401  (whatever the file holds)
    """The content of a YAML file: None, bool, int, float, str, and lists and mappings of them.

    Raises:
        ValueError: If it cannot be read, is no YAML in UTF-8, or is larger than what is read; names file and line.
    """
    node = _compose(file)
    try:
        return None if node is None else _plain(node)
    except _RefusedError as error:
        raise ValueError(f"{file}: {error}") from None


def line_of(file: Path, *keys: str | int) -> int | None:
    """The line, from 1, of the value under keys and list indices, e.g. `line_of(file, "backbone", 3)`.

    Returns:
        None where the file holds no such value.

    Raises:
        ValueError: As `read_yaml`.
    """
    node = _compose(file)
    for key in keys:
        if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
        elif isinstance(node, yaml.MappingNode):
            node = next((value for name, value in node.value if name.value == str(key)), None)
        else:
            return None
    return None if node is None else node.start_mark.line + 1


def _compose(file: Path) -> yaml.Node | None:
    if not is_file(file):
        raise ValueError(f"{str(file)[:200]}: no such file; expected a YAML file")
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{file}: cannot be read: {error.strerror or error}") from error
    if len(content) > MAX_BYTES:
        raise ValueError(f"{file}: expected a YAML file of at most {MAX_BYTES // 1_000_000} MB but it is larger")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{file}: line {line}: expected text in UTF-8 but got the byte {content[error.start]:#04x}"
        ) from None
    try:
        _check_extent(text)
        return yaml.compose(text, _Loader)
    except _RefusedError as error:
        raise ValueError(f"{file}: {error}") from None
    except yaml.MarkedYAMLError as error:
        raise ValueError(f"{file}: {_told(error, text)}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ValueError(f"{file}: line {line}: expected text but got the character {error.character!r}") from None


def _told(error: yaml.MarkedYAMLError, text: str) -> str:
    """What is wrong with the syntax, in a line."""
    mark = error.problem_mark or error.context_mark
    line = mark.line if mark else 0
    rows = text.splitlines()
    row = rows[line] if line < len(rows) else ""
    if "\t" in row[: len(row) - len(row.lstrip())]:
        return f"line {line + 1}: expected spaces before the text but got a tab"
    said = ", ".join(part for part in (error.context, error.problem) if part)
    return f"line {line + 1}: is not YAML: {said}"


class _RefusedError(Exception):
    """A value that is not read."""

    def __init__(self, place: yaml.Node | yaml.Event, text: str) -> None:
        super().__init__(f"line {place.start_mark.line + 1}: {text}")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's, which turns nothing but null, booleans and numbers into something else than text."""

    yaml_implicit_resolvers = {  # noqa: RUF012  (as the base class)
        first: [(tag, form) for tag, form in found if tag in _SCALARS or tag == f"{_TAG}merge"]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _check_extent(text: str) -> None:
    """Count values and levels before anything is built; an alias counts as all that it stands for."""
    known: dict[str, _Extent] = {}  # by anchor
    path = [_Extent()]  # the document and what is open in it
    total = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.CollectionEndEvent):
            found = path.pop()
            found.levels += 1
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in known:
                raise _RefusedError(event, f"expected a value named &{event.anchor} before *{event.anchor}")
            found = replace(known[event.anchor], anchor=None)
            total += found.values
        elif isinstance(event, yaml.NodeEvent):
            found = _Extent(event.anchor, 1 + len(getattr(event, "value", "")) // _TEXT_PER_VALUE)
            total += found.values
        else:
            continue
        if total > MAX_VALUES:
            raise _RefusedError(event, f"expected at most {MAX_VALUES:,} values, aliases counted each time")
        if len(path) + found.levels > MAX_DEPTH + 1:
            raise _RefusedError(event, f"expected lists and mappings at most {MAX_DEPTH} deep")
        if isinstance(event, yaml.CollectionStartEvent):
            path.append(found)
            continue
        if found.anchor is not None:
            known[found.anchor] = found
        path[-1].values += found.values
        path[-1].levels = max(path[-1].levels, found.levels)


@dataclass
class _Extent:
    """How much a node holds."""

    anchor: str | None = None
    values: int = 0
    levels: int = 0


def _plain(node: yaml.Node) -> Any:  # noqa: ANN401  (nested data)
    """A node as plain data."""
    if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
        return [_plain(child) for child in node.value]
    if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
        return {_key(key): _plain(value) for key, value in node.value}
    if not isinstance(node, yaml.ScalarNode) or node.tag not in _SCALARS:
        raise _RefusedError(node, f"expected plain data but got the tag {node.tag.replace(_TAG, '!!')}")
    try:
        if len(node.value) > _MAX_NUMBER and node.tag != f"{_TAG}str":
            raise ValueError
        return _SCALARS[node.tag](SafeConstructor(), node)
    except (ValueError, LookupError):
        text = node.value if len(node.value) <= 40 else f"{node.value[:40]} …"
        expected = _EXPECTED.get(node.tag.removeprefix(_TAG), "true or false")
        raise _RefusedError(node, f"expected {expected} but got {text!r}") from None


def _key(node: yaml.Node) -> Any:  # noqa: ANN401  (a scalar)
    if node.tag == f"{_TAG}merge":
        raise _RefusedError(node, "<< is not read; expected the entries themselves")
    if not isinstance(node, yaml.ScalarNode):
        raise _RefusedError(node, "expected a name or a number as a key but got a list or a mapping")
    return _plain(node)
