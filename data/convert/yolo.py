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
from data.convert.records import Notes, SourceBox, SourceImage
from data.convert.source import READABLE, Source, normal
from data.dataset.dataset_yaml import SPLITS, class_names
from data.dataset.label_file import read_rows
from data.dataset.label_place import label_path
from data.dataset.label_scan import image_size
from files.yaml_file import read_yaml

SUMMARY = "YOLO label files: a row of class, centre and size per object"
OPTIONS = ("data", "ids_from")
_LISTS = ("obj.names", "classes.names", "classes.txt", "_darknet.labels")


def add_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the options of `read` to the parser."""
    group.add_argument("--data", help="the set's YAML or obj.data (default: the only one in SOURCE)")
    group.add_argument("--ids-from", type=int, default=0, help="id that the first class has in the label files")


def detect(source: Source) -> str:
    """The file that shows the format, or nothing."""
    return next((str(source.short(file)) for file in (*_described(source), *_names_files(source))), "")


def read(source: Source, notes: Notes, *, data: str | None = None, ids_from: int = 0) -> Iterator[SourceImage]:
    """Find the images of every split and read their labels.

    Args:
        source: The data set.
        notes: Receives what was left out or changed.
        data: Its YAML or obj.data; None for the only one in the folder.
        ids_from: The id of the first class in the label files.

    Raises:
        ValueError: If the description is missing or wrong, or images lie outside the folder.
    """
    if ids_from < 0:
        raise ValueError(f"--ids-from {ids_from}: expected 0 or more, the id that the first class has")
    source.class_names, entries = _describe(source, data)
    names = {number + ids_from: name for number, name in enumerate(source.class_names)}
    for split, images in entries.items():
        for image in images:
            label = _label(image)
            boxes = _boxes(source, image, label, names, notes) if label else ()
            yield SourceImage(image, source.name_of(image), boxes, label or image, split=split or None)


def _described(source: Source) -> list[Path]:
    found = [path for path in source.with_suffix(".yaml", ".yml", ".data") if len(source.short(path).parts) <= 2]
    return [path for path, head in _texts(found) if "names" in head and ("train" in head or "val" in head)]


def _texts(paths: list[Path]) -> Iterator[tuple[Path, str]]:
    for path in paths:
        with path.open(encoding="utf-8-sig", errors="replace") as stream:
            yield path, stream.read(1 << 16)


def _names_files(source: Source) -> list[Path]:
    return [path for path in source.files if path.name in _LISTS]


def _describe(source: Source, data: str | None) -> tuple[list[str], dict[str, list[Path]]]:
    """The class names and the images of each side; all on side "" where the set says none."""
    found = [Path(data)] if data else _described(source)
    if len(found) == 1 and found[0].suffix != ".data":
        return _from_mapping(source, found[0], read_yaml(found[0]))
    if len(found) == 1:
        pairs = (line.partition("=") for line in _lines(found[0]))
        content: dict[str, Any] = {key.strip(): value.strip() for key, _, value in pairs}
        named = source.file(str(content.get("names", "")), found[0]) or next(iter(_names_files(source)), None)
        content["names"] = _lines(named) if named else None
        return _from_mapping(source, found[0], {**content, "val": content.get("val", content.get("valid"))})
    lists = _names_files(source)
    if found or len(lists) != 1:
        raise ValueError(
            f"{source.folder}: expected one .yaml that describes the set but found {len(found)}; add --data"
        )
    content = {"names": _lines(lists[0])}
    content |= {side: str(source.short(path)) for side in SPLITS for path in source.files if path.name == f"{side}.txt"}
    return _from_mapping(source, lists[0], content)


def _from_mapping(source: Source, file: Path, content: Any) -> tuple[list[str], dict[str, list[Path]]]:  # noqa: ANN401
    if not isinstance(content, dict):
        raise ValueError(f"{file}: expected `train:`, `val:` and `names:` but got a {type(content).__name__}")
    names = list(class_names(content, file).values())
    sides: dict[str, list[Path]] = {}
    for side in SPLITS:
        given = content.get(side) or []
        entries = [str(entry) for entry in (given if isinstance(given, list) else [given])]
        images = [image for entry in entries for image in _entry(source, file, side, entry)]
        if images:
            sides[side] = images
    return names, sides or {"": source.images}


def _entry(source: Source, file: Path, side: str, entry: str) -> list[Path]:
    """The images of a folder or a list, wherever below the source its path ends."""
    near = file if file.is_relative_to(source.folder) else source.folder / file.name
    if entry.lower().endswith(".txt"):
        listed = source.file(entry, near)
        if listed is not None:
            found = (source.image(line, listed)[0] for line in _lines(listed))
            return [image for image in found if image is not None]
    parts = [part for part in normal(entry).replace("\\", "/").split("/") if part not in ("", ".", "..")]
    for base in (near.parent, source.folder):
        for start in range(len(parts) + (not parts)):
            folder = base.joinpath(*parts[start:])
            if folder.is_dir() and (images := [image for image in source.images if image.is_relative_to(folder)]):
                return images
    if side == "test":  # Roboflow's YAML names a test folder whether there is one or not
        return []
    kinds = " ".join(READABLE)
    raise ValueError(
        f"{file}: {side}: {entry}: no images ({kinds}) below {source.folder} at the end of this path, or it lies "
        "outside; give a folder that holds all images"
    )


def _label(image: Path) -> Path | None:
    """The label file, in the `labels` folder or beside the image."""
    places = (Path(label_path(str(image))), image.with_suffix(".txt"))
    return next((place for place in places if place.is_file()), None)


def _lines(file: Path) -> list[str]:
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: expected text in UTF-8: {error}") from error


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
    ids = rows.labels[:, 0].astype(int).tolist()
    for number in sorted({number for number in ids if number not in names}):
        notes.add("dropped", short, f"class {number} is below --ids-from {min(names)}")
    pairs = zip(ids, corners.tolist(), strict=True)
    return tuple(SourceBox(names[number], tuple(box)) for number, box in pairs if number in names)
