"""What a model looked at in one image, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from engine.explanation.gates import Gate
from engine.inference.predictor import Detections

LARGEST_PX = 1280  # side of a picture


@dataclass(frozen=True)
class Explained:
    """What the model looked at in one image, as arrays.

    Attributes:
        image: (H, W, 3) uint8 RGB, as it was given.
        found: The detections that are explained, most confident first.
        names: From class number to class name.
        path: Where the image comes from.
        cams: (n, h, w) float32 in 0..1 over the network's input: LayerCAM of each detection; None if not asked for.
        gates: Of every attention layer; None if not asked for.
        features: Row and module -> (C, h, w) float16 of the first channels; None if not asked for.
        content_xyxy: The part of the network's input that the image fills, each in 0..1 of width and height.
        detections: How many detections the image has; more than `found` holds where only the first are explained.
        silent: Attention layers that hand out no gate, if gates were asked for.
    """

    image: np.ndarray
    found: Detections
    names: Mapping[int, str]
    path: str = ""
    cams: np.ndarray | None = None
    gates: tuple[Gate, ...] | None = None
    features: Mapping[str, np.ndarray] | None = None
    content_xyxy: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    detections: int = 0
    silent: tuple[str, ...] = ()

    @cached_property
    def picture(self) -> np.ndarray:
        """The image at no more than `LARGEST_PX` a side, for pictures of it."""
        height, width = self.image.shape[:2]
        scale = min(1.0, LARGEST_PX / max(height, width))
        if scale == 1.0:
            return self.image
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        return cv2.resize(self.image, size, interpolation=cv2.INTER_AREA)

    def cam(self, number: int) -> np.ndarray:
        """The heat map of a detection, (H, W) float32 in 0..1 over the image."""
        return self.on_image(self._cams()[number])

    def class_cam(self, class_id: int) -> np.ndarray:
        """The maximum over the heat maps of a class's detections, (H, W) float32 in 0..1.

        Raises:
            ValueError: If no detection is of that class.
        """
        chosen = self._cams()[self.found.class_ids == class_id]
        if not len(chosen):
            raise ValueError(f"no detection of class {class_id} in {self.path or 'this image'}")
        return self.on_image(chosen.max(0))

    def on_image(self, over_input: np.ndarray) -> np.ndarray:
        """A map over the network's input -> (H, W) float32 over the image, without the border of the letterbox."""
        height, width = self.image.shape[:2]
        rows, columns = over_input.shape
        left, top, right, bottom = self.content_xyxy
        # Pixel centres of the image in cells of the map.
        x = (left + (np.arange(width) + 0.5) / width * (right - left)) * columns - 0.5
        y = (top + (np.arange(height) + 0.5) / height * (bottom - top)) * rows - 0.5
        grid_x, grid_y = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
        return cv2.remap(
            over_input.astype(np.float32), grid_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )

    def _cams(self) -> np.ndarray:
        if self.cams is None:
            raise ValueError("there are no heat maps here; ask for kind 'cam'")
        return self.cams
