"""Samples: the images of a split, resized, augmented and with their boxes.

Randomness belongs to the sample: a generator seeded with (seed, epoch, index) makes every choice for it. So the number
of workers changes nothing, and a run that is resumed at epoch n sees what an uninterrupted one sees.
"""

from __future__ import annotations

import math
import sys
from functools import partial
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from data.augmentation.augment import (
    AugmentConfig,
    Polygons,
    Sample,
    apply_warp,
    change_colour,
    draw_flips,
    draw_warp,
    flip_boxes,
    flip_image,
    mixup,
)
from data.augmentation.mosaic import Tile, make_mosaic
from data.augmentation.pixel_transforms import apply_pixel_transforms, draw_active, is_available
from data.boxes import clip_boxes, convert_boxes
from data.dataset.label_scan import LabelScan
from data.images import FILL, ImageReadError, letterbox, read_image, with_axis
from data.loading.decoded_image_cache import DiskCache, MemoryCache, fits_easily, fits_in_memory, workers_are_forked
from files.text import printable

_CLIP_PX = 1e-3  # boxes end this far inside the image, as the original's do


class ImageShape(NamedTuple):
    """How an image was placed in its batch; `data.images.unletterbox` takes these to map boxes back."""

    original_hw: tuple[int, int]
    ratio: float  # new / old height; the original uses it for both axes
    pad_xy: tuple[float, float]


class Item(NamedTuple):
    """One sample."""

    image: np.ndarray  # (C, H, W) uint8
    targets: np.ndarray  # (n, 5) float32: class, cx, cy, w, h normalised
    path: str
    shape: ImageShape


