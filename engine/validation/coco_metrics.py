"""COCO's twelve figures from one evaluation, in two layouts.

The first is COCO's own, with at most 1, 10 and 100 detections an image. The second is that of the MMDetection family,
in which the field's published attention comparison reports: up to 1000 detections, but the first line still at 100.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from faster_coco_eval import COCO

MAX_DETS = (1, 10, 100, 300, 1000)
_AREAS = ("all", "small", "medium", "large")


class Figure(NamedTuple):
    """One of the twelve.

    Attributes:
        name: Key in results.json.
        precision: Average precision; else average recall.
        iou: The one IoU threshold; None for the mean over 0.50, 0.55, …, 0.95.
        area: all, small (below 32² px), medium, large (above 96² px).
        max_dets: Detections an image at most, the most confident ones.
    """

    name: str
    precision: bool
    iou: float | None
    area: str
    max_dets: int

    def line(self, value: float) -> str:
        """As the field prints it; -1 where there is nothing to measure."""
        kind = "Average Precision  (AP)" if self.precision else "Average Recall     (AR)"
        iou = "0.50:0.95" if self.iou is None else f"{self.iou:.2f}"
        return f" {kind} @[ IoU={iou:<9} | area={self.area:>6} | maxDets={self.max_dets:>3} ] = {value:.3f}"


def _layout(first: int, others: int, recalls: Sequence[int]) -> tuple[Figure, ...]:
    return (
        Figure("AP", True, None, "all", first),
        Figure("AP50", True, 0.5, "all", others),
        Figure("AP75", True, 0.75, "all", others),
        *(Figure(f"AP_{area}", True, None, area, others) for area in _AREAS[1:]),
        *(Figure(f"AR_max{count}", False, None, "all", count) for count in recalls),
        *(Figure(f"AR_{area}", False, None, area, others) for area in _AREAS[1:]),
    )


COCO_LAYOUT = _layout(100, 100, (1, 10, 100))
FIELD_LAYOUT = _layout(100, 1000, (100, 300, 1000))


class Evaluation:
    """Detections against the truth, matched once for every number of detections.

    Args:
        truth: The annotations.
        detections: In COCO's result format, `image_id` numbers as in `truth`.
        image_ids: The images that count.
    """

    def __init__(self, truth: COCO, detections: Sequence[dict[str, object]], image_ids: Sequence[int | str]) -> None:
        self._precision: np.ndarray | None = None  # (thresholds, recalls, classes, areas, max_dets)
        self._nothing = 0.0 if truth.anns else -1.0
        if not detections or not truth.anns:  # what the library does not take
            return
        from faster_coco_eval import COCOeval_faster

        evaluation: Any = COCOeval_faster(truth, truth.loadRes(list(detections)), "bbox")
        evaluation.params.imgIds = list(image_ids)
        evaluation.params.maxDets = list(MAX_DETS)
        evaluation.evaluate()
        evaluation.accumulate()
        self._precision, self._recall = evaluation.eval["precision"], evaluation.eval["recall"]
        self._ious = np.asarray(evaluation.params.iouThrs)

    def value(self, figure: Figure) -> float:
        """A figure; -1 where no object of its area is there."""
        if self._precision is None:
            return self._nothing
        area, count = _AREAS.index(figure.area), MAX_DETS.index(figure.max_dets)
        chosen = (self._precision if figure.precision else self._recall)[..., area, count]
        if figure.iou is not None:
            chosen = chosen[np.isclose(self._ious, figure.iou)]
        counted = chosen[chosen > -1]
        return float(counted.mean()) if counted.size else -1.0

    def values(self, layout: Sequence[Figure]) -> dict[str, float]:
        """The figures of a layout by name."""
        return {figure.name: self.value(figure) for figure in layout}

    def table(self, layout: Sequence[Figure]) -> str:
        """The lines of a layout."""
        return "\n".join(figure.line(self.value(figure)) for figure in layout)
