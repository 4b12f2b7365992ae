"""Pascal VOC XML: one file per image, as the public mask and road-sign sets and most labelling tools write it.

Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 2010. Corners are read as written; VOC's own
sets count pixels from 1 (`--one-based`), labelling tools from 0.
"""

from __future__ import annotations

import argparse
import math
import re
import unicodedata
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from data.convert.records import Notes, SourceBox, SourceImage
from data.images import IMAGE_SUFFIXES

SUMMARY = "Pascal VOC: one XML file per image"
OPTIONS = ("one_based", "keep_difficult", "keep_unlabelled", "image_sets")

_BoxReader = Callable[[ET.Element], tuple[SourceBox | None, str]]
_FOLDER_NAMES = {
    "annotations",
    "annotation",
    "annots",
    "xmls",
    "xml",
    "labels",
    "images",
    "image",
    "imgs",
    "jpegimages",
}
_MAX_XML_BYTES = 16 << 20
_ENCODING = re.compile(rb"""^\s*<\?xml[^>]*encoding\s*=\s*["']([A-Za-z0-9._-]+)["'][^>]*\?>""")
_EXPAT_ENCODINGS = {"utf-8", "utf8", "utf-16", "utf16", "us-ascii", "ascii", "iso-8859-1", "latin-1", "latin1"}


def add_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the options of `read` to the parser."""
    group.add_argument("--one-based", action="store_true", help="corners count pixels from 1, as VOC2007-2012's do")
    group.add_argument("--keep-difficult", action="store_true", help="keep objects marked <difficult>1</difficult>")
    group.add_argument("--keep-unlabelled", action="store_true", help="keep images without an XML, as background")
    group.add_argument("--image-sets", action="store_true", help="split as ImageSets/Main/{train,val,test}.txt say")


def read(
    folder: Path,
    notes: Notes,
    *,
    one_based: bool = False,
    keep_difficult: bool = False,
    keep_unlabelled: bool = False,
    image_sets: bool = False,
) -> list[SourceImage]:
    """Pair annotations with images anywhere below a folder and read them.

    Args:
        folder: `annotations/ + images/`, `Annotations/ + JPEGImages/`, one flat folder, or a tree of those.
        notes: Receives what was left out.
        one_based: Corners count pixels from 1.
        keep_difficult: Keep objects marked difficult.
        keep_unlabelled: Keep images without an annotation, as background.
        image_sets: Take the split from the lists in `ImageSets/Main`.

    Returns:
        The annotated images, ordered by name.

    Raises:
        ValueError: If the folder holds no annotation or no image, or the lists asked for are not there.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    xmls = [path for path in files if path.suffix.lower() == ".xml"]
    for found, what in ((xmls, "no .xml annotations"), (images, f"no images ({', '.join(sorted(IMAGE_SUFFIXES))})")):
        if not found:
            raise ValueError(f"{folder}: {what} below this folder; expected images and Pascal VOC XML files")
    split_of = _image_sets(folder) if image_sets else None
    index = _ImageIndex(folder, images)
    sources: dict[Path, SourceImage] = {}
    for xml in xmls:
        source = _read_one(xml, index, partial(_read_box, one_based=one_based, keep_difficult=keep_difficult), notes)
        if source is None:
            continue
        if source.image in sources:
            notes.add("skipped", _below(xml, folder), f"a second annotation of {source.image.name}; the first is used")
        else:
            sources[source.image] = source
    for image in images:
        if image in sources:
            continue
        if keep_unlabelled:
            sources[image] = SourceImage(image, _name_of(image, folder), (), image)
        else:
            notes.add("skipped", _below(image, folder), "has no annotation (--keep-unlabelled keeps it as background)")
    ordered = sorted(sources.values(), key=lambda source: source.name)
    return ordered if split_of is None else _with_splits(ordered, split_of, folder, notes)


class _ImageIndex:
    """Finds the image of an annotation by stem, then by place, then by the annotation's <filename>."""

    def __init__(self, folder: Path, images: Iterable[Path]) -> None:
        self.folder = folder
        self.by_stem: dict[str, list[Path]] = defaultdict(list)
        for image in images:
            self.by_stem[_normal(image.stem)].append(image)

    def find(self, xml: Path, filename: str) -> tuple[Path | None, str]:
        """The image and a remark; None with the reason if there is none or several fit equally."""
        said = PurePosixPath(filename.replace("\\", "/"))  # a foreign absolute path at times: only its name is used
        candidates = self.by_stem.get(_normal(xml.stem), [])
        if not candidates:
            candidates = self.by_stem.get(_normal(said.stem), []) if said.stem else []
            if not candidates:
                return None, f"no image is called {xml.stem} (<filename> says {filename or 'nothing'})"
            remark = f"no image is called {xml.stem}; the one that <filename> names is used"
        else:
            agrees = _normal(said.stem) == _normal(xml.stem)
            remark = "" if agrees or not filename else f"<filename> says {filename}; paired by its own name instead"
        if len(candidates) > 1:
            place = _name_of(xml, self.folder)
            beside = [image for image in candidates if _name_of(image, self.folder) == place] or candidates
            named = [image for image in beside if _normal(image.name) == _normal(said.name)] or beside
            if len(named) > 1:
                return None, f"several images fit: {', '.join(str(_below(image, self.folder)) for image in named)}"
            candidates = named
        return candidates[0], remark


