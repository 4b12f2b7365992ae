"""Objects that a file lists apart from its images, gathered by image: tables, lists of rows, COCO's annotations."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from data.convert.records import Notes, SourceBox, SourceImage
from data.convert.source import Source


class ObjectsByImage:
    """Boxes by what their file calls the image, in 48 bytes each, so that millions fit; filled first and read then."""

    def __init__(self) -> None:
        self._images: dict[str, int] = {}
        self._labels: dict[str, int] = {}
        self._owners, self._kinds, self._corners = array("q"), array("q"), array("d")

    def add(self, image: str, box: SourceBox | None) -> None:
        """Note an object of an image, or with None the image alone."""
        owner = self._images.setdefault(image, len(self._images))
        if box is not None:
            self._owners.append(owner)
            self._kinds.append(self._labels.setdefault(box.label, len(self._labels)))
            self._corners.extend(box.xyxy_px)

    def __iter__(self) -> Iterator[str]:
        """The images in the order in which they were named first."""
        return iter(self._images)

    @property
    def labels(self) -> list[str]:
        """The labels that occur."""
        return list(self._labels)

    def of(self, image: str) -> tuple[SourceBox, ...]:
        """The objects of an image, in their order."""
        place = self._images.get(image)
        if place is None:
            return ()
        order, starts = self._index
        labels, corners = self.labels, self._corners
        rows = order[starts[place] : starts[place + 1]].tolist()
        return tuple(SourceBox(labels[self._kinds[k]], tuple(corners[4 * k : 4 * k + 4])) for k in rows)  # pyright: ignore[reportArgumentType]

    def images(self, source: Source, file: Path, notes: Notes) -> Iterator[SourceImage]:
        """The images of a file that names them by their paths; those that are not there are noted."""
        for said in self:
            image, reason = source.image(said, file)
            if image is None:
                notes.add("skipped", source.short(file), reason)
            else:
                yield SourceImage(image, source.name_of(image), self.of(said), file)

    @cached_property
    def _index(self) -> tuple[np.ndarray, np.ndarray]:
        """(objects,) their numbers, those of an image together, and (images + 1,) where each image's begin."""
        owners = np.array(self._owners, np.int64)
        order = np.argsort(owners, kind="stable")
        return order, np.searchsorted(owners[order], np.arange(len(self._images) + 1))
