"""Text of strangers (names of files and classes, values of their files) shown to people and to spreadsheets."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

_HIDDEN = {"Cc", "Cs", "Zl", "Zp"}  # control characters, halves of surrogate pairs, line and paragraph separators
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # show text backwards
_RUN = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet begins a formula with


def printable(text: object) -> str:
    r"""A text for the terminal, on one line: `\n`, `\x1b` and the like instead of what they would do there."""
    given = str(text)
    if given.isprintable():
        return given
    return "".join(_escaped(c) if unicodedata.category(c) in _HIDDEN or c in _TURNING else c for c in given)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def csv_cell(value: Any) -> Any:  # noqa: ANN401  (whatever a table holds)
    """A value for a CSV file: text that a spreadsheet would run gets an apostrophe in front, numbers stay."""
    if not isinstance(value, str) or not value.startswith(_RUN):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


class CsvRows:
    """Writes rows of a CSV file, every cell as `csv_cell` gives it.

    Args:
        stream: Opened with `newline=""`.
    """

    def __init__(self, stream: TextIO) -> None:
        self._writer = csv.writer(stream, lineterminator="\n")

    def write(self, row: Iterable[Any]) -> None:
        """Write one row."""
        self._writer.writerow([csv_cell(value) for value in row])

    def write_mapping(self, columns: Sequence[str], row: Mapping[str, Any]) -> None:
        """Write the columns of a mapping."""
        self.write(row[name] for name in columns)