def _read_one(xml: Path, index: _ImageIndex, read_box: _BoxReader, notes: Notes) -> SourceImage | None:
    folder = index.folder
    short = _below(xml, folder)
    try:
        tree = parse_xml(xml)
    except ValueError as error:
        notes.add("skipped", short, f"annotation cannot be read: {error}")
        return None
    if tree.tag != "annotation":
        notes.add("skipped", short, f"expected a Pascal VOC <annotation> but the file starts with <{tree.tag}>")
        return None
    image, remark = index.find(xml, (tree.findtext("filename") or "").strip())
    if image is None:
        notes.add("skipped", short, remark)
        return None
    if remark:
        notes.add("remark", short, remark)
    boxes = []
    for number, element in enumerate(tree.findall("object"), start=1):
        box, reason = read_box(element)
        if box is None:
            notes.add("dropped", short, f"object {number}: {reason}")
        else:
            boxes.append(box)
    return SourceImage(image, _name_of(image, folder), tuple(boxes), xml, _declared_size(tree))


def parse_xml(path: Path) -> ET.Element:
    """Parse an annotation from an untrusted source.

    Document type declarations are refused before any entity is declared, so neither expansion bombs nor external
    entities can act. Encodings that the parser lacks (GBK, Shift-JIS, …) are decoded as the declaration says.

    Raises:
        ValueError: If the file is too large, not XML, or declares a document type.
    """
    if path.stat().st_size > _MAX_XML_BYTES:
        raise ValueError(f"larger than {_MAX_XML_BYTES >> 20} MiB")
    content: bytes | str = path.read_bytes()
    declared = _ENCODING.match(content.removeprefix(b"\xef\xbb\xbf"))
    if declared and declared[1].decode().lower() not in _EXPAT_ENCODINGS:
        try:
            content = content[declared.end() :].decode(declared[1].decode())
        except (LookupError, UnicodeDecodeError) as error:
            raise ValueError(f"its declared encoding does not fit: {error}") from error
    parser = ET.XMLParser(target=_RefuseDoctype())
    try:
        parser.feed(content)
        return parser.close()
    except ET.ParseError as error:
        raise ValueError(f"not well-formed XML: {error}") from error


class _RefuseDoctype(ET.TreeBuilder):
    """A tree builder that stops at a document type declaration."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError(f"it declares a document type ({name}), which no VOC annotation needs; refused")


def _read_box(element: ET.Element, *, one_based: bool, keep_difficult: bool) -> tuple[SourceBox | None, str]:
    """An <object>, or None and the reason why it is left out."""
    label = " ".join((element.findtext("name") or "").split())
    if not label:
        return None, "it has no <name>"
    if not keep_difficult and (element.findtext("difficult") or "").strip() == "1":
        return None, f"{label} is marked difficult (--keep-difficult keeps it)"
    box = element.find("bndbox")
    if box is None:
        return None, f"{label} has no <bndbox>"
    texts = [(box.findtext(corner) or "").strip() for corner in ("xmin", "ymin", "xmax", "ymax")]
    try:
        x1, y1, x2, y2 = (float(text) for text in texts)
    except ValueError:
        return None, f"{label} has the corners {texts}; expected four numbers"
    if not all(math.isfinite(value) for value in (x1, y1, x2, y2)):
        return None, f"{label} has the corners {texts}; expected finite numbers"
    shift = 1.0 if one_based else 0.0  # the last pixel counts as inside, so only the first corner moves
    return SourceBox(label, (x1 - shift, y1 - shift, x2, y2)), ""


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
            stem = _normal(line.split()[0]) if line.strip() else ""
            if stem and split_of.setdefault(stem, side) != side:
                raise ValueError(f"{file}, line {row}: {stem} is listed for {split_of[stem]} too; expected one side")
    if not {"train", "val"} <= set(split_of.values()):
        raise ValueError(f"--image-sets: expected {lists} to hold train.txt and val.txt that name images")
    return split_of


def _with_splits(
    sources: Sequence[SourceImage], split_of: dict[str, str], folder: Path, notes: Notes
) -> list[SourceImage]:
    kept = []
    for source in sources:
        side = split_of.get(_normal(source.image.stem))
        if side is None:
            notes.add("skipped", _below(source.image, folder), "is in none of the lists of ImageSets/Main")
        else:
            kept.append(replace(source, split=side))
    return kept


def _normal(text: str) -> str:
    """File names compare equal whether their accents are composed (Windows, Linux) or not (macOS)."""
    return unicodedata.normalize("NFC", text)


def _below(path: Path, folder: Path) -> Path:
    return path.relative_to(folder)


def _name_of(path: Path, folder: Path) -> str:
    """The path below `folder` without suffix and without folders that only say images or annotations."""
    parts = path.relative_to(folder).with_suffix("").parts
    return "/".join([*(part for part in parts[:-1] if part.lower() not in _FOLDER_NAMES), parts[-1]])
