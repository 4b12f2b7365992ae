"""COCO's instances JSON, as COCO itself, Roboflow, CVAT and Label Studio write it; read as a stream.

Lin et al., "Microsoft COCO: Common Objects in Context", 2014. An annotation without a box gets the one around its
segmentation. Crowds are left out unless they are asked for.
"""

from __future__ import annotations

import argparse
import re
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data.convert.json_stream import read_entries
from data.convert.records import Notes, SourceBox, SourceImage, around, box_of, size_of
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
        ValueError: If there is none, or one is no JSON.
    """
    files = _files(source)
    if not files:
        raise ValueError(f"{source.folder}: no .json with `images` and `annotations` below this folder")
    for file in files:
        yield from _read_file(source, file, notes, keep_crowd)


def _read_file(source: Source, file: Path, notes: Notes, keep_crowd: bool) -> Iterator[SourceImage]:
    images: dict[object, dict[str, Any]] = {}
    categories: dict[object, str] = {}
    of_image: dict[object, int] = {}
    of_category: dict[object, int] = {}
    owners, kinds, corners, crowds = array("q"), array("q"), array("d"), Counter[object]()
    parents: set[str] = set()
    short = source.short(file)
    for key, item in read_entries(file):
        if key not in ("images", "annotations", "categories") or not isinstance(item, dict):
            continue
        if key == "images":
            images[item.get("id")] = {name: item.get(name) for name in ("file_name", "width", "height")}
        elif key == "categories":
            categories[item.get("id")] = label_of(item.get("name"))
            parents.add(label_of(item.get("supercategory")))
        elif item.get("iscrowd") and not keep_crowd:
            crowds[str(item.get("image_id"))] += 1
        else:
            box, reason = _box(item)
            if box is None:
                notes.add("dropped", short, f"annotation {item.get('id')}: {reason}")
                continue
            owners.append(of_image.setdefault(item.get("image_id"), len(of_image)))
            kinds.append(of_category.setdefault(item.get("category_id"), len(of_category)))
            corners.extend(box.xyxy_px)
    labels = [categories.get(given, "") for given in of_category]
    roots = {k for k, name in categories.items() if k == 0 and name in parents and k not in of_category}  # Roboflow's
    source.class_names += [name for k, name in categories.items() if name not in source.class_names and k not in roots]
    _note_strays(notes, short, crowds, labels, of_category, [k for k in of_image if k not in images])
    order = np.argsort(np.frombuffer(owners, np.int64), kind="stable") if owners else np.zeros(0, np.int64)
    starts = np.searchsorted(np.frombuffer(owners, np.int64)[order], np.arange(len(of_image) + 1)) if owners else [0]
    for given, image in images.items():
        place = of_image.get(given)
        rows = order[starts[place] : starts[place + 1]].tolist() if place is not None else []
        path, reason = source.image(image["file_name"], file)
        if path is None:
            notes.add("skipped", short, f"image {given}: {reason}")
            continue
        found = [(labels[kinds[row]], tuple(corners[4 * row : 4 * row + 4])) for row in rows]
        boxes = tuple(SourceBox(label, box) for label, box in found if label)  # pyright: ignore[reportArgumentType]
        yield SourceImage(
            path, source.name_of(path), boxes, file, size_of(image["width"], image["height"]), side_of(short)
        )


def _note_strays(
    notes: Notes,
    file: Path,
    crowds: Counter[object],
    labels: list[str],
    of_category: dict[object, int],
    gone: list[Any],
) -> None:
    for image, count in crowds.items():
        notes.add("dropped", file, f"image {image}: {count} crowds (--keep-crowd keeps them)")
    for given, label in zip(of_category, labels, strict=True):
        if not label:
            notes.add("dropped", file, f"the annotations of category {given}, which `categories` lacks")
    if gone:
        notes.add("dropped", file, f"the annotations of {len(gone)} images that `images` lacks, e.g. {gone[0]}")


def _box(item: dict[str, Any]) -> tuple[SourceBox | None, str]:
    """An annotation's box under the name of its category's number; without one, the box around its outline."""
    label, box, outline = str(item.get("category_id")), item.get("bbox"), item.get("segmentation")
    if isinstance(box, list) and len(box) == 4 and (not outline or any(box[2:])):
        found, reason = box_of(label, box)
        if found is None:
            return None, reason
        x, y, width, height = found.xyxy_px
        return SourceBox(label, (x, y, x + width, y + height)), ""
    if isinstance(outline, list) and outline and all(isinstance(part, list) for part in outline):
        return around(label, [pair for part in outline for pair in zip(part[::2], part[1::2], strict=False)])
    if isinstance(outline, dict):
        return _around_mask(label, outline)
    return None, "it has neither a bbox of four numbers nor a segmentation"


def _around_mask(label: str, mask: dict[str, Any]) -> tuple[SourceBox | None, str]:
    """The box around a run-length encoded mask, whose counts go down the columns; only lists of counts are read."""
    size, counts = mask.get("size"), mask.get("counts")
    if not (isinstance(size, list) and isinstance(counts, list) and all(isinstance(n, int) for n in (*size, *counts))):
        return None, "its mask is compressed and it has no bbox"
    ends = np.cumsum(np.array(counts, np.int64))
    firsts, lasts = ends[:-1:2], ends[1::2] - 1  # of the runs of ones
    if not len(lasts) or size[0] < 1:
        return None, "its mask is empty"
    firsts = firsts[: len(lasts)]
    height = size[0]
    spans = (firsts // height != lasts // height).any()  # a run over the end of a column covers it from top to bottom
    top, bottom = (0, height) if spans else ((firsts % height).min(), (lasts % height).max() + 1)
    return box_of(label, ((firsts // height).min(), top, (lasts // height).max() + 1, bottom))
