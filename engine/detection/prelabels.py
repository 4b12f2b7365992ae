"""Predictions as labels to begin with: a COCO file or Label Studio's tasks, which labelling tools open and people mend.

Both name image files, so frames of videos and streams are left out, and how many is said at the end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from data.sources.frame import Frame
from engine.detection.output_files import JsonWriter
from engine.inference.predictor import Detections
from engine.runtime.console import note


class CocoWriter:
    """`predictions.json`: `images`, `annotations` with a `score`, and `categories` whose ids are the class numbers."""

    def __init__(self, file: Path, names: Mapping[int, str]) -> None:
        self._file, self._names = file, names
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._frames = 0

    def write(self, frame: Frame, found: Detections, picture: np.ndarray | None) -> None:
        """Add an image and its detections."""
        if frame.number:
            self._frames += 1
            return
        height, width = frame.image.shape[:2]
        image_id = len(self._images) + 1
        self._images.append({"id": image_id, "file_name": frame.path, "width": width, "height": height})
        rows = zip(*(part.tolist() for part in found[:3]), strict=True)
        for (x1, y1, x2, y2), confidence, class_id in rows:
            box = [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)]
            own = {"id": len(self._annotations) + 1, "image_id": image_id, "category_id": class_id, "bbox": box}
            rest = {"area": round(box[2] * box[3], 3), "iscrowd": 0, "segmentation": [], "score": round(confidence, 5)}
            self._annotations.append(own | rest)

    def close(self) -> None:
        """Write the file."""
        categories = [{"id": class_id, "name": name} for class_id, name in self._names.items()]
        content = {"images": self._images, "annotations": self._annotations, "categories": categories}
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8", errors="backslashreplace")
        part.replace(self._file)
        _say_frames(self._frames)


class LabelStudioWriter(JsonWriter):
    """`predictions.json`: a task for each image, with the detections as its prediction.

    Images go by their path below the folder that Label Studio is told to serve local files from.
    """

    def __init__(self, file: Path, names: Mapping[int, str], model: str) -> None:
        super().__init__(file, names)
        self._model, self._frames = model, 0

    def write(self, frame: Frame, found: Detections, picture: np.ndarray | None) -> None:
        """Add a task."""
        if frame.number:
            self._frames += 1
            return
        height, width = frame.image.shape[:2]
        results = []
        for index, (box, confidence, class_id) in enumerate(
            zip(*(part.tolist() for part in found[:3]), strict=True), start=1
        ):
            x1, y1, x2, y2 = (value * 100 / side for value, side in zip(box, (width, height) * 2, strict=True))
            value: dict[str, Any] = {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1, "rotation": 0}
            value |= {"rectanglelabels": [self._names[class_id]]}
            result = {"id": str(index), "type": "rectanglelabels", "from_name": "label", "to_name": "image"}
            size = {"original_width": width, "original_height": height, "image_rotation": 0}
            results.append({**result, **size, "value": value, "score": round(confidence, 5)})
        place = quote(Path(frame.path).as_posix(), errors="surrogateescape")
        prediction = {"model_version": self._model, "result": results}
        prediction |= {"score": min((one["score"] for one in results), default=0.0)}  # the least sure come first
        self.add_entry({"data": {"image": f"/data/local-files/?d={place}"}, "predictions": [prediction]})

    def close(self) -> None:
        """Finish the file."""
        super().close()
        _say_frames(self._frames)


def _say_frames(frames: int) -> None:
    if frames:
        note(f"predictions.json names image files, so {frames} frames of videos and streams are not in it")
