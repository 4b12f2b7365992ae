"""A CSV table with one object a row, its columns known by their names: TensorFlow's, Kaggle's and one's own."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from data.convert.by_image import ObjectsByImage
from data.convert.records import Notes, SourceBox, SourceImage
from data.convert.shapes import box_of, sized
from data.convert.source import Source, csv_rows, label_of, side_of
from data.dataset.label_scan import image_size

SUMMARY = "CSV: a header and one object a row"
OPTIONS = ("columns", "normalised")
_NAMES = {
    "image": "filename file image imagepath path img imagename imageid imagefile filepath",
    "label": "class label category name classname labelname classid categoryname",
    "x1": "xmin x1 left xtl roix1",
    "y1": "ymin y1 top ytl roiy1",
    "x2": "xmax x2 right xbr roix2",
    "y2": "ymax y2 bottom ybr roiy2",
    "x": "x bboxx xleft",
    "y": "y bboxy ytop",
    "w": "w width bboxwidth boxwidth bboxw",
    "h": "h height bboxheight boxheight bboxh",
}


def add_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the options of `read` to the parser."""
    text = "columns of other names, e.g. image=photo,label=kind,x1=from_x; also y1, x2, y2, or x, y, w, h"
    group.add_argument("--columns", default="", help=text)
    group.add_argument("--normalised", action="store_true", help="coordinates are shares of the image's sides")


def detect(source: Source) -> str:
    """The file that shows the format, or nothing."""
    return next((str(source.short(path)) for path in source.with_suffix(".csv")), "")


def read(source: Source, notes: Notes, *, columns: str = "", normalised: bool = False) -> Iterator[SourceImage]:
    """Read every table below the folder; a row without a label names an image without objects.

    Raises:
        ValueError: If there is none, or the columns that are needed are not there.
    """
    files = source.some(source.with_suffix(".csv", ".tsv"), ".csv")
    for file in files:
        with file.open(encoding="utf-8", errors="replace") as stream:
            header = stream.readline(1 << 16)
        rows = csv_rows(file, max(",;\t", key=header.count))
        places = _places(file, [name.strip() for name in next(rows, (0, []))[1]], columns)
        objects = ObjectsByImage()
        for number, row in rows:
            said, label, *corners = (row[k].strip() if k < len(row) else "" for k in places.values())
            box, reason = (box_of if "x2" in places else sized)(label_of(label), corners)
            objects.add(said, box)
            if label and box is None:
                notes.add("dropped", source.short(file), f"row {number}: {reason}")
        for record in objects.images(source, file, notes):
            image = _scaled(record) if normalised else record
            yield image.on(side_of(source.short(file)) if len(files) > 1 else None)


def _scaled(record: SourceImage) -> SourceImage:
    """With boxes in pixels instead of shares of the sides."""
    try:
        width, height = image_size(str(record.image))
    except ValueError:  # the picture is opened again, and reported, with the others
        return record
    boxes = (
        SourceBox(label, (x1 * width, y1 * height, x2 * width, y2 * height)) for label, (x1, y1, x2, y2) in record.boxes
    )
    return replace(record, boxes=tuple(boxes))


def _places(file: Path, names: list[str], columns: str) -> dict[str, int]:
    plain = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in names]
    places = {key: plain.index(n) for key, known in _NAMES.items() for n in reversed(known.split()) if n in plain}
    for given in filter(None, columns.split(",")):
        key, _, name = given.partition("=")
        if key not in _NAMES or name not in names:
            known = f"one of {', '.join(_NAMES)}, and a column of {', '.join(names)}"
            raise ValueError(f"--columns {given}: expected KEY=COLUMN, {known}")
        places[key] = names.index(name)
    corners = "x1 y1 x2 y2" if {"x2", "y2"} & set(places) else "x y w h"
    missing = [key for key in ("image", "label", *corners.split()) if key not in places]
    if missing:
        raise ValueError(
            f"{file}: no column for {', '.join(missing)} among {', '.join(names) or 'none'}; name them with --columns "
            f"{','.join(f'{key}=COLUMN' for key in missing)}"
        )
    return {key: places[key] for key in ("image", "label", *corners.split())}
