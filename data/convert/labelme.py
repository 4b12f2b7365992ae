"""LabelMe JSON (wkentaro's): one file per image, outlines in pixels; polygons and circles become boxes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from data.convert.json_stream import read_json
from data.convert.records import Notes, SourceBox, SourceImage
from data.convert.shapes import around, size_of
from data.convert.source import Source, label_of, side_of

SUMMARY = "LabelMe JSON: one file per image"
OPTIONS = ()
_AREAS = ("rectangle", "polygon", "mask", "oriented_rectangle", "")
_KEYS = re.compile(r'"(shapes|imagePath)"\s*:')


def detect(source: Source) -> str:
    """The file that shows the format, or nothing."""
    heads = source.heads(".json")
    return next((str(source.short(path)) for path, head in heads if head.startswith("{") and _KEYS.search(head)), "")


def read(source: Source, notes: Notes) -> Iterator[SourceImage]:
    """Read every LabelMe file below the folder; the image is `imagePath`, beside the file or elsewhere."""
    for file in source.with_suffix(".json"):
        short = source.short(file)
        try:
            content = read_json(file)
        except ValueError as error:
            notes.add("skipped", short, f"annotation cannot be read: {str(error).removeprefix(f'{file}: ')}")
            continue
        shapes = content.get("shapes") if isinstance(content, dict) else None
        if not isinstance(shapes, list):
            notes.add("skipped", short, "is no LabelMe file: it has no list of `shapes`")
            continue
        image, reason = source.image(content.get("imagePath"), file)
        if image is None and content.get("imageData"):
            reason += ", only a copy inside the file; save it beside the file"
        if image is None:
            notes.add("skipped", short, reason)
            continue
        boxes = notes.boxes(short, map(_box, shapes))
        size = size_of(content.get("imageWidth"), content.get("imageHeight"))
        name = source.name_of(image)
        yield SourceImage(image, name, boxes, file, size, side_of(source.short(image).parent))


def _box(shape: Any) -> tuple[SourceBox | None, str]:  # noqa: ANN401  (whatever the file holds)
    if not isinstance(shape, dict):
        return None, "it is no shape"
    label, kind, points = label_of(shape.get("label")), shape.get("shape_type") or "", shape.get("points")
    if not isinstance(points, list) or not points:
        return None, f"{label or 'it'} has no points"
    if kind == "circle" and len(points) == 2:
        try:
            (x, y), edge = points
            radius = math.dist((x, y), edge)
        except (TypeError, ValueError):
            return None, f"{label} is a circle without two points"
        return around(label, [(x - radius, y - radius), (x + radius, y + radius)])
    if kind not in _AREAS:
        return None, f"{label} is a {kind}, which has no area"
    return around(label, points)
