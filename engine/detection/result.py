"""What `predict` found on one image: its detections, in pixels and normalised, that can draw and save themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.boxes import convert_boxes
from data.images import write_image
from engine.drawing.boxes_on_images import Annotator, Style

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = {  # YOLOv5's column names
    "xyxy": ("xmin", "ymin", "xmax", "ymax"),
    "xywh": ("xcenter", "ycenter", "width", "height"),
}


@dataclass(frozen=True)
class Result:
    """The detections of one image, most confident first.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        boxes_xyxy_px: (n, 4) float32 corners in pixels of the image.
        confidences: (n,) float32.
        class_ids: (n,) int64.
        names: From class number to class name.
        path: Where the image came from; "image0.jpg", … for arrays.
    """

    image: np.ndarray
    boxes_xyxy_px: np.ndarray
    confidences: np.ndarray
    class_ids: np.ndarray
    names: Mapping[int, str]
    path: str

    def __len__(self) -> int:
        return len(self.class_ids)

    def boxes(self, kind: str) -> np.ndarray:
        """The boxes (n, 4) in a format of `data.boxes`: xyxy_px, xyxy_norm, cxcywh_px, cxcywh_norm."""
        height, width = self.image.shape[:2]
        return convert_boxes(self.boxes_xyxy_px, "xyxy_px", kind, width, height)

    @property
    def boxes_xyxy_norm(self) -> np.ndarray:
        """(n, 4) corners as shares of the image's width and height."""
        return self.boxes("xyxy_norm")

    @property
    def boxes_cxcywh_px(self) -> np.ndarray:
        """(n, 4) centre and size in pixels."""
        return self.boxes("cxcywh_px")

    @property
    def boxes_cxcywh_norm(self) -> np.ndarray:
        """(n, 4) centre and size as shares of the image's width and height."""
        return self.boxes("cxcywh_norm")

    @property
    def class_names(self) -> list[str]:
        """The class name of each detection."""
        return [self.names[int(class_id)] for class_id in self.class_ids]

    def plot(self, *, line_px: int = 3, labels: bool = True, confidences: bool = True) -> np.ndarray:
        """The image with its detections drawn, (H, W, 3) uint8 RGB."""
        annotator = _annotator(tuple(self.names.items()), Style(line_px, labels, confidences))
        return annotator.draw(self.image, self.boxes_xyxy_px, self.confidences, self.class_ids)

    def save(self, path: str | Path, *, labels: bool = True) -> Path:
        """Write the drawn image.

        Args:
            path: A file, or a folder (one that exists, or a name without suffix) for a file of the image's own name.
            labels: Draw class names and confidences.

        Raises:
            ValueError: If the suffix is not that of an image.
        """
        file = Path(path)
        if file.is_dir() or not file.suffix:
            file = file / f"{Path(self.path).stem}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_image(file, self.plot(labels=labels))
        return file

    def pandas(self, kind: str = "xyxy", *, normalised: bool = False) -> DataFrame:
        """A table with YOLOv5's columns: box, confidence, class, name.

        Args:
            kind: "xyxy" or "xywh".
            normalised: Boxes as shares of the image's size instead of pixels.

        Raises:
            ValueError: If `kind` is unknown.
        """
        if kind not in COLUMNS:
            raise ValueError(f"Expected kind to be xyxy or xywh but got {kind!r}")
        from pandas import DataFrame

        layout = {"xyxy": "xyxy", "xywh": "cxcywh"}[kind] + ("_norm" if normalised else "_px")
        table = DataFrame(self.boxes(layout), columns=list(COLUMNS[kind]))
        return table.assign(confidence=self.confidences, **{"class": self.class_ids}, name=self.class_names)

    def __str__(self) -> str:
        """One line: size and counts."""
        height, width = self.image.shape[:2]
        counts = sorted(Counter(self.class_ids.tolist()).items())
        told = [f"{count} {self.names[class_id]}{'s' * (count > 1)}" for class_id, count in counts]
        return f"{self.path}: {height}x{width} {', '.join(told) or '(no detections)'}"


@lru_cache(maxsize=8)
def _annotator(names: tuple[tuple[int, str], ...], style: Style) -> Annotator:
    return Annotator(dict(names), style)
