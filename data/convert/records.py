"""What the converters pass on to one another: source images, checked examples and notes for the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np


class SourceBox(NamedTuple):
    """One annotated object as the source says it, in pixels of the picture."""

    label: str
    xyxy_px: tuple[float, float, float, float]


@dataclass(frozen=True)
class SourceImage:
    """An image and its annotation before either was checked.

    Attributes:
        image: The image file.
        name: Path below the image folder without the suffix, with `/`; names the output files.
        boxes: The annotated objects.
        annotation: The file they come from, for messages; the image itself where there is none.
        declared_wh: Width and height as the annotation says them, if it does.
        split: The side that the set itself gives the image, if it does.
    """

    image: Path
    name: str
    boxes: tuple[SourceBox, ...]
    annotation: Path
    declared_wh: tuple[int, int] | None = None
    split: str | None = None

    def on(self, split: str | None) -> SourceImage:
        """The same on a side."""
        return replace(self, split=split)


@dataclass(frozen=True)
class Example:
    """A readable image with boxes that lie inside it.

    Attributes:
        image: The image file.
        name: As in `SourceImage`.
        width_px: Width of the upright picture.
        height_px: Height of the upright picture.
        boxes: Clipped objects with an area.
        fingerprint: (2,) uint64, see `data.near_duplicates`.
        split: As in `SourceImage`.
    """

    image: Path
    name: str
    width_px: int
    height_px: int
    boxes: tuple[SourceBox, ...]
    fingerprint: np.ndarray
    split: str | None = None


class Note(NamedTuple):
    """One thing the user should know about one file."""

    kind: str
    file: str
    text: str


@dataclass
class Notes:
    """Collects what was left out or changed, by kind, in the order of `KINDS`."""

    KINDS: ClassVar[dict[str, str]] = {
        "skipped": "Images left out",
        "dropped": "Boxes left out",
        "clipped": "Boxes clipped to the picture",
        "remark": "Remarks",
    }
    items: list[Note] = field(default_factory=list)

    def add(self, kind: str, file: Path | str, text: str) -> None:
        """Record one note; `kind` is a key of `KINDS`."""
        assert kind in self.KINDS, kind
        self.items.append(Note(kind, str(file), text))

    def boxes(self, file: Path | str, found: Iterable[tuple[SourceBox | None, str]]) -> tuple[SourceBox, ...]:
        """The objects of one image, in their order; those that could not be read are noted as dropped."""
        kept: list[SourceBox] = []
        for number, (box, reason) in enumerate(found, start=1):
            if box is None:
                self.add("dropped", file, f"object {number}: {reason}")
            else:
                kept.append(box)
        return tuple(kept)

    def counts(self) -> Counter[str]:
        """Number of notes per kind."""
        return Counter(note.kind for note in self.items)

    def of_kind(self, kind: str) -> list[Note]:
        """The notes of one kind, ordered by file."""
        return sorted(note for note in self.items if note.kind == kind)

    def first(self) -> str:
        """A clause for errors that were caused by leaving everything out."""
        if not self.items:
            return "nothing was left out"
        return f"the first of {len(self.items)} that were left out: {self.items[0].file}: {self.items[0].text}"
