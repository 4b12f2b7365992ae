"""What an evaluation shows of each batch to whoever watches it: pictures, label files, the page of worst images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from torch import Tensor

from data.images import unletterbox

if TYPE_CHECKING:
    from data.loading.loader import ImageShape


class EvaluatedBatch(NamedTuple):
    """What an observer of the evaluation sees of each batch.

    Attributes:
        images: (B, C, H, W) uint8, letterboxed.
        labels: For each image (m, 5): class, x1, y1, x2, y2 in pixels of the letterboxed image.
        detections: For each image (n, 6): x1, y1, x2, y2, confidence, class in pixels of the letterboxed image.
        native: The detections in pixels of the original image, clipped to it.
        paths: Image files.
        shapes: How each image was letterboxed.
    """

    images: Tensor
    labels: list[np.ndarray]
    detections: list[np.ndarray]
    native: list[np.ndarray]
    paths: Sequence[str]
    shapes: Sequence[ImageShape]

    @property
    def native_labels(self) -> list[np.ndarray]:
        """The labels in pixels of the original image, clipped to it."""
        pairs = zip(self.labels, self.shapes, strict=True)
        return [np.concatenate((rows[:, :1], to_original(rows[:, 1:], shape)), 1) for rows, shape in pairs]


def to_original(boxes_xyxy_px: np.ndarray, shape: ImageShape) -> np.ndarray:
    """Boxes of a letterboxed image (n, 4) in pixels of the original one, clipped to it."""
    return unletterbox(boxes_xyxy_px, shape.original_hw, shape.ratio, shape.pad_xy)


Observer = Callable[[EvaluatedBatch], None]
