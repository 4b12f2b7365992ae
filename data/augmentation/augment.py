"""Augmentation of images and their boxes, with YOLOv5's distributions.

Every random choice is drawn from the generator that is passed in. Images are (H, W, 3) uint8 RGB; an object is a row
`[class, x1, y1, x2, y2]` in pixels, with a polygon where its label file has one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from data.hyp import Hyperparameters
from data.images import FILL

MIN_SIDE_PX = 2  # a warped box must be wider and higher than this
MAX_ASPECT = 100  # and less elongated than this
MIN_AREA_KEPT = 0.10  # and keep more than this fraction of its zoomed area
MIN_AREA_KEPT_POLYGON = 0.01
_POLYGON_POINTS = 1000  # resampling of a polygon's outline before it is warped

Polygons = list[np.ndarray | None]  # one (k, 2) outline in pixels, or None, per object


@dataclass(frozen=True)
class AugmentConfig:
    """The augmentation part of the hyperparameters; names, units and limits are theirs."""

    hsv_h: float = 0.0
    hsv_s: float = 0.0
    hsv_v: float = 0.0
    degrees: float = 0.0
    translate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    perspective: float = 0.0
    flipud: float = 0.0
    fliplr: float = 0.0
    mosaic: float = 0.0
    mixup: float = 0.0
    copy_paste: float = 0.0

    @classmethod
    def from_hyp(cls, hyp: Hyperparameters) -> AugmentConfig:
        """Take what concerns augmentation out of a set of hyperparameters."""
        return cls(**{name: getattr(hyp, name) for name in cls.__dataclass_fields__})


class Sample(NamedTuple):
    """An image with its objects."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    labels: np.ndarray  # (n, 5) float32: class, x1, y1, x2, y2 in pixels
    polygons: Polygons | None = None  # None where no object has one


class Warp(NamedTuple):
    """A random change of view."""

    matrix: np.ndarray  # (3, 3): input pixel (x, y, 1) -> output pixel
    zoom: float  # the part of it that scales
    out_hw: tuple[int, int]


def draw_warp(rng: np.random.Generator, config: AugmentConfig, in_hw: tuple[int, int], out_hw: tuple[int, int]) -> Warp:
    """Draw perspective, rotation, zoom, shear and shift, in that order of application.

    Args:
        rng: Source of randomness.
        config: Ranges.
        in_hw: Size of the image to be warped; its centre is the fixed point.
        out_hw: Size of the result.
    """
    centre = np.eye(3)
    centre[:2, 2] = -in_hw[1] / 2, -in_hw[0] / 2
    perspective = np.eye(3)
    perspective[2, :2] = rng.uniform(-config.perspective, config.perspective, 2)
    angle = math.radians(rng.uniform(-config.degrees, config.degrees))
    zoom = rng.uniform(1 - config.scale, 1 + config.scale)
    cosine, sine = zoom * math.cos(angle), zoom * math.sin(angle)
    rotation = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1.0]])
    shear = np.eye(3)
    shear[0, 1], shear[1, 0] = np.tan(np.radians(rng.uniform(-config.shear, config.shear, 2)))
    shift = np.eye(3)
    shift[:2, 2] = rng.uniform(0.5 - config.translate, 0.5 + config.translate, 2) * (out_hw[1], out_hw[0])
    return Warp(shift @ shear @ rotation @ perspective @ centre, zoom, out_hw)


