"""YOLO label files: ultralytics' and Roboflow's layout with a YAML, darknet's obj.data or train.txt, or classes.txt.

Paths that the set was not unpacked at are mended: an entry is looked for by its last parts below the folder. Polygons
become the boxes around them; ids may be counted from another number than 0.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data.boxes import convert_boxes
from data.convert.darknet import names_files, of_data, of_names
from data.convert.records import Notes, SourceBox, SourceImage
from data.convert.source import READABLE, Source
from data.dataset.dataset_yaml import SPLITS, class_names
from data.dataset.label_file import read_rows
from data.dataset.label_place import find_labels
from data.dataset.label_scan import image_size
from files.yaml_file import read_yaml

SUMMARY = "YOLO label files: a row of class, centre and size per object"
OPTIONS = ("data", "ids_from")


def add_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the options of `read` to the parser."""
    group.add_argument("--data", help="the set's YAML or obj.data (default: the only one in SOURCE)")
    group.add_argument("--ids-from", type=int, default=0, help="id that the first class has in the label files")


def detect(source: Source) -> str:
    """The file that shows the format, or nothing."""
    return next((str(source.short(file)) for file in (*_described(source), *names_files(source))), "")


def read(source: Source, notes: Notes, *, data: str | None = None, ids_from: int = 0) -> Iterator[SourceImage]:
    """Find the images of every split and read their labels.

    Args:
        source: The data set.
        notes: Receives what was left out or changed.
        data: Its YAML or obj.data; None for the only one in the folder.
        ids_from: The id of the first class in the label files.

    Raises:
        ValueError: If the description is missing or wrong, or images or labels lie outside the folder.
    """
    if ids_from < 0:
        raise ValueError(f"--ids-from {ids_from}: expected 0 or more, the id that the first class has")
    file, content = _describe(source, data)
    source.class_names = list(class_names(content, file).values())
    names = {number + ids_from: name for number, name in enumerate(source.class_names)}
    sides = {side: _images(source, file, side, content.get(side) or []) for side in SPLITS}
    for side, images in sides.items() if any(sides.values()) else [(None, source.images)]:
        labels = map(Path, find_labels([str(image) for image in images]).paths)
        for image, label in zip(images, labels, strict=True):
            boxes = _boxes(source, image, label, names, notes) if label.is_file() else ()
            yield SourceImage(image, source.name_of(image), boxes, label if label.is_file() else image, split=side)


def _described(source: Source) -> list[Path]:
    near = [(path, head) for path, head in source.heads(".yaml", ".yml", ".data") if len(source.short(path).parts) <= 2]
    return [path for path, head in near if "names" in head and ("train" in head or "val" in head)]


def _describe(source: Source, data: str | None) -> tuple[Path, Mapping[str, Any]]:
    """The file that describes the set, and what it says as a data set YAML says it."""
    found, lists = [Path(data)] if data else _described(source), names_files(source)
    if not found and len(lists) == 1:
        return lists[0], of_names(source, lists[0])
    if len(found) != 1:
        count = f"expected one .yaml that describes the set but found {len(found)}"
        raise ValueError(f"{source.folder}: {count}; add --data")
    content = of_data(source, found[0]) if found[0].suffix == ".data" else read_yaml(found[0])
    if not isinstance(content, dict):
        raise ValueError(f"{found[0]}: expected `train:`, `val:` and `names:` but got a {type(content).__name__}")
    return found[0], content


def _images(source: Source, file: Path, side: str, given: object) -> list[Path]:
    """The images of a side's folders and lists."""
    near = file if file.is_relative_to(source.folder) else source.folder / file.name
    found: list[Path] = []
    for entry in map(str, given if isinstance(given, list) else [given]):
        images = source.images_in(entry, near)
        if not images and side != "test":  # Roboflow's YAML names a test folder whether there is one or not
            raise ValueError(
                f"{file}: {side}: {entry}: no images ({' '.join(READABLE)}) below {source.folder} at the end of this "
                "path, or it lies outside; give a folder that holds all images"
            )
        found += images
    return found


def _boxes(source: Source, image: Path, label: Path, names: Mapping[int, str], notes: Notes) -> tuple[SourceBox, ...]:
    """The objects of a label file in pixels of its image."""
    short = source.short(label)
    try:
        width, height = image_size(str(image))
        rows = read_rows(label, max(names) + 1)
    except ValueError as error:  # the picture is opened again, and reported, with the others
        notes.add("remark", short, f"is not read: {error}")
        return ()
    for problem in (*rows.problems, *rows.duplicates):
        notes.add("dropped", short, problem)
    polygons = sum(outline is not None for outline in rows.polygons)
    if polygons:
        notes.add("remark", short, f"{polygons} polygons became the boxes around them")
    corners = convert_boxes(rows.labels[:, 1:].astype(float), "cxcywh_norm", "xyxy_px", width, height)
    below = f"class {{}} is below --ids-from {min(names)}"
    found = (
        (SourceBox(names[number], tuple(box)), "") if number in names else (None, below.format(number))
        for number, box in zip(rows.labels[:, 0].astype(int).tolist(), corners.tolist(), strict=True)
    )
    return notes.boxes(short, found)
