"""Mosaics of validation images with their labels and with the detections: val_batch*_labels.jpg and _pred.jpg."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from data.images import to_channels, write_image
from engine.drawing.boxes_on_images import Places, TextPainter, class_colour

if TYPE_CHECKING:
    from engine.validation.observer import EvaluatedBatch

MAX_BATCHES = 3
MAX_IMAGES = 16
MAX_SIDE_PX = 1920
MIN_CONFIDENCE = 0.25  # of the detections drawn
_WHITE = (255, 255, 255)


class Marks(NamedTuple):
    """Boxes to draw on one image."""

    boxes_xyxy_px: np.ndarray  # (n, 4)
    classes: np.ndarray  # (n,) for the colours
    texts: Sequence[str]


class MosaicWriter:
    """Observer of an evaluation that draws its first batches.

    Args:
        folder: Where val_batch0_labels.jpg, val_batch0_pred.jpg, … go.
        names: Class names by number.
    """

    def __init__(self, folder: Path, names: Mapping[int, str]) -> None:
        self.folder = folder
        self.names = names
        self.drawn = 0
        self._painter: TextPainter | None = None

    def __call__(self, batch: EvaluatedBatch) -> None:
        """Draw a batch unless enough were drawn."""
        if self.drawn == MAX_BATCHES:
            return
        images = batch.images[:MAX_IMAGES].permute(0, 2, 3, 1).cpu().numpy()  # (B, H, W, C)
        titles = [Path(path).name for path in batch.paths]
        self._painter = self._painter or TextPainter([*self.names.values(), *titles])
        labels = [Marks(rows[:, 1:], rows[:, 0], self._names(rows[:, 0])) for rows in batch.labels]
        found = [self._found(rows[rows[:, 4] > MIN_CONFIDENCE]) for rows in batch.detections]
        for kind, marks in (("labels", labels), ("pred", found)):
            mosaic = draw_mosaic(images, marks, titles, self._painter)
            write_image(self.folder / f"val_batch{self.drawn}_{kind}.jpg", mosaic, jpeg_quality=90)
        self.drawn += 1

    def _found(self, rows: np.ndarray) -> Marks:
        names = self._names(rows[:, 5])
        texts = [f"{name} {confidence:.1f}" for name, confidence in zip(names, rows[:, 4], strict=True)]
        return Marks(rows[:, :4], rows[:, 5], texts)

    def _names(self, classes: np.ndarray) -> list[str]:
        return [self.names.get(int(c), str(int(c))) for c in classes]


def draw_mosaic(images: np.ndarray, marks: Sequence[Marks], titles: Sequence[str], painter: TextPainter) -> np.ndarray:
    """Arrange images in a square grid, column by column, with boxes, class names and file names.

    Args:
        images: (B, H, W, C) uint8.
        marks: What to draw on each, in its pixels; later entries than images are ignored.
        titles: Name of each image.
        painter: Draws the text.

    Returns:
        (H', W', 3) uint8 RGB, at most `MAX_SIDE_PX` wide and high.
    """
    side = math.ceil(math.sqrt(len(images)))
    height, width = images.shape[1:3]
    scale = min(1.0, MAX_SIDE_PX / side / max(height, width))
    cell_h, cell_w = max(int(height * scale), 1), max(int(width * scale), 1)
    text_px = max(round((cell_h + cell_w) * side * 0.01 * 0.75), 9)
    mosaic = np.full((side * cell_h, side * cell_w, 3), 255, dtype=np.uint8)
    for i, image in enumerate(images):
        x, y = cell_w * (i // side), cell_h * (i % side)
        cell = np.ascontiguousarray(to_channels(image, 3))
        if scale < 1:
            cell = cv2.resize(cell, (cell_w, cell_h), interpolation=cv2.INTER_AREA)
        elif cell is image:
            cell = cell.copy()
        title_w, title_h = painter.size(titles[i][:40], text_px)
        places = Places(cell_w, cell_h)
        places.take(5, 5, title_w + 4, title_h)
        _draw_marks(cell, marks[i], scale, text_px, painter, places)
        _tag(cell, titles[i][:40], (5, 5), text_px, (0, 0, 0), painter)
        cv2.rectangle(cell, (0, 0), (cell_w - 1, cell_h - 1), _WHITE, 1)
        mosaic[y : y + cell_h, x : x + cell_w] = cell
    return mosaic


def _draw_marks(
    cell: np.ndarray, marks: Marks, scale: float, text_px: int, painter: TextPainter, places: Places
) -> None:
    """Draw boxes, the first (most confident) on top, and then texts, which do not cover each other."""
    thickness = max(round(text_px / 8), 1)
    corners = np.rint(marks.boxes_xyxy_px * scale).astype(int).tolist()
    colours = [class_colour(int(c)) for c in marks.classes]
    for (x1, y1, x2, y2), colour in zip(reversed(corners), reversed(colours), strict=True):
        cv2.rectangle(cell, (x1, y1), (x2, y2), colour, thickness)
    for (x1, y1, _, _), colour, text in zip(corners, colours, marks.texts, strict=True):
        width, height = painter.size(text, text_px)
        _tag(cell, text, places.free((x1, y1), width + 4, height), text_px, colour, painter)


def _tag(
    cell: np.ndarray,
    text: str,
    left_top: tuple[int, int],
    text_px: int,
    background: tuple[int, int, int],
    painter: TextPainter,
) -> None:
    """Write on a filled bar inside the picture, in black or white, whichever stands out."""
    width, height = painter.size(text, text_px)
    x, y = min(max(left_top[0], 0), max(cell.shape[1] - width - 4, 0)), max(left_top[1], 0)
    cv2.rectangle(cell, (x, y), (x + width + 3, y + height), background, cv2.FILLED)
    ink = (0, 0, 0) if np.dot(background, (0.299, 0.587, 0.114)) > 140 else (255, 255, 255)
    painter.draw(cell, text, (x + 2, y), text_px, ink)
