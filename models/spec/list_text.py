"""The text of a layer list: the line of each row, and the same text with other indices, its comments kept."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple, cast

import yaml

from models.spec.model_spec import ModelSpec

# A comment that begins with the row's number: "# 17 (P3/8-small)", "# 1-P2/4", "# [13]".
_NUMBERED = re.compile(r"[ \t,]*#[ \t]*\[?(\d+)(?=[\s\]:,(]|-P|$)")


class _RowText(NamedTuple):
    line: int  # from 1
    source: tuple[tuple[int, int], ...]  # where each index of its `from` begins and ends
    end: int  # of the row


def read_text(file: Path) -> str:
    """A YAML as it is, its line ends kept."""
    return file.read_bytes().decode("utf-8-sig")


def row_lines(text: str) -> list[int]:
    """The line of each row of a layer list in YAML, from 1."""
    return [row.line for row in _rows(text)]


def mended(text: str, old: ModelSpec, new: ModelSpec, inserted: Collection[int]) -> str:
    """The text of the list `old` with the indices of `new`.

    Args:
        text: YAML.
        old: As read from it.
        new: The same rows, reading others.
        inserted: Rows that were inserted. A comment behind another row that begins with the number which that row had
            before, or with one between it and the row's own, gets the row's own.
    """
    edits: list[tuple[int, int, str]] = []
    above = 0
    for row, place in enumerate(_rows(text)):
        above += row in inserted
        pairs = zip(place.source, old.layers[row].source, new.layers[row].source, strict=True)
        edits += [(*span, str(after)) for span, before, after in pairs if before != after]
        comment = _NUMBERED.match(text, place.end)
        if comment and row not in inserted and row - above <= int(comment[1]) < row:
            edits.append((*comment.span(1), str(row)))
    for begin, end, number in sorted(edits, reverse=True):
        text = text[:begin] + number + text[end:]
    return text


def _rows(text: str) -> list[_RowText]:
    root = cast("Any", yaml.compose(text, Loader=yaml.SafeLoader))  # pyright: ignore[reportUnknownMemberType]  (no types in its stub)
    parts = {key.value: value for key, value in root.value}
    return [_row(node) for part in ("backbone", "head") for node in parts[part].value]


def _row(node: yaml.SequenceNode) -> _RowText:
    source = node.value[0]
    entries = source.value if isinstance(source, yaml.SequenceNode) else [source]
    spans = tuple((entry.start_mark.index, entry.end_mark.index) for entry in entries)
    return _RowText(node.start_mark.line + 1, spans, node.end_mark.index)
