"""Where the label files of a split lie: in YOLOv5's place, or in one of the others that exports and people use."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

_IMAGES, _LABELS = f"{os.sep}images{os.sep}", f"{os.sep}labels{os.sep}"
_LOOKED_AT = 500  # files of a folder in which annotations of another format are looked for
_OTHER_FORMATS = {".xml": "Pascal VOC or CVAT", ".json": "COCO, LabelMe or Label Studio", ".csv": "a table"}


class LabelPlace(NamedTuple):
    """The label file of each image, and where they lie in words; "" for YOLOv5's place."""

    paths: list[str]
    unusual: str


def label_path(image: str) -> str:
    """Return where YOLOv5 has the label file: the last `/images/` becomes `/labels/`, the suffix `.txt`."""
    before, separator, after = image.rpartition(_IMAGES)
    return _text(f"{before}{_LABELS}{after}" if separator else image)


def find_labels(images: Sequence[str]) -> LabelPlace:
    """Find a split's label files: the first of the known places in which any of its images has one.

    One place holds for the whole split, so that a .txt file of something else beside an image without objects is not
    taken for its labels. Where no image has a label file anywhere, YOLOv5's place is given.
    """
    for place, words in _PLACES.items():
        paths = [place(image) for image in images]
        if any(map(os.path.isfile, paths)):
            return LabelPlace(paths, words)
    return LabelPlace([label_path(image) for image in images], "")


def no_labels_text(image: str) -> str:
    """Where a split's labels were looked for in vain, by the example of one image, and what lies there instead."""
    tried = list(dict.fromkeys(place(image) for place in _PLACES))
    text = f"no label file was found; for {os.path.basename(image)} looked for {', '.join(tried)}"
    folder = os.path.dirname(image)
    for place in (folder, os.path.dirname(folder), os.path.dirname(os.path.dirname(folder))):
        for suffix, kind in _OTHER_FORMATS.items():
            example = _first_of(place, suffix)
            if example:
                return f"{text}; {example} may be {kind}: python -m data.convert makes label files of it"
    return text


def _first_of(folder: str, suffix: str) -> str | None:
    """A file of that suffix in a folder or in one directly below it."""
    try:
        with os.scandir(folder or ".") as entries:
            some = list(islice(entries, _LOOKED_AT))
    except OSError:
        return None
    below = [entry.path for entry in some if entry.name.lower() in ("annotations", "labels", "xmls", "ann")]
    found = next((entry.path for entry in some if entry.name.lower().endswith(suffix)), None)
    return found or next(filter(None, (_first_of(path, suffix) for path in below)), None)


def _beside(image: str) -> str:
    return _text(image)


def _earlier_images(image: str) -> str:
    """`/set/images/images/a.jpg` -> `/set/labels/images/a.txt`."""
    before, separator, after = image.partition(_IMAGES)
    return _text(f"{before}{_LABELS}{after}" if separator else image)


def _sibling(image: str) -> str:
    """`/set/JPEGImages/a.jpg` -> `/set/labels/a.txt`."""
    folder, name = os.path.split(image)
    return _text(os.path.join(os.path.dirname(folder), "labels", name))


def _inside(image: str) -> str:
    """`/set/train/a.jpg` -> `/set/train/labels/a.txt`."""
    folder, name = os.path.split(image)
    return _text(os.path.join(folder, "labels", name))


def _text(image: str) -> str:
    return os.path.splitext(image)[0] + ".txt"


_PLACES: dict[Callable[[str], str], str] = {
    label_path: "",
    _beside: "beside the images",
    _earlier_images: "in labels/ in place of the first images/",
    _sibling: "in labels/ beside the folder of images",
    _inside: "in labels/ inside the folder of images",
}