class DetectionDataset(Dataset[Item]):
    """The images of a split, resized, augmented and with their boxes.

    Indexed by `(epoch, index)`, or `(epoch, index, n)` for its n-th repetition; a plain index means epoch 0. An image
    that cannot be read is replaced by the next one when augmenting, and by a grey image without objects otherwise;
    `unreadable` names it.

    Args:
        scan: Images and labels.
        image_px: Longer side of the images; side of the square results.
        seed: Seed of every sample's randomness.
        augment: Augmentation, or None for plain letterboxing.
        batch_shapes: (batches, 2) height and width of each batch of `batch_size` images, or None for squares.
        batch_size: Images per entry of `batch_shapes`.
        channels: Of the images, as in `data.images.read_image`.
    """

    def __init__(
        self,
        scan: LabelScan,
        *,
        image_px: int,
        seed: int = 0,
        augment: AugmentConfig | None = None,
        batch_shapes: np.ndarray | None = None,
        batch_size: int = 1,
        channels: int = 3,
    ) -> None:
        self.paths, self.labels, self.polygons = scan.paths, scan.labels, scan.polygons
        self.shapes, self.report = scan.shapes_wh, scan.report
        self.image_px, self.seed, self.augment = image_px, seed, augment
        self.batch_shapes, self.batch_size, self.channels = batch_shapes, batch_size, channels
        self.cache: MemoryCache | DiskCache | None = None
        self.resized_hw = np.array([_resized_hw(w, h, image_px) for w, h in self.shapes.tolist()]).reshape(-1, 2)
        boxes = [convert_boxes(rows[:, 1:], "cxcywh_norm", "xyxy_norm") for rows in self.labels]
        self._corners = [np.concatenate((rows[:, :1], b), 1) for rows, b in zip(self.labels, boxes, strict=True)]
        self._pixel_transforms = augment is not None and is_available()
        self._has_polygons = any(outline is not None for outlines in self.polygons for outline in outlines)
        self._failed = torch.zeros(len(self.paths), dtype=torch.uint8).share_memory_()  # written by the workers too

    @property
    def unreadable(self) -> list[str]:
        """Images that could not be read so far, in this process or in a worker."""
        return [path for path, failed in zip(self.paths, self._failed.tolist(), strict=True) if failed]

    def use_cache(self, kind: str, *, copies: int = 1, progress: bool = True) -> None:
        """Decode every image once and keep it.

        Args:
            kind: "ram" and "disk" decode all images now; without enough memory "ram" says so and does nothing. "auto"
                keeps in memory what has been read, if all fits easily and workers share memory.
            copies: Processes that do the same and have to fit in memory together.
            progress: Show a progress bar.
        """
        title = self.report.split
        if kind == "disk":
            method = "linear" if self.augment is not None else "area"
            name = f"{self.image_px}-{method}" + (f"-{self.channels}ch" if self.channels != 3 else "")
            self.cache = DiskCache(self.paths, self._decode, kind=name, title=title, progress=progress)
            return
        needed_bytes = int(self.resized_hw.prod(1).sum()) * self.channels * copies
        if kind == "ram" and fits_in_memory(needed_bytes, title):
            self.cache = MemoryCache(self.resized_hw, self.channels)
            self.cache.fill(self._decode, title=title, progress=progress)
        elif kind == "auto" and workers_are_forked() and fits_easily(needed_bytes):
            self.cache = MemoryCache(self.resized_hw, self.channels)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, key: tuple[int, ...] | int) -> Item:
        epoch, index, *repetition = key if isinstance(key, tuple) else (0, key)
        if self.augment is None:
            return self._plain(index)
        while True:
            try:
                return self._augmented(
                    np.random.default_rng([self.seed, epoch, index, *repetition]), index, self.augment
                )
            except ImageReadError:
                continue  # the image is marked now: the same choices again, with the next one in its place

    def _plain(self, index: int) -> Item:
        """Letterbox an image; small ones are padded, not enlarged beyond `image_px`."""
        try:
            sample, shape = self._letterboxed(index, scale_up=False)
        except ImageReadError:
            grey = np.full((self.channels, *self._out_hw(index)), FILL, np.uint8)
            shape = ImageShape(self._original_hw(index), 1.0, (0.0, 0.0))
            return Item(grey, np.zeros((0, 5), np.float32), self.paths[index], shape)
        return Item(_channels_first(sample.image), _normalised(sample), self.paths[index], shape)

    def _augmented(self, rng: np.random.Generator, index: int, config: AugmentConfig) -> Item:
        """Mosaic or single image, then colour and flips, in YOLOv5's order."""
        index = self._readable(index)
        if self.batch_shapes is None and rng.random() < config.mosaic:
            shape = ImageShape(self._original_hw(index), 1.0, (0.0, 0.0))
            sample = self._mosaic(rng, index, config)
            if rng.random() < config.mixup:
                sample = mixup(rng, sample, self._mosaic(rng, self._draw(rng), config))
        else:
            sample, shape = self._letterboxed(index, scale_up=True)
            hw = sample.image.shape[:2]
            sample = apply_warp(sample, draw_warp(rng, config, hw, hw))
        targets = _normalised(sample)
        image = sample.image
        if self._pixel_transforms:
            image = apply_pixel_transforms(rng, draw_active(rng, self.channels), image)
        image = change_colour(rng, config, image)
        flips = draw_flips(rng, config)
        flip_boxes(targets[:, 1:], *flips)
        return Item(_channels_first(flip_image(image, *flips)), targets, self.paths[index], shape)

    def _mosaic(self, rng: np.random.Generator, index: int, config: AugmentConfig) -> Sample:
        """Combine an image with three drawn from the whole set."""
        tiles = []
        for number in (index, *(self._draw(rng) for _ in range(3))):
            height, width = self.resized_hw[number].tolist()
            tiles.append(Tile((height, width), *self._objects(number), partial(self._image, number)))
        return make_mosaic(rng, config, tiles, self.image_px, self.channels)

    def _letterboxed(self, index: int, *, scale_up: bool) -> tuple[Sample, ImageShape]:
        """Put an image into its batch's shape."""
        image = self._image(index)
        boxed = letterbox(image, self._out_hw(index), scale_up=scale_up)
        labels, polygons = self._objects(index)
        labels[:, 1:] = labels[:, 1:] * boxed.ratio + (boxed.pad_xy_px * 2)
        if polygons is not None:
            polygons = [
                None if line is None else line * boxed.ratio + np.asarray(boxed.pad_xy_px, np.float32)
                for line in polygons
            ]
        original_hw = self._original_hw(index)
        ratio = image.shape[0] / original_hw[0] * boxed.ratio
        return Sample(boxed.image, labels, polygons), ImageShape(original_hw, ratio, boxed.pad_xy_px)

    def _draw(self, rng: np.random.Generator) -> int:
        return self._readable(int(rng.integers(len(self))))

    def _readable(self, index: int) -> int:
        """Return an index or, where that image cannot be read, the next one that can."""
        for candidate in (*range(index, len(self)), *range(index)) if self._failed[index] else (index,):
            if not self._failed[candidate]:
                return candidate
        raise ValueError(
            f"{self.report.split}: none of {len(self)} images can be read any more; first: {self.paths[0]}"
        )

    def _original_hw(self, index: int) -> tuple[int, int]:
        width, height = self.shapes[index].tolist()
        return height, width

    def _out_hw(self, index: int) -> tuple[int, int]:
        if self.batch_shapes is None:
            return self.image_px, self.image_px
        height, width = self.batch_shapes[index // self.batch_size].tolist()
        return height, width

    def _objects(self, index: int) -> tuple[np.ndarray, Polygons | None]:
        """Return (n, 5) class and corners in pixels of the resized image, and the outlines if the set has any."""
        height, width = self.resized_hw[index].tolist()
        labels = self._corners[index] * np.array([1, width, height, width, height], np.float32)
        if not self._has_polygons:
            return labels, None
        size = np.array([width, height], np.float32)
        return labels, [None if outline is None else outline * size for outline in self.polygons[index]]

    def _image(self, index: int) -> np.ndarray:
        """Return an image resized to a longer side of `image_px`, not to be written into."""
        image = self.cache.get(index) if self.cache is not None else None
        if image is None or image.shape[:2] != tuple(self.resized_hw[index]):
            image = self._decode(index)
            if isinstance(self.cache, MemoryCache):
                self.cache.put(index, image)
        return image

    def _decode(self, index: int) -> np.ndarray:
        """Read and resize an image; marks it where that fails or it is not the size that was scanned."""
        try:
            image = read_image(self.paths[index], self.channels)
            if image.shape[:2] != self._original_hw(index):
                raise ImageReadError(f"{self.paths[index]}: has changed its size since it was scanned")
        except ImageReadError as error:
            if not self._failed[index]:
                print(printable(f"{error}; left out from now on"), file=sys.stderr, flush=True)
            self._failed[index] = 1
            raise
        height, width = self.resized_hw[index].tolist()
        if (height, width) == image.shape[:2]:
            return image
        shrinks = max(image.shape[:2]) > self.image_px
        method = cv2.INTER_AREA if shrinks and self.augment is None else cv2.INTER_LINEAR
        return with_axis(cv2.resize(image, (width, height), interpolation=method))


def _resized_hw(width: int, height: int, longer_px: int) -> tuple[int, int]:
    """Return height and width for a longer side of `longer_px`, rounded up as in the original."""
    ratio = longer_px / max(height, width)
    return (height, width) if ratio == 1 else (math.ceil(height * ratio), math.ceil(width * ratio))


def _normalised(sample: Sample) -> np.ndarray:
    """Return (n, 5) class, cx, cy, w, h of the part of each box inside the image."""
    height, width = sample.image.shape[:2]
    labels = sample.labels
    if len(labels):
        inside = clip_boxes(labels[:, 1:], width - _CLIP_PX, height - _CLIP_PX)
        labels[:, 1:] = convert_boxes(inside, "xyxy_px", "cxcywh_norm", width, height)
    return labels


def _channels_first(image: np.ndarray) -> np.ndarray:
    """(H, W, C) -> contiguous (C, H, W)."""
    result = np.empty((image.shape[2], *image.shape[:2]), np.uint8)
    planes: list[Any] = list(result)  # views, which OpenCV fills
    cv2.split(image, planes)
    return result
