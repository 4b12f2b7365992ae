"""TT100K, Tsinghua-Tencent 100K: annotations.json (2016) or annotations_all.json (2021), images of 2048x2048.

Zhu et al., "Traffic-Sign Detection and Classification in the Wild", CVPR 2016. As in the papers, the 45 classes with at
least 100 instances are kept, and the images in `other/` belong to neither side.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import Any

from data.convert.json_stream import read_entries
from data.convert.records import Notes, SourceBox, SourceImage
from data.convert.shapes import box_of
from data.convert.source import Source, label_of, side_of

SUMMARY = "TT100K: annotations.json"
OPTIONS = ("all_classes",)
CLASSES = re.findall(
    r"\S+",
    "i2 i4 i5 il100 il60 il80 io ip p10 p11 p12 p19 p23 p26 p27 p3 p5 p6 pg ph4 ph4.5 ph5 pl100 pl120 pl20 pl30 pl40 "
    "pl5 pl50 pl60 pl70 pl80 pm20 pm30 pm55 pn pne po pr40 w13 w32 w55 w57 w59 wo",
)
_KEYS = re.compile(r'"(imgs|types)"\s*:')


def add_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the options of `read` to the parser."""
    group.add_argument("--all-classes", action="store_true", help="all classes that occur instead of the papers' 45")


def detect(source: Source) -> str:
    """The file that shows the format, or nothing."""
    heads = source.heads(".json")
    return next((str(source.short(path)) for path, head in heads if head.startswith("{") and _KEYS.search(head)), "")


def read(source: Source, notes: Notes, *, all_classes: bool = False) -> Iterator[SourceImage]:
    """Read the annotations; where both years' files lie there, the later one.

    Raises:
        ValueError: If there is no annotation file.
    """
    file = max((path for path, head in source.heads(".json") if _KEYS.search(head)), key=lambda p: p.name, default=None)
    if file is None:
        raise ValueError(f"{source.folder}: no annotations.json with `imgs` below this folder")
    source.class_names = [] if all_classes else list(CLASSES)
    for key, item in read_entries(file):
        if key == "types" and all_classes and isinstance(item, str):
            source.class_names.append(item)
        if key != "imgs" or not isinstance(item, tuple) or not isinstance(item[1], dict):
            continue
        said, objects = item[1].get("path"), item[1].get("objects")
        image, reason = source.image(said, file)
        if image is None:
            notes.add("skipped", source.short(file), f"image {item[0]}: {reason}")
            continue
        found = [_box(one) for one in objects or []]
        rare = sum(box is not None and box.label not in CLASSES for box, _ in found) if not all_classes else 0
        if rare:
            notes.add("dropped", source.short(image), f"{rare} of rare classes (--all-classes keeps them)")
            found = [(box, reason) for box, reason in found if box is None or box.label in CLASSES]
        boxes = notes.boxes(source.short(image), found)
        yield SourceImage(image, source.name_of(image), boxes, file, split=side_of(source.short(image).parent))


def _box(one: Any) -> tuple[SourceBox | None, str]:  # noqa: ANN401  (whatever the file holds)
    corners = one.get("bbox") if isinstance(one, dict) else None
    if not isinstance(corners, dict):
        return None, "it has no bbox"
    return box_of(label_of(one.get("category")), [corners.get(name) for name in ("xmin", "ymin", "xmax", "ymax")])
