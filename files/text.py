"""Text of strangers (names of files and classes, values of their files) shown to people and to spreadsheets."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterable
from typing import Any, TextIO

_HIDDEN = {"Cc", "Cs", "Zl", "Zp"}  # control characters, halves of surrogate pairs, separators of lines and paragraphs
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # of right and left
_RUN = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the beginning of a formula


def printable(text: object) -> str:
    r"""A text for the terminal, on one line: `\n`, `\x1b` and the like are written, not done."""
    given = str(text)
    if given.isprintable():
        return given
    return "".join(_escaped(c) if unicodedata.category(c) in _HIDDEN or c in _TURNING else c for c in given)


def printable_lines(text: object) -> str:
    """A text of several lines for the terminal, each as `printable`."""
    return "\n".join(map(printable, str(text).split("\n")))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def shown(value: Any) -> str:  # noqa: ANN401  (any value)
    """A value for a message, cut to a readable length."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, nesting without end
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= 160 else f"{text[:150]} …"


def csv_cell(value: Any) -> Any:  # noqa: ANN401  (whatever a table holds)
    """A value for a CSV file: text that a spreadsheet would run gets an apostrophe in front; numbers stay."""
    if not isinstance(value, str):
        return value
    text = value.encode("utf-8", "backslashreplace").decode("utf-8")  # names of files may be no Unicode
    if not text.startswith(_RUN):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def write_rows(stream: TextIO, rows: Iterable[Iterable[Any]]) -> None:
    """Write rows of a CSV file, every cell as `csv_cell` gives it.

    Args:
        stream: Opened with `newline=""`.
        rows: The header is one of them.
    """
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows(map(csv_cell, row) for row in rows)
