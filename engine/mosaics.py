"""Mosaics of validation images with their labels and with the detections: val_batch*_labels.jpg and _pred.jpg."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from data.images import write_image

if TYPE_CHECKING:
    from engine.evaluator import EvaluatedBatch

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

    def __call__(self, batch: EvaluatedBatch) -> None:
        """Draw a batch unless enough were drawn."""
        if self.drawn == MAX_BATCHES:
            return
        images = batch.images[:MAX_IMAGES].permute(0, 2, 3, 1).cpu().numpy()  # (B, H, W, 3)
        titles = [Path(path).name for path in batch.paths]
        labels = [Marks(rows[:, 1:], rows[:, 0], self._names(rows[:, 0])) for rows in batch.labels]
        found = [self._found(rows[rows[:, 4] > MIN_CONFIDENCE]) for rows in batch.detections]
        for kind, marks in (("labels", labels), ("pred", found)):
            mosaic = draw_mosaic(images, marks, titles)
            write_image(self.folder / f"val_batch{self.drawn}_{kind}.jpg", mosaic, jpeg_quality=90)
        self.drawn += 1

    def _found(self, rows: np.ndarray) -> Marks:
        names = self._names(rows[:, 5])
        texts = [f"{name} {confidence:.1f}" for name, confidence in zip(names, rows[:, 4], strict=True)]
        return Marks(rows[:, :4], rows[:, 5], texts)

    def _names(self, classes: np.ndarray) -> list[str]:
        return [self.names.get(int(c), str(int(c))) for c in classes]


def draw_mosaic(images: np.ndarray, marks: Sequence[Marks], titles: Sequence[str]) -> np.ndarray:
    """Arrange images in a square grid, column by column, with boxes, class names and file names.

    Args:
        images: (B, H, W, 3) uint8 RGB.
        marks: What to draw on each, in its pixels; later entries than images are ignored.
        titles: Name of each image.

    Returns:
        (H', W', 3) uint8 RGB, at most `MAX_SIDE_PX` wide and high.
    """
    side = math.ceil(math.sqrt(len(images)))
    height, width = images.shape[1:3]
    scale = min(1.0, MAX_SIDE_PX / side / max(height, width))
    cell_h, cell_w = max(int(height * scale), 1), max(int(width * scale), 1)
    font_px = max(round((cell_h + cell_w) * side * 0.01 * 0.75), 9)
    mosaic = np.full((side * cell_h, side * cell_w, 3), 255, dtype=np.uint8)
    for i, image in enumerate(images):
        x, y = cell_w * (i // side), cell_h * (i % side)
        cell = np.ascontiguousarray(image)
        if scale < 1:
            cell = cv2.resize(cell, (cell_w, cell_h), interpolation=cv2.INTER_AREA)
        elif cell is image:
            cell = cell.copy()
        _text(cell, titles[i][:40], (5, 5), font_px, (0, 0, 0))
        _draw_marks(cell, marks[i], scale, font_px)
        cv2.rectangle(cell, (0, 0), (cell_w - 1, cell_h - 1), _WHITE, 1)
        mosaic[y : y + cell_h, x : x + cell_w] = cell
    return mosaic


def class_colour(class_id: int) -> tuple[int, int, int]:
    """A saturated RGB colour; neighbouring class numbers get distant hues (steps of the golden ratio)."""
    hue = (class_id * 0.618034) % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, 0.9)
    return int(red * 255), int(green * 255), int(blue * 255)


def _draw_marks(cell: np.ndarray, marks: Marks, scale: float, font_px: int) -> None:
    """Draw boxes and texts, the first (most confident) on top."""
    thickness = max(round(font_px / 8), 1)
    corners = np.rint(marks.boxes_xyxy_px * scale).astype(int)
    for (x1, y1, x2, y2), c, text in reversed(list(zip(corners.tolist(), marks.classes, marks.texts, strict=True))):
        colour = class_colour(int(c))
        cv2.rectangle(cell, (x1, y1), (x2, y2), colour, thickness, cv2.LINE_AA)
        line_px = round(font_px * 1.3)
        _text(cell, text, (x1, y1 - line_px if y1 >= line_px else y1), font_px, colour)


def _text(
    image: np.ndarray, text: str, left_top: tuple[int, int], size_px: int, background: tuple[int, int, int]
) -> None:
    """Write white text on a filled bar, inside the image. OpenCV 5 has a font for all scripts, OpenCV 4 for ASCII."""
    x, y = max(left_top[0], 0), max(left_top[1], 0)
    if hasattr(cv2, "FontFace"):
        font = cv2.FontFace("uni")
        width = cv2.getTextSize((0, 0), text, (0, 0), font, size_px)[2]
    else:
        text = text.encode("ascii", "replace").decode()
        font, font_scale = cv2.FONT_HERSHEY_SIMPLEX, size_px / 30
        width = cv2.getTextSize(text, font, font_scale, 1)[0][0]
    x = min(x, max(image.shape[1] - width - 4, 0))
    cv2.rectangle(image, (x, y), (x + width + 3, y + round(size_px * 1.3)), background, -1)
    base = (x + 2, y + size_px)
    if hasattr(cv2, "FontFace"):
        cv2.putText(image, text, base, _WHITE, font, size_px)
    else:
        cv2.putText(image, text, base, font, font_scale, _WHITE, 1, cv2.LINE_AA)
