"""YOLO label files whose classes are counted from another number than 0; the set's own splits are kept.

Polygons become the boxes around them.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from data.boxes import convert_boxes
from data.convert.records import Notes, SourceBox, SourceImage
from data.dataset.dataset_yaml import SPLITS, DatasetSpec, list_images, load_dataset_spec
from data.dataset.label_file import read_rows
from data.dataset.label_place import label_path
from data.dataset.label_scan import image_size

SUMMARY = "YOLO label files: a row of class, centre and size per object"
OPTIONS = ("data", "ids_from")


def add_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the options of `read` to the parser."""
    group.add_argument("--data", help="the set's YAML (default: the only one in FOLDER)")
    group.add_argument("--ids-from", type=int, default=0, help="id that the first class has in the label files")


def class_names(folder: Path, *, data: str | None = None, **_: object) -> tuple[str, ...]:
    """The names in the order of their ids, as the set's YAML says.

    Raises:
        ValueError: If the YAML is missing or wrong.
    """
    return tuple(_describe(folder, data).names.values())


def read(folder: Path, notes: Notes, *, data: str | None = None, ids_from: int = 0) -> list[SourceImage]:
    """Find the images of every split and read their labels.

    Args:
        folder: The data set.
        notes: Receives what was left out or changed.
        data: Its YAML; None for the only one in `folder`.
        ids_from: The id of the first class in the label files.

    Raises:
        ValueError: If the YAML is missing or wrong, or images lie outside `folder`.
    """
    if ids_from < 0:
        raise ValueError(f"--ids-from {ids_from}: expected 0 or more, the id that the first class has")
    spec = _describe(folder, data)
    names = {class_id + ids_from: name for class_id, name in spec.names.items()}
    sources: list[SourceImage] = []
    for split in SPLITS:
        if getattr(spec, split):
            images = _images(folder, spec, split)
            base = os.path.commonpath([image.parent for image in images])
            sources += [_source(image, image.relative_to(base), split, names, folder, notes) for image in images]
    return sources


def _describe(folder: Path, data: str | None) -> DatasetSpec:
    if data is None:
        found = sorted(folder.glob("*.yaml"))
        if len(found) != 1:
            raise ValueError(f"{folder}: expected one .yaml that describes the set but found {len(found)}; add --data")
        data = str(found[0])
    return load_dataset_spec(data)


def _images(folder: Path, spec: DatasetSpec, split: str) -> list[Path]:
    """The images of a split as paths below `folder`."""
    real = Path(os.path.realpath(folder))
    paths = []
    for image in list_images(spec.entries(split), root=spec.path):
        path = Path(os.path.realpath(os.path.dirname(image)), os.path.basename(image))
        if not path.is_relative_to(real):
            raise ValueError(f"{folder}: the {split} image {image} lies outside; give a folder that holds all images")
        paths.append(folder / path.relative_to(real))
    return paths


def _source(image: Path, short: Path, split: str, names: Mapping[int, str], folder: Path, notes: Notes) -> SourceImage:
    name, label = short.with_suffix("").as_posix(), Path(label_path(str(image)))
    if not label.is_file():
        return SourceImage(image, name, (), image, split=split)
    return SourceImage(image, name, _boxes(image, label, names, folder, notes), label, split=split)


def _boxes(image: Path, label: Path, names: Mapping[int, str], folder: Path, notes: Notes) -> tuple[SourceBox, ...]:
    """The objects of a label file in pixels of its image."""
    short = label.relative_to(folder)
    try:
        width, height = image_size(str(image))
        rows = read_rows(label, max(names) + 1)
    except ValueError as error:
        notes.add(
            "remark", short, f"is not read: {error}"
        )  # the picture is opened again, and reported, with the others
        return ()
    for problem in (*rows.problems, *rows.duplicates):
        notes.add("dropped", short, problem)
    polygons = sum(outline is not None for outline in rows.polygons)
    if polygons:
        notes.add("remark", short, f"{polygons} polygons became the boxes around them")
    boxes = []
    for row, corners in zip(
        rows.labels,
        convert_boxes(rows.labels[:, 1:].astype(float), "cxcywh_norm", "xyxy_px", width, height),
        strict=True,
    ):
        if int(row[0]) in names:
            boxes.append(SourceBox(names[int(row[0])], tuple(corners.tolist())))
        else:
            notes.add("dropped", short, f"class {int(row[0])} is below --ids-from {min(names)}")
    return tuple(boxes)
