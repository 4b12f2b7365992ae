"""One street scene: from (seed, split, index) to pixels and boxes."""

from typing import NamedTuple

import cv2
import numpy as np

from data.synth.options import CLASS_NAMES
from data.synth.plan import image_rng, planned_counts


class Rendered(NamedTuple):
    """One drawn image and the objects that can be seen in it."""

    image: np.ndarray  # uint8 (H, W, 3) RGB
    classes: np.ndarray  # int64 (n,)
    boxes_xyxy_px: np.ndarray  # float64 (n, 4), tight around the visible part
    masks: list[np.ndarray]  # float32 (H, W) visible coverage 0..1, one per object
    jpeg_quality: int

    @property
    def boxes_cxcywh_norm(self) -> np.ndarray:
        """The boxes as centre and size, as fractions of the image."""
        height, width = self.image.shape[:2]
        x1, y1, x2, y2 = self.boxes_xyxy_px.reshape(-1, 4).T / np.array([width, height, width, height])[:, None]
        return np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], axis=1)


def render(seed: int, split: str, index: int, image_px: tuple[int, int]) -> Rendered:
    """Draw image `index` of `split`; equal arguments give equal pixels."""
    rng = image_rng(seed, split, index)
    width, height = image_px
    image = np.full((height, width, 3), 150, np.uint8)
    image[height // 2 :] = 90
    classes, boxes, masks = [], [], []
    for class_id in range(len(CLASS_NAMES)):
        for _ in range(planned_counts(seed, split, index)[class_id]):
            radius = int(rng.integers(6, height // 6))
            low = height // 2 if class_id in (1, 2) else radius
            high = max(low + 1, height - radius if class_id in (1, 2) else height // 2)
            x, y = int(rng.integers(radius, width - radius)), int(rng.integers(low, high))
            mask = np.zeros((height, width), np.uint8)
            colour = _symbol(mask, class_id, x, y, radius)
            image[mask > 0] = colour
            ys, xs = np.nonzero(mask)
            classes.append(class_id)
            boxes.append([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
            masks.append((mask > 0).astype(np.float32))
    noise = rng.normal(0, 6, image.shape)
    image = np.clip(image + noise, 0, 255).astype(np.uint8)
    return Rendered(image, np.array(classes, dtype=np.int64), np.array(boxes, float).reshape(-1, 4), masks, 85)


def _symbol(mask: np.ndarray, class_id: int, x: int, y: int, r: int) -> tuple[int, int, int]:
    if class_id == 0:
        cv2.rectangle(mask, (x - r // 3, y - r), (x + r // 3, y + r), 255, -1)
        return 200, 30, 30
    if class_id in (1, 2):
        tip = (x, y - r) if class_id == 1 else (x - r, y)
        cv2.arrowedLine(mask, (x, y + r), tip, 255, max(1, r // 4), tipLength=0.4)
        return 230, 230, 230
    cv2.circle(mask, (x, y), r, 255, -1 if class_id == 4 else max(1, r // 3))
    return (200, 30, 40) if class_id == 3 else (30, 60, 190)
