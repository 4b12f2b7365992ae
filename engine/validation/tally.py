"""What an evaluation collects image by image, in one process or several."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from engine.validation.metrics import (
    IOU_THRESHOLDS,
    DetectionMetrics,
    confusion_counts,
    detection_metrics,
    match_detections,
)


class Tally:
    """Collects what the metrics need, image by image."""

    def __init__(self, num_classes: int) -> None:
        self.images = 0
        self.confusion = np.zeros((num_classes + 1, num_classes + 1), dtype=np.int64)
        self.correct = [np.zeros((0, len(IOU_THRESHOLDS)), dtype=bool)]
        self.detections = [np.zeros((0, 6), dtype=np.float32)]
        self.true = [np.zeros(0, dtype=np.float32)]

    @classmethod
    def together(cls, tallies: Sequence[Tally]) -> Tally:
        """One tally of those of several processes, which took the images in turn, in the order of one process."""
        result = cls(len(tallies[0].confusion) - 1)
        for tally in tallies:
            result.images += tally.images
            result.confusion += tally.confusion
        for name in ("correct", "detections", "true"):
            for rows in itertools.zip_longest(*(getattr(tally, name)[1:] for tally in tallies)):
                getattr(result, name).extend(row for row in rows if row is not None)
        return result

    def add(self, detections: np.ndarray, labels: np.ndarray) -> None:
        """Count one image: detections (n, 6) most confident first, labels (m, 5), both in original pixels."""
        self.images += 1
        self.correct.append(match_detections(detections[:, :4], detections[:, 5], labels[:, 1:], labels[:, 0]))
        self.detections.append(detections)
        self.true.append(labels[:, 0])
        self.confusion += confusion_counts(detections, labels, len(self.confusion) - 1)

    def metrics(self) -> DetectionMetrics:
        """Precision, recall and AP of what was counted."""
        detections = np.concatenate(self.detections)
        return detection_metrics(
            np.concatenate(self.correct), detections[:, 4], detections[:, 5], np.concatenate(self.true)
        )
