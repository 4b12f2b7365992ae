"""CVAT's XML, for images and for videos; its YOLO zip is of the format `yolo`, its COCO zip of `coco`."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from data.convert.records import Notes, SourceImage
from data.convert.shapes import Found, around, box_of, size_of, turned
from data.convert.source import Source, label_of, side_of
from data.convert.xml_file import parse_xml

SUMMARY = "CVAT XML: one file for many images"
OPTIONS = ()
_MAX_BYTES = 256 << 20


def detect(source: Source) -> str:
    """The file that shows the format, or nothing."""
    return next((str(source.short(path)) for path, head in source.heads(".xml") if "<annotations>" in head), "")


def read(source: Source, notes: Notes) -> Iterator[SourceImage]:
    """Read every CVAT file below the folder; an image's `subset` is its side."""
    for file in source.with_suffix(".xml"):
        try:
            tree = parse_xml(file, "annotations", _MAX_BYTES)
        except ValueError as error:
            notes.add("skipped", source.short(file), f"annotation cannot be read: {error}")
            continue
        source.class_names += [label_of(one.findtext("name")) for one in tree.iterfind("meta//labels/label")]
        source.class_names = list(dict.fromkeys(filter(None, source.class_names)))
        for said, size, subset, shapes in (*_images(tree), *_frames(tree)):
            image, reason = source.image(said, file)
            if image is None:
                notes.add("skipped", f"{source.short(file)}, {said}", reason)
                continue
            boxes = notes.boxes(source.short(image), map(_box, shapes))
            side = side_of(Path(subset)) if subset else None
            yield SourceImage(image, source.name_of(image), boxes, file, size, side)


_Image = tuple[str, tuple[int, int] | None, str, list[tuple[str, ET.Element]]]


def _images(tree: ET.Element) -> Iterator[_Image]:
    for image in tree.iterfind("image"):
        size = size_of(image.get("width"), image.get("height"))
        shapes = [(shape.get("label") or "", shape) for shape in image if shape.tag != "tag"]
        yield image.get("name") or "", size, image.get("subset") or "", shapes


def _frames(tree: ET.Element) -> Iterator[_Image]:
    """The frames of a video, `frame_000012`, with the shapes of the tracks that are in view."""
    frames: dict[int, list[tuple[str, ET.Element]]] = defaultdict(list)
    for track in tree.iterfind("track"):
        for shape in track:
            if shape.get("outside") != "1" and (shape.get("frame") or "").isdecimal():
                frames[int(shape.get("frame") or 0)].append((track.get("label") or "", shape))
    size = size_of(tree.findtext("meta//original_size/width"), tree.findtext("meta//original_size/height"))
    for number, shapes in sorted(frames.items()):
        yield f"frame_{number:06d}", size, "", shapes


def _box(given: tuple[str, ET.Element]) -> Found:
    label, shape = label_of(given[0]), given[1]

    def numbers(*names: str) -> list[float]:
        return [float(shape.get(name) or "") for name in names]

    try:
        if shape.tag == "box":
            x1, y1, x2, y2 = numbers("xtl", "ytl", "xbr", "ybr")
            angle = float(shape.get("rotation") or 0)
            return around(label, turned((x1, y1, x2, y2), angle, ((x1 + x2) / 2, (y1 + y2) / 2)))
        if shape.tag == "polygon":
            points = (shape.get("points") or "").split(";")
            return around(label, [tuple(map(float, point.split(","))) for point in points])
        if shape.tag == "ellipse":
            cx, cy, rx, ry = numbers("cx", "cy", "rx", "ry")
            return box_of(label, (cx - rx, cy - ry, cx + rx, cy + ry))
        if shape.tag == "mask":
            left, top, width, height = numbers("left", "top", "width", "height")
            return box_of(label, (left, top, left + width, top + height))
    except ValueError:
        return None, f"{label}: the <{shape.tag}> has corners that are no numbers"
    return None, f"{label} is a <{shape.tag}>, which has no area"
