"""Pascal VOC XML: one file per image, as the public mask and road-sign sets and most labelling tools write it.

Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 2010. Corners are read as written; VOC's own
sets count pixels from 1 (`--one-based`), labelling tools from 0.
"""

from __future__ import annotations

import argparse
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from data.convert.records import Notes, SourceBox, SourceImage
from data.convert.shapes import BoxReader, Found, box_of, size_of
from data.convert.source import Source, label_of, normal
from data.convert.xml_file import parse_xml

SUMMARY = "Pascal VOC: one XML file per image"
OPTIONS = ("one_based", "keep_difficult", "image_sets")


def add_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the options of `read` to the parser."""
    group.add_argument("--one-based", action="store_true", help="corners count pixels from 1, as VOC2007-2012's do")
    group.add_argument("--keep-difficult", action="store_true", help="keep objects marked <difficult>1</difficult>")
    group.add_argument("--image-sets", action="store_true", help="split as ImageSets/Main/{train,val,test}.txt say")


def detect(source: Source) -> str:
    """The file that shows the format, or nothing."""
    return next((str(source.short(path)) for path, head in source.heads(".xml") if "<annotation>" in head), "")


def read(
    source: Source, notes: Notes, *, one_based: bool = False, keep_difficult: bool = False, image_sets: bool = False
) -> Iterator[SourceImage]:
    """Pair annotations with images anywhere below a folder and read them.

    Args:
        source: `annotations/ + images/`, `Annotations/ + JPEGImages/`, one flat folder, or a tree of those.
        notes: Receives what was left out.
        one_based: Corners count pixels from 1.
        keep_difficult: Keep objects marked difficult.
        image_sets: Take the split from the lists in `ImageSets/Main`.

    Raises:
        ValueError: If the folder holds no annotation, or the lists asked for are not there.
    """
    xmls = source.some(source.with_suffix(".xml"), ".xml annotations")
    split_of = _image_sets(source) if image_sets else {}
    read_box = partial(_read_box, one_based=one_based, keep_difficult=keep_difficult)
    for xml in xmls:
        record = _read_one(source, xml, read_box, notes)
        if record is not None:
            yield record.on(split_of.get(record.image))


def _read_one(source: Source, xml: Path, read_box: BoxReader, notes: Notes) -> SourceImage | None:
    """The image of an annotation and its objects; None, with a note, where there is none."""
    short = source.short(xml)
    try:
        tree = parse_xml(xml, "annotation")
    except ValueError as error:
        notes.add("skipped", short, f"annotation cannot be read: {error}")
        return None
    image, remark = _find_image(source, xml, (tree.findtext("filename") or "").strip())
    if image is None or remark:
        notes.add("remark" if image else "skipped", short, remark)
    if image is None:
        return None
    boxes = notes.boxes(short, map(read_box, tree.findall("object")))
    size = size_of(tree.findtext("size/width"), tree.findtext("size/height"))
    return SourceImage(image, source.name_of(image), boxes, xml, size)


def _find_image(source: Source, xml: Path, filename: str) -> tuple[Path | None, str]:
    """The image of the annotation's own name, else the one that <filename> says; None with the reason if neither."""
    said = PurePosixPath(filename.replace("\\", "/")).name  # a foreign absolute path at times: only its name is used
    named, _ = source.image(said, xml)
    agrees = normal(PurePosixPath(said).stem) == normal(xml.stem)
    if named is not None and agrees:  # of a.jpg and a.png the one that it says
        return named, ""
    own, reason = source.image(xml.stem, xml)
    if own is not None:
        return own, "" if agrees or not said else f"<filename> says {said}; paired by its own name instead"
    if named is not None:
        return named, f"{reason}; the one that <filename> names is used"
    return None, f"{reason} (<filename> says {said or 'nothing'})"


def _read_box(element: ET.Element, *, one_based: bool, keep_difficult: bool) -> Found:
    """An <object>, or None and the reason why it is left out."""
    label = label_of(element.findtext("name"))
    if not label:
        return None, "it has no <name>"
    if not keep_difficult and (element.findtext("difficult") or "").strip() == "1":
        return None, f"{label} is marked difficult (--keep-difficult keeps it)"
    box = element.find("bndbox")
    if box is None:
        return None, f"{label} has no <bndbox>"
    found, reason = box_of(label, [(box.findtext(corner) or "").strip() for corner in ("xmin", "ymin", "xmax", "ymax")])
    if found is None or not one_based:
        return found, reason
    x1, y1, x2, y2 = found.xyxy_px  # the last pixel counts as inside, so only the first corner moves
    return SourceBox(label, (x1 - 1, y1 - 1, x2, y2)), ""


def _image_sets(source: Source) -> dict[Path, str]:
    """The side of each image, as ImageSets/Main says."""
    lists = source.folder / "ImageSets" / "Main"
    split_of: dict[Path, str] = {}
    for file in (lists / f"{side}.txt" for side in ("train", "val", "test")):
        for image in source.listed(file) if file.is_file() else ():
            if split_of.setdefault(image, file.stem) != file.stem:
                raise ValueError(f"{file}: {image.stem} is listed for {split_of[image]} too; expected one side")
    if not {"train", "val"} <= set(split_of.values()):
        raise ValueError(f"--image-sets: expected {lists} to hold train.txt and val.txt that name images")
    return split_of
