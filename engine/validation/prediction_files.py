"""Observers of an evaluation that write its detections: label files and COCO's JSON, with COCO's 12 figures."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.dataset.label_file import label_text
from engine.validation.coco_metrics import COCO_LAYOUT, Evaluation

if TYPE_CHECKING:
    from faster_coco_eval import COCO

    from engine.validation.observer import EvaluatedBatch

COCO_FIGURES = tuple(figure.name for figure in COCO_LAYOUT)
# Numbers of COCO's 80 classes in its own files, which leave out 11 of 1..90.
_COCO_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
COCO_CATEGORY_IDS = tuple(i for i in range(1, 91) if i not in _COCO_GAPS)


class LabelFileWriter:
    """Writes labels/<image>.txt: class, cx, cy, w, h normalised to the original image, and the confidence if wanted.

    Args:
        folder: Where the files go; made if missing.
        paths: All images of the data set; where two have the same name the files keep the images' folders.
        confidence: Add a sixth column.
    """

    def __init__(self, folder: Path, paths: Sequence[str], *, confidence: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.confidence = confidence
        self.files = 0
        unique = len({Path(path).stem for path in paths}) == len(paths)
        self._root = None if unique else os.path.commonpath([os.path.dirname(path) for path in paths])

    def __call__(self, batch: EvaluatedBatch) -> None:
        """Write a file for each image with detections."""
        for path, rows, shape in zip(batch.paths, batch.native, batch.shapes, strict=True):
            if not len(rows):
                continue
            more = [rows[:, 4]] if self.confidence else []
            file = self._file(path)
            file.parent.mkdir(parents=True, exist_ok=True)
            text = label_text(rows[:, 5], rows[:, :4], shape.original_hw, *more)
            file.write_text(text, encoding="utf-8")
            self.files += 1

    def _file(self, path: str) -> Path:
        name = Path(path).name if self._root is None else os.path.relpath(path, self._root)
        return self.folder / Path(name).with_suffix(".txt")


class CocoWriter:
    """Collects detections in COCO's result format, and the labels as its ground truth.

    Images are numbered by their name if it is a number, as COCO's are, else the name stands for the number; of two
    images of the same name the second one carries its folder.

    Args:
        category_ids: From class number to the number in the file.
    """

    def __init__(self, category_ids: Sequence[int]) -> None:
        self.category_ids = category_ids
        self.detections: list[dict[str, Any]] = []
        self._sizes: dict[int | str, tuple[int, int]] = {}  # height, width of each image seen
        self._labels: list[dict[str, Any]] = []

    def __call__(self, batch: EvaluatedBatch) -> None:
        """Collect a batch."""
        for path, rows, labels, shape in zip(batch.paths, batch.native, batch.native_labels, batch.shapes, strict=True):
            image_id = self._image_id(Path(path))
            self._sizes[image_id] = shape.original_hw
            found = self._rows(image_id, rows[:, 5], rows[:, :4])
            scores = rows[:, 4].tolist()
            self.detections += [{**row, "score": round(score, 5)} for row, score in zip(found, scores, strict=True)]
            self._labels += self._rows(image_id, labels[:, 0], labels[:, 1:])

    def save(self, file: Path) -> None:
        """Write the detections."""
        file.write_text(json.dumps(self.detections), encoding="utf-8")

    def figures(self, names: Mapping[int, str], annotations: Path | None = None) -> dict[str, float]:
        """COCO's 12 figures, -1 where there is nothing to measure; see `evaluation`."""
        return self.evaluation(names, annotations).values(COCO_LAYOUT)

    def evaluation(self, names: Mapping[int, str], annotations: Path | None = None) -> Evaluation:
        """The detections against the truth.

        Args:
            names: Class names by number.
            annotations: COCO's own ground truth; None takes the labels of the data set, without crowd regions.

        Raises:
            ValueError: If the annotations are not those of the images.
        """
        from faster_coco_eval import COCO

        if annotations is None:
            truth, numbers = COCO(self._truth(names)), {name: i for i, name in enumerate(self._sizes, 1)}
        else:
            truth = COCO(str(annotations))
            numbers = _numbers(truth, annotations, list(self._sizes))
        detections = [{**row, "image_id": numbers[row["image_id"]]} for row in self.detections]
        return Evaluation(truth, detections, list(numbers.values()))

    def _image_id(self, path: Path) -> int | str:
        image_id = int(path.stem) if path.stem.isdecimal() else path.stem
        return image_id if image_id not in self._sizes else f"{path.parent.name}/{path.stem}"

    def _rows(self, image_id: int | str, classes: np.ndarray, boxes_xyxy_px: np.ndarray) -> list[dict[str, Any]]:
        """Objects with left, top, width, height in pixels, three decimals."""
        boxes = boxes_xyxy_px.astype(float)
        boxes[:, 2:] -= boxes[:, :2]
        ids = [self.category_ids[int(c)] for c in classes]
        return [
            {"image_id": image_id, "category_id": category_id, "bbox": box}
            for category_id, box in zip(ids, boxes.round(3).tolist(), strict=True)
        ]

    def _truth(self, names: Mapping[int, str]) -> dict[str, Any]:
        """The labels as COCO annotations, images numbered from 1."""
        numbers = {name: i for i, name in enumerate(self._sizes, 1)}
        annotations = [
            {
                **row,
                "id": i,
                "image_id": numbers[row["image_id"]],
                "area": row["bbox"][2] * row["bbox"][3],
                "iscrowd": 0,
            }
            for i, row in enumerate(self._labels, 1)
        ]
        return {
            "images": [{"id": numbers[name], "height": h, "width": w} for name, (h, w) in self._sizes.items()],
            "annotations": annotations,
            "categories": [{"id": self.category_ids[i], "name": name} for i, name in names.items()],
        }


def _numbers(truth: COCO, file: Path, image_ids: Sequence[int | str]) -> dict[int | str, int | str]:
    """From image to its number in an annotation file, by number or by file name."""
    by_name = {Path(image.get("file_name", "")).stem: number for number, image in truth.imgs.items()}
    known = {i: i if i in truth.imgs else by_name.get(str(i)) for i in image_ids}
    numbers: dict[int | str, int | str] = {i: number for i, number in known.items() if number is not None}
    missing = [i for i in known if i not in numbers]
    if missing:
        raise ValueError(
            f"{file}: has no image {missing[0]!r} ({len(missing)} of {len(image_ids)} images are missing); "
            "expected the annotations of the data set's images"
        )
    return numbers
