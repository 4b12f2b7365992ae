"""What the model looked at where an evaluation has detections: for the page of worst images and for compare.py's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from data.images import letterbox, read_image, to_channels
from engine.explanation import Explainer, Explanation, usual_kinds
from engine.explanation.gate_maps import by_layer
from engine.explanation.pictures import gate_picture, overlay
from engine.inference.predictor import Detections, Prepared
from models.yolo import DetectionModel

MOST_BOXES = 5  # explained in an image, a backward pass each


class ImageExplainer:
    """Explains detections of an evaluation: cams, and gates where the model has attention.

    Args:
        model: Layers not fused; it goes into eval mode.
        names: Class names by number.
        image_px: Longest side of the network's input, a multiple of the stride.
    """

    def __init__(self, model: DetectionModel, names: Mapping[int, str], image_px: int) -> None:
        self._explainer = Explainer(model, names, usual_kinds(model))
        self._image_px, self._stride_px, self._channels = image_px, model.stride_px, model.channels

    def __call__(self, path: str, rows: np.ndarray) -> Explanation:
        """Explain the most confident detections of an image.

        Args:
            path: The image.
            rows: (n, 6) x1, y1, x2, y2 in its pixels, confidence, class; most confident first.

        Raises:
            ImageReadError: If the image cannot be read.
        """
        image, side = read_image(path), (self._image_px, self._image_px)
        fitted = letterbox(to_channels(image, self._channels), side, stride=self._stride_px, auto=True)
        rows = rows[:MOST_BOXES].astype(np.float32)
        found = Detections(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64))
        return self._explainer(Prepared(fitted, image.shape[:2]), to_channels(image, 3), found, path)

    def save(self, path: str, rows: np.ndarray, folder: Path) -> None:
        """Write the explanation of an image as pictures and a page, `index.html`."""
        self(path, rows).save(folder)


def cam_and_gates(explanation: Explanation, width_px: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """An explanation in two pictures (h, width_px, 3): the maximum over its cams, and its gates from layer to layer.

    None where there is no detection, or no attention.
    """
    cam = gates = None
    if explanation.cams is not None and len(explanation.cams):
        cam = _wide(overlay(explanation.image, explanation.on_image(explanation.cams.max(0))), width_px)
    if explanation.gates:
        layers = [_wide(gate_picture(explanation, one), width_px) for one in by_layer(explanation.gates)]
        gates = np.concatenate(layers)
    return cam, gates


def _wide(picture: np.ndarray, width_px: int) -> np.ndarray:
    scale = width_px / picture.shape[1]
    return cv2.resize(picture, (width_px, max(round(picture.shape[0] * scale), 1)), interpolation=cv2.INTER_AREA)
