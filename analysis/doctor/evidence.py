"""What the checks look at: the splits with their labels in flat arrays, the settings, what was seen of the pixels."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from analysis.doctor.pictures import Picture, Pixels
from data.dataset.dataset_yaml import SPLITS, DatasetSpec, list_images
from data.dataset.image_files import image_files
from data.dataset.label_cache import Entry
from data.dataset.label_place import find_labels
from data.dataset.label_scan import cache_file, scan_entries
from data.hyp import Hyperparameters
from data.near_duplicates import near_duplicate_groups

if TYPE_CHECKING:
    from data.loading.samples import DetectionDataset


_SAME_PLACE = 0.9  # IoU from which two boxes are one
_FLAT = 0.15  # range of brightness below which a picture has no gradients to compare


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

    @cached_property
    def rows_in_one_place(self) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of rows of one image whose boxes are one, see `same_place`."""
        return same_place(self.image_of_row, self.corners)

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

    @cached_property
    def same_files(self) -> list[list[tuple[str, str]]]:
        """Split and path of images of equal content, a list each; without a look at the pixels, of the same path."""
        groups: dict[bytes | str, list[tuple[str, str]]] = defaultdict(list)
        for split in self.splits:
            digests = [picture.digest for picture in self.pictures[split.name]] if self.pictures else split.images
            for path, digest in zip(split.images, digests, strict=True):
                if digest:
                    groups[digest].append((split.name, path))
        return [group for group in groups.values() if len(group) > 1]

    @cached_property
    def look_alikes(self) -> list[list[tuple[str, str, Pixels]]]:
        """Split, path and pixels of pictures whose fingerprints differ little, a list each, in the order of the splits.

        Files of equal content count once.
        """
        images: dict[bytes, tuple[str, str, Pixels]] = {}
        for split in self.splits if self.pictures else []:
            for path, picture in zip(split.images, (self.pictures or {})[split.name], strict=True):
                if picture.pixels is not None and picture.pixels.light - picture.pixels.dark > _FLAT:
                    images.setdefault(picture.digest, (split.name, path, picture.pixels))
        if not images:
            return []
        found = list(images.values())
        numbers = near_duplicate_groups(np.stack([pixels.fingerprint for *_, pixels in found]))
        groups: dict[int, list[tuple[str, str, Pixels]]] = defaultdict(list)
        for image, number in zip(found, numbers.tolist(), strict=True):
            groups[number].append(image)
        return [groups[number] for number in sorted(groups) if len(groups[number]) > 1]

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


def same_place(image_of_row: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows of one image with an IoU of 0.9 or more; an image's rows follow one another.

    Boxes so alike have centres within a tenth of their size of each other, so that sorted by their left side each is
    compared with few others: the cost stays linear however many boxes an image has.
    """
    order = np.lexsort((corners[:, 0], image_of_row))
    image, box = image_of_row[order], corners[order]
    width, areas = box[:, 2] - box[:, 0], (box[:, 2:] - box[:, :2]).prod(1)
    firsts, seconds = [], []
    alive = np.arange(len(order))
    step = 1
    while len(alive := alive[alive + step < len(order)]):
        other = alive + step
        near = (image[alive] == image[other]) & (box[other, 0] - box[alive, 0] <= (1 / _SAME_PLACE - 1) * width[alive])
        alive, other = alive[near], other[near]
        low, high = np.maximum(box[alive, :2], box[other, :2]), np.minimum(box[alive, 2:], box[other, 2:])
        shared = (high - low).clip(0).prod(1)
        hit = shared >= _SAME_PLACE * (areas[alive] + areas[other] - shared)
        firsts.append(order[alive[hit]])
        seconds.append(order[other[hit]])
        step += 1
    pairs = np.sort(np.stack([np.concatenate([[], *firsts]), np.concatenate([[], *seconds])]), 0).astype(np.int64)
    first, second = pairs[:, np.lexsort(pairs[::-1])]
    return first, second
