"""Faults of whole sets, and label errors that only a model can doubt; see `planted_faults`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.studies.planted_faults import Fault, Random, replace, rows_of, second_class, set_rows
from data.synth import CLASS_NAMES

_LARGE_PX = 40  # side of a box from which a model can be expected to have an opinion of it
_WH_PX = np.array([640, 360])


def _every(root: Path, splits: tuple[str, ...]) -> list[Path]:
    return [image for split in splits for image in sorted((root / "images" / split).iterdir())]


def _without(root: Path, splits: tuple[str, ...], number: int, kept: int = 0) -> str:
    """Take a class out of splits, but for the first few boxes."""
    for image in _every(root, splits):
        rows = []
        for row in rows_of(image):
            kept -= row[0] == number
            if row[0] != number or kept >= 0:
                rows.append(row)
        set_rows(image, rows)
    return CLASS_NAMES[number]


def _of_class(splits: tuple[str, ...], kept: int = 0) -> Callable[[Path, Random], str]:
    return lambda root, random: _without(root, splits, int(random.integers(len(CLASS_NAMES))), kept)


def _mirrored(root: Path, random: Random) -> str:
    names = [
        "turn_left",
        "keepRight",
        "左转",
        "pfeil_links_abbiegen_rechts",
        "arrow right",
        "gauche",
        "kanan",
        "стрелка налево",
    ]
    name = str(random.choice(names))
    text = (root / "set.yaml").read_text(encoding="utf-8")
    replace(root / "set.yaml", text.replace("arr_l", f'"{name}"').replace("hyp: hyp.no-mirror.yaml\n", ""))
    return name


def _scaled(shrink: tuple[float, float]) -> Callable[[Path, Random], str]:
    """Make every box of the set smaller, or narrower."""

    def plant(root: Path, random: Random) -> str:
        for image in _every(root, ("train", "val")):
            set_rows(image, [[*row[:3], row[3] * shrink[0], row[4] * shrink[1]] for row in rows_of(image)])
        return ANY

    return plant


def _bare(root: Path, random: Random) -> str:
    shutil.rmtree(root / "labels" / "val")
    return "val"


ANY = "(the set)"
OF_THE_SET = ("small-boxes", "anchors")
SET_FAULTS = (
    Fault("unused-class", "class without a label", _of_class(("train", "val"))),
    Fault("rare-class", "class with 9 labels", _of_class(("train",), 9)),
    Fault("class-missing-in-val", "class that val lacks", _of_class(("val",))),
    Fault("few-in-val", "class with 3 labels in val", _of_class(("val",), 3)),
    Fault("mirrored-names", "left or right in a name, and fliplr", _mirrored),
    Fault("small-boxes", "all boxes a quarter as large", _scaled((0.25, 0.25)), ("tiny-box", "anchors")),
    Fault("anchors", "all boxes a tenth as wide", _scaled((0.1, 1)), ("tiny-box", "small-boxes")),
    Fault("no-labels", "val without labels", _bare),
)


def _large(image: Path) -> list[int]:
    """Rows that are large enough and stand alone, so that what is planted is beyond doubt."""
    rows = rows_of(image)
    return [i for i, row in enumerate(rows) if (np.array(row[3:5]) * _WH_PX >= _LARGE_PX).all()]


def _forgotten(image: Path, random: Random) -> str:
    rows = rows_of(image)
    del rows[_large(image)[0]]
    set_rows(image, rows)
    return image.name


def _swapped(image: Path, random: Random) -> str:
    rows = rows_of(image)
    number = _large(image)[0]
    rows[number] = second_class(rows[number], random)[0]
    set_rows(image, rows)
    return image.name


def _on_nothing(image: Path, random: Random) -> str:
    """A box in the upper corner that is farthest from every label."""
    rows = rows_of(image)
    places = [(x, y) for x in (0.12, 0.5, 0.88) for y in (0.15, 0.85)]
    far = max(places, key=lambda place: min((np.hypot(place[0] - r[1], place[1] - r[2]) for r in rows), default=1))
    set_rows(image, [*rows, [float(random.integers(len(CLASS_NAMES))), *far, 0.15, 0.25]])
    return image.name


SUSPECTED = (
    Fault("suspect-missing-label", "forgotten label", _forgotten, needs_label=True, fits=lambda i: bool(_large(i))),
    Fault(
        "suspect-class", "label of another class", _swapped, ("suspect-missing-label", "rare-class"),
        needs_label=True, fits=lambda image: bool(_large(image)),
    ),
    Fault("suspect-nothing-there", "label on nothing", _on_nothing, ("reaches-outside",)),
)  # fmt: skip
