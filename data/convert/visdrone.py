"""VisDrone's own annotations for detection: a text file per image, a row per object.

Zhu et al., "Detection and Tracking Meet Drones Challenge", TPAMI 2021. A row is left, top, width, height, score,
category, truncation, occlusion. A score of 0, category 0 (a region to ignore) and 11 (others) are none of the classes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from data.convert.records import Notes, SourceImage
from data.convert.shapes import Found, sized
from data.convert.source import Source, csv_rows, side_of

SUMMARY = "VisDrone: annotations/*.txt of eight numbers a row"
OPTIONS = ()
CLASSES = (
    *("pedestrian", "people", "bicycle", "car", "van", "truck"),
    *("tricycle", "awning-tricycle", "bus", "motor"),
)
_ROW = re.compile(r"-?\d+,-?\d+,\d+,\d+,[01],\d+,-?\d+,-?\d+,?\s*$", re.M)


def detect(source: Source) -> str:
    """The file that shows the format, or nothing."""
    return next((str(source.short(path)) for path in _files(source)), "")


def _files(source: Source) -> list[Path]:
    return [path for path, head in source.heads(".txt") if path.parent.name == "annotations" and _ROW.match(head)]


def read(source: Source, notes: Notes) -> Iterator[SourceImage]:
    """Read every annotation below the folder; the side is what the folder's name says.

    Raises:
        ValueError: If there is none.
    """
    source.class_names = list(CLASSES)
    left = 0
    for file in source.some(_files(source), "annotations/*.txt with eight numbers a row"):
        image, reason = source.image(file.stem, file)
        if image is None:
            notes.add("skipped", source.short(file), reason)
            continue
        rows = [row for _, row in csv_rows(file, ",")]
        objects = [row for row in rows if row[4:5] != ["0"] and row[5:6] not in (["0"], ["11"])]
        left += len(rows) - len(objects)
        boxes = notes.boxes(source.short(file), map(_box, objects))
        yield SourceImage(image, source.name_of(image), boxes, file, split=side_of(source.short(file)))
    if left:
        notes.add("dropped", ".", f"{left} regions to ignore, objects of no class, and objects with a score of 0")


def _box(row: list[str]) -> Found:
    number = row[5] if len(row) > 5 else ""
    if not (number.isdecimal() and 1 <= int(number) <= len(CLASSES)):
        return None, f"its category is {number or 'missing'}; expected 1 to {len(CLASSES)}"
    return sized(CLASSES[int(number) - 1], row[:4])
