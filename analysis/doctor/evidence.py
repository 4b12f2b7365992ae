"""What the checks look at: the splits with their labels in flat arrays, the settings, what was seen of the pixels."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from analysis.doctor.pictures import Picture
from data.dataset.dataset_yaml import SPLITS, DatasetSpec, list_images
from data.dataset.image_files import image_files
from data.dataset.label_cache import Entry
from data.dataset.label_place import find_labels
from data.dataset.label_scan import cache_file, scan_entries
from data.hyp import Hyperparameters

if TYPE_CHECKING:
    from data.loading.samples import DetectionDataset


@dataclass(frozen=True)
class Detected:
    """What a model finds on one image, in fractions of its sides, most confident first."""

    boxes_xyxy_norm: np.ndarray  # (n, 4)
    confidences: np.ndarray  # (n,)
    class_ids: np.ndarray  # (n,) int, of the data set's names


@dataclass(frozen=True)
class Split:
    """The images of a split; labels of all images stand in one array.

    Attributes:
        name: "train", "val" or "test".
        images: Paths.
        label_files: Of each image, there or not.
        states: "labelled", "missing", "empty" or "corrupt", each.
        shapes_wh: (images, 2) px, 0 where corrupt.
        problems: Lines about broken rows, or the image itself where it is corrupt, each.
        repeats: Lines about repeated rows, each.
        image_of_row: (rows,) index of each label's image.
        rows: (rows, 5) float32 class, cx, cy, w, h, normalised.
        is_polygon: (rows,) whether the row is an outline.
        others: Files beside the images that are no images by their suffix.
    """

    name: str
    images: list[str]
    label_files: list[str]
    states: list[str]
    shapes_wh: np.ndarray
    problems: list[list[str]]
    repeats: list[list[str]]
    image_of_row: np.ndarray
    rows: np.ndarray
    is_polygon: np.ndarray
    others: list[str] = field(default_factory=list)

    @cached_property
    def corners(self) -> np.ndarray:
        """(rows, 4) float64 x1, y1, x2, y2, normalised."""
        centre, half = self.rows[:, 1:3].astype(np.float64), self.rows[:, 3:5].astype(np.float64) / 2
        return np.concatenate((centre - half, centre + half), 1)

    def sides_px(self, image_px: int) -> np.ndarray:
        """(rows, 2) widths and heights after letterboxing to `image_px`, px."""
        shapes = self.shapes_wh.astype(np.float64)
        scaled = image_px * shapes / shapes.max(1, keepdims=True).clip(1)
        return self.rows[:, 3:5] * scaled[self.image_of_row]

    @classmethod
    def of(
        cls, name: str, images: Sequence[str], label_files: Sequence[str], entries: Sequence[Entry], others: list[str]
    ) -> Split:
        """Of the entries of a scan, broken ones too."""
        flags = [outline is not None for entry in entries for outline in entry.polygons]
        return cls(
            name,
            list(images),
            list(label_files),
            [entry.state for entry in entries],
            np.array([entry.shape_wh for entry in entries], np.int64).reshape(-1, 2),
            [entry.problems for entry in entries],
            [entry.duplicates for entry in entries],
            *_flat([entry.labels for entry in entries]),
            np.array(flags, bool),
            others,
        )

    @classmethod
    def of_training(cls, name: str, read: DetectionDataset) -> Split:
        """Of what training has read, which leaves out what is broken and has told of it."""
        nothing: list[list[str]] = []
        flags = [outline is not None for outlines in read.polygons for outline in outlines]
        shapes = np.asarray(read.shapes).reshape(-1, 2)
        return cls(name, read.paths, [], [], shapes, nothing, nothing, *_flat(read.labels), np.array(flags, bool))


@dataclass(frozen=True)
class Evidence:
    """A data set as the checks see it.

    Attributes:
        dataset: Its YAML.
        splits: Those that the YAML has.
        image_px: The size that training is to use.
        hyp: The hyperparameters that it is to use.
        anchors_px: (anchors, 2) of the model.
        pictures: Of each split, what was seen of each image; None where the pixels were not looked at.
        cleanvision: From that package's name of an issue to the images that have it; None where it is not used.
        detected: Of each split, what a model finds on each image; None without a model.
    """

    dataset: DatasetSpec
    splits: list[Split]
    image_px: int
    hyp: Hyperparameters
    anchors_px: np.ndarray
    pictures: dict[str, list[Picture]] | None = None
    cleanvision: dict[str, list[str]] | None = None
    detected: dict[str, list[Detected]] | None = None

    @property
    def names(self) -> dict[int, str]:
        """Class names by number."""
        return self.dataset.names

    def name_of(self, class_id: float) -> str:
        """The name of a class."""
        return self.names[int(class_id)]

    def split(self, name: str) -> Split | None:
        """The split of that name, if the set has it."""
        return next((split for split in self.splits if split.name == name), None)

    def class_counts(self, split: Split) -> np.ndarray:
        """(classes,) boxes of each class."""
        return np.bincount(split.rows[:, 0].astype(np.int64), minlength=len(self.names))


def read_splits(dataset: DatasetSpec, progress: bool = True, told: Callable[[str], None] = print) -> list[Split]:
    """Scan the labels of every split that the YAML names, with the caches that training uses.

    Args:
        dataset: Its images are drawn already.
        progress: Show progress bars.
        told: Is given a line for each split.

    Raises:
        ValueError: If a split's files are missing.
    """
    splits: list[Split] = []
    for name in SPLITS:
        if not getattr(dataset, name):
            continue
        entries = dataset.entries(name)
        images = list_images(entries, root=dataset.path)
        labels = find_labels(images)
        found = scan_entries(
            images, labels.paths, dataset.file_nc, split=name, cache=cache_file(entries, images), progress=progress
        )
        listed = set(images)
        others = sorted({file for entry in entries for file in image_files(entry, dataset.path)} - listed)
        splits.append(Split.of(name, images, labels.paths, found, others))
        place = f", labels {labels.unusual}" if labels.unusual else ""
        told(f"{name}: {len(images)} images, {len(splits[-1].rows)} boxes{place}")
    return splits


def folders_of(files: Sequence[str]) -> set[str]:
    """The folders that files lie in."""
    return {os.path.dirname(file) for file in files}


def _flat(labels: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(rows,) index of each row's image, and (rows, 5) the rows."""
    counts = np.fromiter(map(len, labels), np.int64, len(labels))
    return np.repeat(np.arange(len(labels)), counts), np.concatenate([np.zeros((0, 5), np.float32), *labels])