def apply_warp(sample: Sample, warp: Warp) -> Sample:
    """Warp an image and its objects, and drop the objects that are no longer worth learning.

    Args:
        sample: What to warp; left alone.
        warp: From `draw_warp`.

    Returns:
        The warped image, grey outside the old one, and the objects that pass `keep_boxes`, clipped to the image.
    """
    height, width = warp.out_hw
    matrix = warp.matrix
    image = sample.image
    projective = bool(matrix[2, 0] or matrix[2, 1])
    if image.shape[:2] != warp.out_hw or not np.array_equal(matrix, np.eye(3)):
        fill = (FILL, FILL, FILL)
        if projective:
            image = cv2.warpPerspective(image, matrix, (width, height), borderValue=fill)
        else:
            image = cv2.warpAffine(image, matrix[:2], (width, height), borderValue=fill)
    if not len(sample.labels):
        return Sample(image, sample.labels, sample.polygons and [])
    before = sample.labels[:, 1:]
    after = warp_boxes(before, matrix, warp.out_hw)
    area_kept: float | np.ndarray = MIN_AREA_KEPT
    polygons = sample.polygons
    if polygons is not None:
        area_kept = np.full(len(before), MIN_AREA_KEPT)
        polygons = [None if outline is None else warp_points(_resample(outline), matrix) for outline in polygons]
        for row, outline in enumerate(polygons):
            if outline is not None:
                after[row] = _box_of_visible(outline, width, height)
                area_kept[row] = MIN_AREA_KEPT_POLYGON
    keep = keep_boxes(before * warp.zoom, after, area_kept)
    labels = np.concatenate((sample.labels[keep, :1], after[keep].astype(np.float32)), 1)
    return Sample(image, labels, polygons and [outline for outline, kept in zip(polygons, keep, strict=True) if kept])


