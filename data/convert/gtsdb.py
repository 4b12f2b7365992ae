"""GTSDB, the German Traffic Sign Detection Benchmark: gt.txt and PPM images of 1360x800.

Houben et al., "Detection of Traffic Signs in Real-World Images: The German Traffic Sign Detection Benchmark", IJCNN
2013. Images 00000 to 00599 are for training, 00600 to 00899 for testing; those without a sign are backgrounds.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from data.convert.records import Notes, SourceImage
from data.convert.sign_rows import read_rows
from data.convert.source import Source

SUMMARY = "GTSDB: gt.txt and PPM images"
OPTIONS = ("categories",)
_FIRST_OF_TEST = 600
_CATEGORIES = {"p": "prohibitory", "d": "danger", "m": "mandatory", "o": "other"}
_CLASSES = (  # by their ids, and the category of each
    *("p speed limit 20", "p speed limit 30", "p speed limit 50", "p speed limit 60", "p speed limit 70"),
    *("p speed limit 80", "o restriction ends 80", "p speed limit 100", "p speed limit 120", "p no overtaking"),
    *("p no overtaking (trucks)", "d priority at next intersection", "o priority road", "o give way", "o stop"),
    *("p no traffic both ways", "p no trucks", "o no entry", "d danger", "d bend left", "d bend right", "d bend"),
    *("d uneven road", "d slippery road", "d road narrows", "d construction", "d traffic signal"),
    *("d pedestrian crossing", "d school crossing", "d cycles crossing", "d snow", "d animals"),
    *("o restriction ends", "m go right", "m go left", "m go straight", "m go right or straight"),
    *("m go left or straight", "m keep right", "m keep left", "m roundabout", "o restriction ends (overtaking)"),
    "o restriction ends (overtaking (trucks))",
)


def add_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the options of `read` to the parser."""
    text = "the 4 categories of the competition instead of the 43 classes"
    group.add_argument("--categories", action="store_true", help=text)


def detect(source: Source) -> str:
    """The file that shows the format, or nothing."""
    heads = source.heads(".txt")
    row = re.compile(r"\d{5}\.(ppm|png|jpg);\d+;\d+;\d+;\d+;\d+\s*$", re.M)
    return next((str(source.short(path)) for path, head in heads if path.name == "gt.txt" and row.match(head)), "")


def read(source: Source, notes: Notes, *, categories: bool = False) -> Iterator[SourceImage]:
    """Read gt.txt; images in the folders 00 to 42 are cut-outs of single signs and are left.

    Raises:
        ValueError: If there is no gt.txt.
    """
    names = {str(k): _CATEGORIES[one[0]] if categories else one[2:] for k, one in enumerate(_CLASSES)}
    source.class_names = list(dict.fromkeys(_CATEGORIES.values() if categories else names.values()))
    lists = [path for path in source.files if path.name == "gt.txt"]
    if not lists:
        raise ValueError(f"{source.folder}: no gt.txt below this folder")
    for image in [one for one in source.images if re.fullmatch(r"\d\d", one.parent.name)]:
        source.images.remove(image)
    signs = {record.image: record for file in lists for record in read_rows(source, file, notes, names)}
    numbered = [image for image in source.images if re.fullmatch(r"\d{5}", image.stem)]
    for image in numbered:
        record = signs.get(image) or SourceImage(image, source.name_of(image), (), image)
        yield record.on("train" if int(image.stem) < _FIRST_OF_TEST else "test")
