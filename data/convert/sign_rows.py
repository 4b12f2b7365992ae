"""Rows `image;left;top;right;bottom;class`, the ground truth of GTSDB and CCTSDB."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from data.convert.records import Notes, SourceBox, SourceImage, box_of
from data.convert.source import Source, label_of


def read_rows(source: Source, file: Path, notes: Notes, names: Mapping[str, str]) -> Iterator[SourceImage]:
    """The images that a list names, each with all of its objects.

    Args:
        source: Where they lie.
        file: The list.
        notes: Receives rows that cannot be read.
        names: From the class in the list to its name; others are taken as they are.
    """
    short = source.short(file)
    found: dict[str, list[tuple[SourceBox | None, str]]] = defaultdict(list)
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        for number, row in enumerate(csv.reader(stream, delimiter=";", quoting=csv.QUOTE_NONE), start=1):
            if len(row) == 6:
                label = label_of(row[5])
                found[row[0].strip()].append(box_of(names.get(label, label), row[1:5]))
            elif row:
                notes.add("dropped", short, f"row {number}: expected 6 fields between ; but got {len(row)}")
    for said, boxes in found.items():
        image, reason = source.image(said, file)
        if image is None:
            notes.add("skipped", short, reason)
        else:
            yield SourceImage(image, source.name_of(image), notes.boxes(source.short(image), boxes), file)
