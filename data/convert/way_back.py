"""The way back: a set in YOLO layout as COCO, Pascal VOC or LabelMe, for tools that read those.

Class numbers are COCO's category ids, as in the predictions that val.py and detect.py write, and an image whose name is
a number has that as its id, so that predictions and labels fit together.
"""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from data.boxes import convert_boxes
from data.convert.write_yolo import beside, place_image
from data.dataset.dataset_yaml import SPLITS, DatasetSpec, list_images, load_dataset_spec
from data.dataset.label_scan import scan_labels
from files.disk import why_not_written


@dataclass(frozen=True)
class Labelled:
    """An image and its objects on the way out.

    Attributes:
        name: Path of the image below the output's folder of images, with `/` and suffix.
        image: The file.
        wh: Width and height of the upright picture in pixels.
        classes: (n,) class numbers.
        boxes_xyxy_px: (n, 4) corners.
    """

    name: str
    image: Path
    wh: tuple[int, int]
    classes: np.ndarray
    boxes_xyxy_px: np.ndarray


def write(data: Path, form: str, out: Path | None, *, link: bool, exist_ok: bool) -> str:
    """Write a set in another form.

    Args:
        data: Its YAML, or the folder that holds it alone.
        form: A key of `WRITERS`.
        out: The folder to write; None for the set's own name with the form's behind it.
        link: Hard-link the images instead of copying them.
        exist_ok: Write into a folder that holds other files.

    Returns:
        A line for the user.

    Raises:
        ValueError: If the set cannot be read or `out` cannot be written.
    """
    spec = load_dataset_spec(_yaml(data))
    folder = out or (data if data.is_dir() else data.parent).resolve().with_name(f"{spec.path.name}_{form}")
    if folder.resolve().is_relative_to(spec.path.resolve()):
        raise ValueError(f"--out {folder}: expected a folder outside of the set {spec.path}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not exist_ok:
        raise ValueError(f"--out {folder}: is not empty; choose another or add --exist-ok")
    counts: dict[str, int] = {}
    try:
        for split in SPLITS:
            if getattr(spec, split):
                images = list(_labelled(spec, split))
                counts[split] = len(images)
                WRITERS[form](folder, split, images, spec.names, link)
    except OSError as error:
        raise ValueError(f"--out {folder}: {why_not_written(error, folder) or error}") from error
    return f"{', '.join(f'{count} {split}' for split, count in counts.items())} images written to {folder} as {form}"


def _yaml(data: Path) -> Path:
    if not data.is_dir():
        return data
    found = sorted(data.glob("*.yaml"))
    if len(found) != 1:
        raise ValueError(f"{data}: expected one .yaml that describes the set but found {len(found)}; give the YAML")
    return found[0]


def _labelled(spec: DatasetSpec, split: str) -> Iterator[Labelled]:
    scan = scan_labels(list_images(spec.entries(split), root=spec.path), spec.file_nc, split=split)
    base = os.path.commonpath([os.path.dirname(path) for path in scan.paths])
    for path, rows, wh in zip(scan.paths, scan.labels, scan.shapes_wh.tolist(), strict=True):
        boxes = convert_boxes(rows[:, 1:].astype(float), "cxcywh_norm", "xyxy_px", *wh)
        name = Path(path).relative_to(base).as_posix()
        yield Labelled(name, Path(path), tuple(wh), rows[:, 0].astype(int), boxes)


def _as_coco(folder: Path, split: str, images: Sequence[Labelled], names: Mapping[int, str], link: bool) -> None:
    """`annotations/instances_<split>.json` and `images/<split>/`."""
    stems = [PurePosixPath(one.name).stem for one in images]
    numbered = all(stem.isdecimal() for stem in stems) and len({int(stem) for stem in stems}) == len(stems)
    entries: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for number, (one, stem) in enumerate(zip(images, stems, strict=True), start=1):
        place_image(one.image, folder / "images" / split / one.name, link=link)
        image_id = int(stem) if numbered else number
        entries.append({"id": image_id, "file_name": one.name, "width": one.wh[0], "height": one.wh[1]})
        for class_id, (x1, y1, x2, y2) in zip(one.classes.tolist(), one.boxes_xyxy_px.tolist(), strict=True):
            box = [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)]
            place = {"id": len(objects) + 1, "image_id": image_id, "category_id": class_id}
            objects.append({**place, "bbox": box, "area": round(box[2] * box[3], 3), "iscrowd": 0})
    categories = [{"id": class_id, "name": name} for class_id, name in names.items()]
    content = {"images": entries, "annotations": objects, "categories": categories}
    _write_text(folder / "annotations" / f"instances_{split}.json", json.dumps(content, ensure_ascii=False))


def _as_voc(folder: Path, split: str, images: Sequence[Labelled], names: Mapping[int, str], link: bool) -> None:
    """`Annotations/`, `JPEGImages/` and `ImageSets/Main/<split>.txt`, all images side by side; pixels from 0."""
    stems: list[str] = []
    for one in images:
        name = PurePosixPath(one.name.replace("/", "__"))
        if (folder / "Annotations" / f"{name.stem}.xml").exists():
            name = name.with_stem(f"{split}__{name.stem}")
        place_image(one.image, folder / "JPEGImages" / name.name, link=link)
        root = ET.Element("annotation")
        ET.SubElement(root, "filename").text = name.name
        size = ET.SubElement(root, "size")
        for side, value in zip(("width", "height", "depth"), (*one.wh, 3), strict=True):
            ET.SubElement(size, side).text = str(value)
        for class_id, corners in zip(one.classes.tolist(), one.boxes_xyxy_px.tolist(), strict=True):
            item = ET.SubElement(root, "object")
            ET.SubElement(item, "name").text = names[class_id]
            ET.SubElement(item, "difficult").text = "0"
            box = ET.SubElement(item, "bndbox")
            for corner, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True):
                ET.SubElement(box, corner).text = repr(round(value, 3))
        _write_text(folder / "Annotations" / f"{name.stem}.xml", ET.tostring(root, encoding="unicode"))
        stems.append(name.stem)
    _write_text(folder / "ImageSets" / "Main" / f"{split}.txt", "".join(f"{stem}\n" for stem in stems))


def _as_labelme(folder: Path, split: str, images: Sequence[Labelled], names: Mapping[int, str], link: bool) -> None:
    """`<split>/`, with a JSON beside each image."""
    for one in images:
        target = folder / split / one.name
        place_image(one.image, target, link=link)
        shapes = [
            {"label": names[class_id], "points": np.round(corners, 3).reshape(2, 2).tolist()}
            | {"group_id": None, "shape_type": "rectangle", "flags": {}}
            for class_id, corners in zip(one.classes.tolist(), one.boxes_xyxy_px, strict=True)
        ]
        content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": target.name, "imageData": None}
        content |= {"imageHeight": one.wh[1], "imageWidth": one.wh[0]}
        _write_text(target.with_suffix(".json"), json.dumps(content, ensure_ascii=False, indent=1))


def _write_text(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = beside(file, "part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)


WRITERS: dict[str, Callable[[Path, str, Sequence[Labelled], Mapping[int, str], bool], None]] = {
    "coco": _as_coco,
    "labelme": _as_labelme,
    "voc": _as_voc,
}
