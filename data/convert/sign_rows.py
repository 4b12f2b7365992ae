"""Rows `image;left;top;right;bottom;class`, the ground truth of GTSDB and CCTSDB."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from data.convert.by_image import ObjectsByImage
from data.convert.records import Notes, SourceImage
from data.convert.shapes import box_of
from data.convert.source import Source, csv_rows, label_of


def read_rows(source: Source, file: Path, notes: Notes, names: Mapping[str, str]) -> Iterator[SourceImage]:
    """The images that a list names, each with all of its objects.

    Args:
        source: Where they lie.
        file: The list.
        notes: Receives rows that cannot be read.
        names: From the class in the list to its name; others are taken as they are.
    """
    objects = ObjectsByImage()
    for number, row in csv_rows(file, ";"):
        label = label_of(row[-1])
        box, reason = box_of(names.get(label, label), row[1:-1])
        objects.add(row[0].strip(), box)
        if box is None:
            notes.add("dropped", source.short(file), f"row {number}: {reason}")
    yield from objects.images(source, file, notes)
