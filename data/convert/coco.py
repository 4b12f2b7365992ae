"""COCO's instances JSON, as COCO itself, Roboflow, CVAT and Label Studio write it; read as a stream.

Lin et al., "Microsoft COCO: Common Objects in Context", 2014. An annotation without a box gets the one around its
segmentation. Crowds are left out unless they are asked for.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.convert.by_image import ObjectsByImage
from data.convert.json_stream import read_entries
from data.convert.records import Notes, SourceImage
from data.convert.shapes import Found, around, around_mask, size_of, sized
from data.convert.source import Source, label_of, side_of

SUMMARY = "COCO JSON: one file for many images"
OPTIONS = ("keep_crowd",)
_KEYS = re.compile(r'"(images|annotations|categories)"\s*:\s*\[')


def add_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the options of `read` to the parser."""
    group.add_argument("--keep-crowd", action="store_true", help="keep boxes around crowds (iscrowd)")


def detect(source: Source) -> str:
    """The file that shows the format, or nothing."""
    return next((str(source.short(file)) for file in _files(source)), "")


def _files(source: Source) -> list[Path]:
    return [path for path, head in source.heads(".json") if head.startswith("{") and _KEYS.search(head)]


def read(source: Source, notes: Notes, *, keep_crowd: bool = False) -> Iterator[SourceImage]:
    """Read every instances file below the folder; the side is what the file's path says.

    Raises:
        ValueError: If there is none, one is no JSON, or a number means two images or two categories.
    """
    for file in source.some(_files(source), ".json with `images` and `annotations`"):
        yield from _read_file(source, file, notes, keep_crowd)


def _read_file(source: Source, file: Path, notes: Notes, keep_crowd: bool) -> Iterator[SourceImage]:
    tables: dict[str, dict[str, dict[str, Any]]] = {"images": {}, "categories": {}}
    objects, crowds = ObjectsByImage(), Counter[str]()
    short = source.short(file)
    for key, item in read_entries(file):
        if key in tables and isinstance(item, dict):
            kept = {name: item.get(name) for name in ("file_name", "width", "height", "name", "supercategory")}
            if tables[key].setdefault(str(item.get("id")), kept) != kept:
                raise ValueError(f"{file}: two of `{key}` have the id {item.get('id')}; give each its own")
        elif key == "annotations" and isinstance(item, dict):
            image, (box, reason) = str(item.get("image_id")), _box(item)
            if item.get("iscrowd") and not keep_crowd:
                crowds[image] += 1
            elif box is None:
                notes.add("dropped", short, f"annotation {item.get('id')}: {reason}")
            else:
                objects.add(image, box)
    names = {number: label_of(category["name"]) for number, category in tables["categories"].items()}
    parents = {label_of(category["supercategory"]) for category in tables["categories"].values()}
    group = "0" not in objects.labels and names.get("0") in parents  # Roboflow's category 0 names the set
    source.class_names += [
        name for k, name in names.items() if name not in source.class_names and (k != "0" or not group)
    ]
    for image, count in crowds.items():
        notes.add("dropped", short, f"image {image}: {count} crowds (--keep-crowd keeps them)")
    _note_strays(notes, short, objects, tables["images"], names)
    for number, said in tables["images"].items():
        path, reason = source.image(said["file_name"], file)
        if path is None:
            notes.add("skipped", short, f"image {number}: {reason}")
            continue
        boxes = tuple(box._replace(label=names[box.label]) for box in objects.of(number) if names.get(box.label))
        yield SourceImage(
            path, source.name_of(path), boxes, file, size_of(said["width"], said["height"]), side_of(short)
        )


def _note_strays(
    notes: Notes, file: Path, objects: ObjectsByImage, images: dict[str, Any], names: dict[str, str]
) -> None:
    for label in (label for label in objects.labels if not names.get(label)):
        notes.add("dropped", file, f"the annotations of category {label}, which `categories` lacks")
    gone = [image for image in objects if image not in images]
    if gone:
        notes.add("dropped", file, f"the annotations of {len(gone)} images that `images` lacks, e.g. {gone[0]}")


def _box(item: dict[str, Any]) -> Found:
    """An annotation's box under the number of its category; without one, the box around its outline."""
    label, box, outline = str(item.get("category_id")), item.get("bbox"), item.get("segmentation")
    if isinstance(box, list) and len(box) == 4 and (not outline or any(box[2:])):
        return sized(label, box)
    if isinstance(outline, list) and outline and all(isinstance(part, list) for part in outline):
        return around(label, [pair for part in outline for pair in zip(part[::2], part[1::2], strict=False)])
    if isinstance(outline, dict):
        return around_mask(label, outline)
    return None, "it has neither a bbox of four numbers nor a segmentation"
