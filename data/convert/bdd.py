"""BDD100K's detection labels: one JSON list per side (2018 and 2020), or one file per image.

Yu et al., "BDD100K: A Diverse Driving Dataset for Heterogeneous Multitask Learning", CVPR 2020. The names of 2018
(bike, motor, person) become those of 2020; lanes and drivable areas are no objects.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from data.convert.records import Notes, SourceBox, SourceImage
from data.convert.shapes import box_of
from data.convert.source import Source, label_of, side_of

SUMMARY = "BDD100K: JSON with box2d"
OPTIONS = ()
CLASSES = [
    "pedestrian",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
    "traffic light",
    "traffic sign",
]
_OF_2018 = {"person": "pedestrian", "motor": "motorcycle", "bike": "bicycle"}


def detect(source: Source) -> str:
    """The file that shows the format, or nothing."""
    key = re.compile(r'"(box2d|poly2d)"\s*:')
    return next((str(source.short(path)) for path, head in source.heads(".json") if key.search(head)), "")


def read(source: Source, notes: Notes) -> Iterator[SourceImage]:
    """Read every label file below the folder; the side is what its path, or the image's, says."""
    source.class_names = list(CLASSES)
    for file, content in source.json_files():
        frames = content if isinstance(content, list) else [content]
        if isinstance(content, dict) and "name" not in content:
            frames = content.get("frames") or []
        areas: Counter[str] = Counter()
        for frame in (one for one in frames if isinstance(one, dict)):
            name = str(frame.get("name"))
            image, reason = source.image(name if "." in name else f"{name}.jpg", file)
            if image is None:
                notes.add("skipped", source.short(file), reason)
                continue
            objects = [one for one in _objects(frame) if isinstance(one, dict)]
            areas.update(label_of(one.get("category")) for one in objects if not one.get("box2d"))
            boxes = notes.boxes(source.short(image), map(_box, (one for one in objects if one.get("box2d"))))
            side = side_of(source.short(file)) or side_of(source.short(image).parent)
            yield SourceImage(image, source.name_of(image), boxes, file, split=side)
        for label, count in sorted(areas.items()):
            notes.add("dropped", source.short(file), f"{count} of {label}, which have no box")


def _objects(frame: dict[str, Any]) -> list[Any]:
    inner = frame.get("frames")
    if isinstance(inner, list) and inner and isinstance(inner[0], dict):  # one file per image
        return inner[0].get("objects") or []
    return frame.get("labels") or []


def _box(one: dict[str, Any]) -> tuple[SourceBox | None, str]:
    label, corners = label_of(one.get("category")), one["box2d"]
    if not isinstance(corners, dict):
        return None, f"{label} has a box2d that is none"
    return box_of(_OF_2018.get(label, label), [corners.get(name) for name in ("x1", "y1", "x2", "y2")])