def warp_points(points_xy: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Map (n, 2) points through a (3, 3) matrix."""
    mapped = points_xy @ matrix[:, :2].T + matrix[:, 2]
    return mapped[:, :2] / mapped[:, 2:] if matrix[2, 0] or matrix[2, 1] else mapped[:, :2]


def warp_boxes(boxes_xyxy_px: np.ndarray, matrix: np.ndarray, out_hw: tuple[int, int]) -> np.ndarray:
    """Return the upright boxes around the four warped corners of each box, clipped to the output image.

    Args:
        boxes_xyxy_px: (n, 4) corners.
        matrix: (3, 3).
        out_hw: Size of the output image.
    """
    corners = boxes_xyxy_px[:, [0, 1, 2, 3, 0, 3, 2, 1]].reshape(-1, 2)  # (4n, 2)
    corners = warp_points(corners, matrix).reshape(-1, 4, 2)
    boxes = np.concatenate((corners.min(1), corners.max(1)), 1)
    boxes[:, 0::2] = boxes[:, 0::2].clip(0, out_hw[1])
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, out_hw[0])
    return boxes


def keep_boxes(before_xyxy: np.ndarray, after_xyxy: np.ndarray, area_kept: float | np.ndarray) -> np.ndarray:
    """Tell which boxes are still worth learning after a warp.

    Args:
        before_xyxy: (n, 4) boxes before, already zoomed.
        after_xyxy: (n, 4) boxes after, clipped to the image.
        area_kept: Fraction of the area before that must remain.

    Returns:
        (n,) bool.
    """
    before_w, before_h = (before_xyxy[:, 2:] - before_xyxy[:, :2]).T
    width, height = (after_xyxy[:, 2:] - after_xyxy[:, :2]).T
    tiny = 1e-16
    aspect = np.maximum(width / (height + tiny), height / (width + tiny))
    kept = width * height / (before_w * before_h + tiny)
    return (width > MIN_SIDE_PX) & (height > MIN_SIDE_PX) & (kept > area_kept) & (aspect < MAX_ASPECT)


def mixup(rng: np.random.Generator, first: Sample, second: Sample) -> Sample:
    """Blend two images of the same size and keep the objects of both (Zhang et al. 2018, with Beta(32, 32))."""
    share = rng.beta(32.0, 32.0)
    # The original truncates the blend; -0.5 makes OpenCV's rounding do the same.
    image = cv2.addWeighted(first.image, share, second.image, 1 - share, -0.5)
    polygons = None
    if first.polygons is not None or second.polygons is not None:
        polygons = [*polygons_of(first), *polygons_of(second)]
    return Sample(image, np.concatenate((first.labels, second.labels)), polygons)


def polygons_of(sample: Sample) -> Polygons:
    """Return one outline or None per object."""
    return sample.polygons if sample.polygons is not None else [None] * len(sample.labels)


def change_colour(rng: np.random.Generator, config: AugmentConfig, image: np.ndarray) -> np.ndarray:
    """Multiply hue, saturation and value by random gains around one; leaves `image` alone."""
    if not (config.hsv_h or config.hsv_s or config.hsv_v):
        return image
    gains = 1 + rng.uniform(-1, 1, 3) * (config.hsv_h, config.hsv_s, config.hsv_v)
    levels = np.arange(256)
    table = np.empty((1, 256, 3), np.uint8)
    table[0, :, 0] = levels * gains[0] % 180  # OpenCV's 8-bit hue is in units of two degrees
    table[0, :, 1] = np.minimum(levels * gains[1], 255)
    table[0, :, 2] = np.minimum(levels * gains[2], 255)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    return cv2.cvtColor(cv2.LUT(hsv, table, dst=hsv), cv2.COLOR_HSV2RGB)


def draw_flips(rng: np.random.Generator, config: AugmentConfig) -> tuple[bool, bool]:
    """Draw whether to turn the image upside down and whether to mirror it left to right."""
    return rng.random() < config.flipud, rng.random() < config.fliplr


def flip_image(image: np.ndarray, up_down: bool, left_right: bool) -> np.ndarray:
    """Flip an image; returns it as it is when there is nothing to do."""
    if not up_down and not left_right:
        return image
    return cv2.flip(image, -1 if up_down and left_right else 0 if up_down else 1)


def flip_boxes(boxes_cxcywh_norm: np.ndarray, up_down: bool, left_right: bool) -> None:
    """Flip (n, 4) boxes in place."""
    if left_right:
        boxes_cxcywh_norm[:, 0] = 1 - boxes_cxcywh_norm[:, 0]
    if up_down:
        boxes_cxcywh_norm[:, 1] = 1 - boxes_cxcywh_norm[:, 1]


def paste_mirrored(rng: np.random.Generator, share: float, sample: Sample) -> Sample:
    """Paste mirrored copies of objects cut out along their polygons (Ghiasi et al. 2021, arXiv:2012.07177).

    Args:
        rng: Source of randomness.
        share: Fraction of the objects with a polygon to try.
        sample: Image and objects; the image is written into.

    Returns:
        The image with the copies and all objects. A copy that would hide 30 % of any object is left out.
    """
    candidates = [row for row, outline in enumerate(polygons_of(sample)) if outline is not None]
    count = round(share * len(candidates))
    if not count:
        return sample
    image, labels, polygons = sample.image, sample.labels, list(polygons_of(sample))
    width = image.shape[1]
    mask = np.zeros(image.shape[:2], np.uint8)
    for row in rng.choice(candidates, count, replace=False):
        name, x1, y1, x2, y2 = labels[row]
        copy = np.array([name, width - x2, y1, width - x1, y2], np.float32)
        if (_hidden_fraction(copy[1:], labels[:, 1:]) < 0.30).all():
            labels = np.concatenate((labels, copy[None]))
            outline = polygons[row]
            polygons.append(np.stack((width - outline[:, 0], outline[:, 1]), 1))
            cv2.drawContours(mask, [outline.astype(np.int32)], -1, 1, cv2.FILLED)
    np.copyto(image, cv2.flip(image, 1), where=cv2.flip(mask, 1)[..., None].astype(bool))
    return Sample(image, labels, polygons)


def _hidden_fraction(box_xyxy: np.ndarray, others_xyxy: np.ndarray) -> np.ndarray:
    """Return which fraction of each (n, 4) box a (4,) box covers."""
    size = np.minimum(box_xyxy[2:], others_xyxy[:, 2:]) - np.maximum(box_xyxy[:2], others_xyxy[:, :2])
    area = (others_xyxy[:, 2:] - others_xyxy[:, :2]).prod(1)
    return size.clip(0).prod(1) / (area + 1e-7)


def _resample(outline_xy: np.ndarray) -> np.ndarray:
    """Spread points along a closed (k, 2) outline, equally many per edge."""
    closed = np.concatenate((outline_xy, outline_xy[:1]))
    at = np.linspace(0, len(closed) - 1, _POLYGON_POINTS)
    known = np.arange(len(closed))
    return np.stack([np.interp(at, known, closed[:, axis]) for axis in range(2)], 1)


def _box_of_visible(points_xy: np.ndarray, width: int, height: int) -> Sequence[float]:
    """Return the box around the points inside the image, all zero where none is."""
    inside = ((points_xy >= 0) & (points_xy <= (width, height))).all(1)
    visible = points_xy[inside]
    return (*visible.min(0), *visible.max(0)) if len(visible) else (0.0, 0.0, 0.0, 0.0)
