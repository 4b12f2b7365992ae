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

from data.convert.records import BoxReader, Notes, SourceBox, SourceImage, box_of
from data.convert.source import READABLE, Source, label_of, normal
from data.convert.xml_file import parse_xml

SUMMARY = "Pascal VOC: one XML file per image"
OPTIONS = ("one_based", "keep_difficult", "keep_unlabelled", "image_sets")


def add_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the options of `read` to the parser."""
    group.add_argument("--one-based", action="store_true", help="corners count pixels from 1, as VOC2007-2012's do")
    group.add_argument("--keep-difficult", action="store_true", help="keep objects marked <difficult>1</difficult>")
    group.add_argument("--keep-unlabelled", action="store_true", help="keep images without an XML, as background")
    group.add_argument("--image-sets", action="store_true", help="split as ImageSets/Main/{train,val,test}.txt say")


def detect(source: Source) -> str:
    """The file that shows the format, or nothing."""
    return next((str(source.short(path)) for path, head in source.heads(".xml") if "<annotation>" in head), "")


def read(
    source: Source,
    notes: Notes,
    *,
    one_based: bool = False,
    keep_difficult: bool = False,
    keep_unlabelled: bool = False,
    image_sets: bool = False,
) -> Iterator[SourceImage]:
    """Pair annotations with images anywhere below a folder and read them.

    Args:
        source: `annotations/ + images/`, `Annotations/ + JPEGImages/`, one flat folder, or a tree of those.
        notes: Receives what was left out.
        one_based: Corners count pixels from 1.
        keep_difficult: Keep objects marked difficult.
        keep_unlabelled: Keep images without an annotation, as background.
        image_sets: Take the split from the lists in `ImageSets/Main`.

    Raises:
        ValueError: If the folder holds no annotation or no image, or the lists asked for are not there.
    """
    xmls = source.with_suffix(".xml")
    for found, what in ((xmls, "no .xml annotations"), (source.images, f"no images ({', '.join(sorted(READABLE))})")):
        if not found:
            raise ValueError(f"{source.folder}: {what} below this folder; expected images and Pascal VOC XML files")
    split_of = _image_sets(source.folder) if image_sets else {}
    read_box = partial(_read_box, one_based=one_based, keep_difficult=keep_difficult)
    annotated: set[Path] = set()
    for xml in xmls:
        record = read_one(source, xml, read_box, notes)
        if record is None:
            continue
        if record.image in annotated:
            text = f"a second annotation of {record.image.name}; the first is used"
            notes.add("skipped", source.short(xml), text)
            continue
        annotated.add(record.image)
        yield record.on(split_of.get(normal(record.image.stem)))
    for image in source.images:
        if image in annotated:
            continue
        if keep_unlabelled:
            yield SourceImage(image, source.name_of(image), (), image, split=split_of.get(normal(image.stem)))
        else:
            text = "has no annotation (--keep-unlabelled keeps it as background)"
            notes.add("skipped", source.short(image), text)


def read_one(source: Source, xml: Path, read_box: BoxReader, notes: Notes) -> SourceImage | None:
    """The image of an annotation and its objects; None, with a note, where there is none."""
    short = source.short(xml)
    try:
        tree = parse_xml(xml)
    except ValueError as error:
        notes.add("skipped", short, f"annotation cannot be read: {error}")
        return None
    if tree.tag != "annotation":
        notes.add("skipped", short, f"expected a Pascal VOC <annotation> but the file starts with <{tree.tag}>")
        return None
    image, remark = _find_image(source, xml, (tree.findtext("filename") or "").strip())
    if image is None:
        notes.add("skipped", short, remark)
        return None
    if remark:
        notes.add("remark", short, remark)
    boxes = notes.boxes(short, map(read_box, tree.findall("object")))
    return SourceImage(image, source.name_of(image), boxes, xml, _declared_size(tree))


def _find_image(source: Source, xml: Path, filename: str) -> tuple[Path | None, str]:
    """The image by stem, then by place, then by <filename>, and a remark; None with the reason if none fits alone."""
    said = PurePosixPath(filename.replace("\\", "/"))  # a foreign absolute path at times: only its name is used
    candidates = source.by_stem.get(normal(xml.stem), [])
    if not candidates:
        candidates = source.by_stem.get(normal(said.stem), []) if said.stem else []
        if not candidates:
            return None, f"no image is called {xml.stem} (<filename> says {filename or 'nothing'})"
        remark = f"no image is called {xml.stem}; the one that <filename> names is used"
    else:
        agrees = normal(said.stem) == normal(xml.stem)
        remark = "" if agrees or not filename else f"<filename> says {filename}; paired by its own name instead"
    if len(candidates) > 1:
        place = source.name_of(xml)
        beside = [image for image in candidates if source.name_of(image) == place] or candidates
        candidates = [image for image in beside if normal(image.name) == normal(said.name)] or beside
        if len(candidates) > 1:
            return None, f"several images fit: {', '.join(str(source.short(image)) for image in candidates)}"
    return candidates[0], remark


def _read_box(element: ET.Element, *, one_based: bool, keep_difficult: bool) -> tuple[SourceBox | None, str]:
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


def _declared_size(tree: ET.Element) -> tuple[int, int] | None:
    try:
        width, height = (int(float(tree.findtext(f"size/{side}") or "")) for side in ("width", "height"))
    except (ValueError, OverflowError):
        return None
    return (width, height) if width > 0 and height > 0 else None


def _image_sets(folder: Path) -> dict[str, str]:
    """From image stem to side, as ImageSets/Main says."""
    lists = folder / "ImageSets" / "Main"
    split_of: dict[str, str] = {}
    for side in ("train", "val", "test"):
        file = lists / f"{side}.txt"
        if not file.is_file():
            continue
        for row, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), start=1):
            stem = normal(line.split()[0]) if line.strip() else ""
            if stem and split_of.setdefault(stem, side) != side:
                raise ValueError(f"{file}, line {row}: {stem} is listed for {split_of[stem]} too; expected one side")
    if not {"train", "val"} <= set(split_of.values()):
        raise ValueError(f"--image-sets: expected {lists} to hold train.txt and val.txt that name images")
    return split_of
