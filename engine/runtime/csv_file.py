"""Tables of measurements as CSV files that a later run reads and goes on with."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path


def read_csv(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of an earlier run, none if there is no file.

    Raises:
        ValueError: The file has other columns.
    """
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if list(reader.fieldnames or ()) != list(columns):
            raise ValueError(
                f"{path}: expected the columns {', '.join(columns)}, but its columns are those of another version; "
                "remove the file or give another --out"
            )
        return list(reader)


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
    """Replace the file by these rows, in one step."""
    draft = path.with_suffix(".part")
    with draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    draft.replace(path)
