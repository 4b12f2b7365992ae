"""A CSV table with one object a row, its columns known by their names: TensorFlow's, Kaggle's and one's own."""

from __future__ import annotations

import argparse
import csv
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from data.convert.records import Notes, SourceBox, SourceImage, box_of
from data.convert.source import Source, label_of, side_of
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
_Row = Mapping[str, str]


def add_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the options of `read` to the parser."""
    text = "columns of other names, e.g. image=photo,label=kind,x1=from_x; also y1, x2, y2, or x, y, w, h"
    group.add_argument("--columns", default="", help=text)
    group.add_argument("--normalised", action="store_true", help="coordinates are shares of the image's sides")


def detect(source: Source) -> str:
    """The file that shows the format, or nothing."""
    return next((str(source.short(path)) for path in source.with_suffix(".csv")), "")


def read(source: Source, notes: Notes, *, columns: str = "", normalised: bool = False) -> Iterator[SourceImage]:
    """Read every table below the folder.

    Raises:
        ValueError: If there is none, or the columns that are needed are not there.
    """
    files = source.with_suffix(".csv", ".tsv")
    if not files:
        raise ValueError(f"{source.folder}: no .csv below this folder")
    for file in files:
        rows: dict[str, list[_Row]] = defaultdict(list)
        for row in _rows(file, columns):
            rows[row["image"]].append(row)
        for said, own in rows.items():
            image, reason = source.image(said, file)
            if image is None and "." not in said:  # Open Images names them without a suffix
                image = next(iter(source.by_stem.get(said, [])), None)
            if image is None:
                notes.add("skipped", source.short(file), reason)
                continue
            try:
                scale = image_size(str(image)) if normalised else (1, 1)
            except ValueError as error:
                notes.add("skipped", source.short(image), f"picture cannot be read: {error}")
                continue
            boxes = notes.boxes(source.short(image), (_box(row, scale) for row in own if row["label"]))
            side = side_of(source.short(file)) if len(files) > 1 else None
            yield SourceImage(image, source.name_of(image), boxes, file, split=side)


def _rows(file: Path, columns: str) -> Iterator[_Row]:
    """The rows with our names for the columns."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            header = stream.readline()
            mark = max(",;\t", key=header.count)
            names = [name.strip() for name in next(csv.reader([header], delimiter=mark), [])]
            places = _places(file, names, columns)
            for row in csv.reader(stream, delimiter=mark):
                if row:
                    yield {key: row[k].strip() if k < len(row) else "" for key, k in places.items()}
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file}: cannot be read as a CSV file in UTF-8: {error}") from error


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


def _box(row: _Row, scale: tuple[float, float]) -> tuple[SourceBox | None, str]:
    label = label_of(row["label"])
    found, reason = box_of(label, [row[key] for key in row if key not in ("image", "label")])
    if found is None:
        return None, reason
    x1, y1, x2, y2 = found.xyxy_px
    if "w" in row:
        x2, y2 = x1 + x2, y1 + y2
    return SourceBox(label, (x1 * scale[0], y1 * scale[1], x2 * scale[0], y2 * scale[1])), ""
