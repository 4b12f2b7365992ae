"""The figures of an evaluation, YOLOv5's table of them, and their machine-readable form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from engine.validation.metrics import DetectionMetrics
from files.text import printable

HEADER = ("%22s" + "%11s" * 6) % ("Class", "Images", "Instances", "P", "R", "mAP50", "mAP50-95")
_ROW = "%22s" + "%11i" * 2 + "%11.3g" * 4


class Speeds(NamedTuple):
    """Milliseconds per image."""

    preprocess: float
    inference: float
    nms: float


class ClassResult(NamedTuple):
    """One row of the table."""

    class_id: int
    name: str
    instances: int
    precision: float
    recall: float
    map50: float
    map50_95: float


@dataclass(frozen=True)
class EvalResult:
    """Figures of one evaluation.

    Attributes:
        precision: Mean over the classes that have instances, at the confidence of the best mean F1; so is `recall`.
        recall: See `precision`.
        map50: Mean average precision at IoU 0.5.
        map50_95: Mean average precision over the IoU thresholds 0.5, 0.55, …, 0.95.
        per_class: The classes that have instances, in ascending order of class number.
        images: Images seen.
        instances: Labels seen.
        speeds_ms: Milliseconds per image.
        loss: Box, objectness and class loss, mean over batches; None without a loss function.
        metrics: Average precisions at each threshold and the curves.
        confusion: (classes + 1, classes + 1) [predicted, true], the last one is background.
        names: All class names by number.
    """

    precision: float
    recall: float
    map50: float
    map50_95: float
    per_class: tuple[ClassResult, ...]
    images: int
    instances: int
    speeds_ms: Speeds
    loss: tuple[float, float, float] | None
    metrics: DetectionMetrics = field(repr=False)
    confusion: np.ndarray = field(repr=False)
    names: Mapping[int, str] = field(repr=False)

    @property
    def fitness(self) -> float:
        """YOLOv5's criterion for the best epoch: 0.1 mAP50 + 0.9 mAP50-95."""
        return 0.1 * self.map50 + 0.9 * self.map50_95

    @property
    def classes_without_instances(self) -> tuple[str, ...]:
        """Names of the classes that no label of the data set has."""
        present = {row.class_id for row in self.per_class}
        return tuple(name for class_id, name in self.names.items() if class_id not in present)

    def table(self, *, per_class: bool = True) -> str:
        """YOLOv5's table: header, a row for all classes and one for each class with instances."""
        rows = [_ROW % ("all", self.images, self.instances, self.precision, self.recall, self.map50, self.map50_95)]
        if per_class and len(self.names) > 1:
            rows += [_ROW % (printable(row.name), self.images, *row[2:]) for row in self.per_class]
        return "\n".join([HEADER, *rows])

    def original_figures(self) -> tuple[tuple[float, ...], np.ndarray, tuple[float, float, float]]:
        """What YOLOv5's `val.run` returns.

        Returns:
            P, R, mAP50, mAP50-95 and the three losses; the mAP50-95 of each class (classes,), the mean for those
            without labels; ms per image.
        """
        by_class = np.full(len(self.names), self.map50_95)
        for row in self.per_class:
            by_class[row.class_id] = row.map50_95
        figures = (self.precision, self.recall, self.map50, self.map50_95, *(self.loss or (0.0, 0.0, 0.0)))
        preprocess, inference, nms = self.speeds_ms
        return figures, by_class, (preprocess, inference, nms)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and text, for JSON."""
        return {
            "images": self.images,
            "instances": self.instances,
            "precision": self.precision,
            "recall": self.recall,
            "map50": self.map50,
            "map50_95": self.map50_95,
            "fitness": self.fitness,
            "confidence_of_best_f1": self.metrics.confidence,
            "loss": None if self.loss is None else dict(zip(("box", "obj", "cls"), self.loss, strict=True)),
            "speeds_ms_per_image": self.speeds_ms._asdict(),
            "per_class": [row._asdict() for row in self.per_class],
            "classes_without_instances": list(self.classes_without_instances),
            "confusion_matrix_predicted_true": self.confusion.tolist(),
        }
