"""CCTSDB, the CSUST Chinese Traffic Sign Detection Benchmark: warning, prohibitory and mandatory signs.

2017 (Zhang et al., "A Real-Time Chinese Traffic Sign Detection Algorithm Based on Modified YOLOv2", Algorithms 2017):
GroundTruth.txt with rows between `;`. 2021 (Zhang et al., "CCTSDB 2021", HCIS 2022): Pascal VOC XML, and folders that
say train and test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from data.convert import voc
from data.convert.records import Notes, SourceImage
from data.convert.sign_rows import read_rows
from data.convert.source import Source, side_of

SUMMARY = "CCTSDB 2017 (GroundTruth.txt) and 2021 (XML)"
OPTIONS = ()
CLASSES = ("warning", "prohibitory", "mandatory")
_ROW = re.compile(r"[^;\n]+\.(png|jpg);[\d.]+;[\d.]+;[\d.]+;[\d.]+;(warning|prohibitory|mandatory)\s*$", re.M)


def detect(source: Source) -> str:
    """The file that shows the format, or nothing."""
    rows = next((str(source.short(path)) for path, head in source.heads(".txt") if _ROW.match(head)), "")
    folder = next((image for image in source.images if image.parent.name in ("train_img", "test_img")), None)
    return rows or (str(source.short(folder.parent)) if folder and source.with_suffix(".xml") else "")


def read(source: Source, notes: Notes) -> Iterator[SourceImage]:
    """Read the lists, or else the XML; the side is what the image's folder says."""
    source.class_names = list(CLASSES)
    lists = [path for path, head in source.heads(".txt") if _ROW.match(head)]
    records = (
        (one for file in lists for one in read_rows(source, file, notes, {})) if lists else voc.read(source, notes)
    )
    for record in records:
        yield record.on(side_of(source.short(record.image).parent))
