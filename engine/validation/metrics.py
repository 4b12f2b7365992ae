"""Detection metrics as YOLOv5 defines them: matching by IoU, precision and recall at the best F1, average precision.

Pure numpy functions. Differences between this definition and COCO's: a detection may match only the label of its
class that it overlaps most (COCO lets it fall back on a free label); precision is interpolated linearly between the
points of its envelope and integrated with the trapezoid rule over 101 recalls (COCO averages the step function).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
CONFIDENCE_AXIS = np.linspace(0, 1, 1000)  # of the curves, and of recall in the precision-recall curve
_RECALL_AXIS = np.linspace(0, 1, 101)
_TINY = 1e-16


class Curves(NamedTuple):
    """Curves at IoU 0.5 of each class with instances, (c, 1000), over `CONFIDENCE_AXIS`."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    precision_at_recall: np.ndarray  # over recall 0..1 in place of confidence


@dataclass(frozen=True)
class DetectionMetrics:
    """Results of each class that has instances, in ascending order of class number.

    Attributes:
        classes: (c,) class numbers.
        instances: (c,) labels of each.
        precision: (c,) at the confidence where the smoothed mean F1 is highest.
        recall: (c,) there.
        ap: (c, T) average precision at each IoU threshold.
        curves: The curves from which precision and recall were read.
        confidence: The confidence of that point.
    """

    classes: np.ndarray
    instances: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    ap: np.ndarray
    curves: Curves
    confidence: float

    def means(self) -> tuple[float, float, float, float]:
        """P, R, mAP at IoU 0.5 and mAP over all thresholds; zeros if no class has instances."""
        if not len(self.classes):
            return 0.0, 0.0, 0.0, 0.0
        return (
            float(self.precision.mean()),
            float(self.recall.mean()),
            float(self.ap[:, 0].mean()),
            float(self.ap.mean()),
        )


def box_iou(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair of boxes, (n, 4) and (m, 4) -> (n, m); 0 where both are empty."""
    upper = np.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:])
    lower = np.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    size = np.maximum(upper - lower, 0)  # (n, m, 2)
    shared = size[..., 0] * size[..., 1]
    area_a = (a_xyxy[:, 2] - a_xyxy[:, 0]) * (a_xyxy[:, 3] - a_xyxy[:, 1])
    area_b = (b_xyxy[:, 2] - b_xyxy[:, 0]) * (b_xyxy[:, 3] - b_xyxy[:, 1])
    union = area_a[:, None] + area_b[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def match_detections(
    boxes_xyxy: np.ndarray,
    classes: np.ndarray,
    label_boxes_xyxy: np.ndarray,
    label_classes: np.ndarray,
    thresholds: np.ndarray = IOU_THRESHOLDS,
) -> np.ndarray:
    """Decide which detections of one image are correct at each IoU threshold.

    Every detection goes to the label of its class that it overlaps most; of the detections of a label that reach the
    threshold the first, that is the most confident, is correct.

    Args:
        boxes_xyxy: (n, 4) detections in order of descending confidence.
        classes: (n,) their classes.
        label_boxes_xyxy: (m, 4) labels in the same coordinates.
        label_classes: (m,) their classes.
        thresholds: (T,) ascending.

    Returns:
        (n, T) bool.
    """
    correct = np.zeros((len(boxes_xyxy), len(thresholds)), dtype=bool)
    if not len(boxes_xyxy) or not len(label_boxes_xyxy):
        return correct
    overlap = box_iou(label_boxes_xyxy, boxes_xyxy)  # (m, n)
    overlap[label_classes[:, None] != classes[None]] = -1
    label = overlap.argmax(0)  # (n,)
    best = overlap[label, np.arange(len(label))]
    detection = np.flatnonzero(best >= thresholds[0])  # (k,)
    reached = best[detection, None] >= thresholds.astype(best.dtype)  # (k, T)
    first = np.full((len(label_boxes_xyxy), len(thresholds)), len(label))  # most confident detection of each label
    np.minimum.at(first, label[detection], np.where(reached, detection[:, None], len(label)))
    _, column = found = np.nonzero(first < len(label))
    correct[first[found], column] = True
    return correct


def confusion_counts(
    detections: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    *,
    conf_thres: float = 0.25,
    iou_thres: float = 0.45,
) -> np.ndarray:
    """Count what was taken for what in one image.

    Detections and labels are paired one to one by descending IoU, whatever their classes. Unlike YOLOv5, which leaves
    out the detections of an image in which nothing matches, every detection and every label is counted once.

    Args:
        detections: (n, 6) x1, y1, x2, y2, confidence, class.
        labels: (m, 5) class, x1, y1, x2, y2 in the same coordinates.
        num_classes: Number of classes; the last row and column stand for background.
        conf_thres: Less confident detections are left out.
        iou_thres: Pairs overlap more than this.

    Returns:
        (num_classes + 1, num_classes + 1) int64, [predicted, true].
    """
    counts = np.zeros((num_classes + 1, num_classes + 1), dtype=np.int64)
    detections = detections[detections[:, 4] > conf_thres]
    predicted, true = detections[:, 5].astype(int), labels[:, 0].astype(int)
    pairs = _one_to_one(box_iou(labels[:, 1:5], detections[:, :4]), iou_thres)
    label, detection = pairs[:, 0], pairs[:, 1]
    np.add.at(counts, (predicted[detection], true[label]), 1)
    np.add.at(counts[num_classes], np.delete(true, label), 1)
    np.add.at(counts[:, num_classes], np.delete(predicted, detection), 1)
    return counts


def _one_to_one(overlap: np.ndarray, threshold: float) -> np.ndarray:
    """Pairs (k, 2) of row and column by descending overlap: best row of each column, then best column of each row."""
    pairs = np.argwhere(overlap > threshold)
    pairs = pairs[(-overlap[pairs[:, 0], pairs[:, 1]]).argsort(kind="stable")]
    for axis in (1, 0):
        first = np.unique(pairs[:, axis], return_index=True)[1]
        pairs = pairs[np.sort(first)]
    return pairs


def average_precision(recall: np.ndarray, precision: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Area under precision-recall curves.

    Args:
        recall: (n, T) ascending along the detections.
        precision: (n, T).

    Returns:
        The areas (T,), and the recall (n + 2, T) and precision envelope (n + 2, T) that were integrated.
    """
    ends = np.zeros((1, recall.shape[1]))
    recall = np.concatenate((ends, recall, ends + 1))
    precision = np.concatenate((ends + 1, precision, ends))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    sampled = np.stack([np.interp(_RECALL_AXIS, r, p) for r, p in zip(recall.T, envelope.T, strict=True)])  # (T, 101)
    return ((sampled[:, 1:] + sampled[:, :-1]) / 2).mean(1), recall, envelope


def smooth(curve: np.ndarray, fraction: float = 0.1) -> np.ndarray:
    """Moving average over an odd window of about `fraction` of the curve, (n,) -> (n,); the ends are repeated."""
    half = round(len(curve) * fraction * 2) // 4
    padded = np.pad(curve, half, mode="edge")
    return np.convolve(padded, np.full(2 * half + 1, 1 / (2 * half + 1)), mode="valid")


def detection_metrics(
    correct: np.ndarray, confidence: np.ndarray, predicted: np.ndarray, true: np.ndarray
) -> DetectionMetrics:
    """Metrics of a whole data set.

    Classes without instances take no part, whatever was predicted; a class with instances and without predictions
    counts as zero.

    Args:
        correct: (n, T) which detections are correct at each IoU threshold, the lowest first.
        confidence: (n,) of the detections, in any order.
        predicted: (n,) their classes.
        true: (m,) classes of all labels.

    Returns:
        The metrics of each class with instances.
    """
    order = np.lexsort((-confidence, predicted))  # by class, most confident first
    correct, confidence, predicted = correct[order], confidence[order], predicted[order]
    classes, instances = np.unique(true.astype(int), return_counts=True)
    start = np.searchsorted(predicted, classes, side="left")
    stop = np.searchsorted(predicted, classes, side="right")
    ap = np.zeros((len(classes), correct.shape[1]))
    p_curve, r_curve, pr_curve = np.zeros((3, len(classes), len(CONFIDENCE_AXIS)))
    for i, (a, b) in enumerate(zip(start, stop, strict=True)):
        if a == b:
            continue
        hits = correct[a:b].cumsum(0)  # (k, T)
        recall = hits / instances[i]
        precision = hits / np.arange(1, b - a + 1)[:, None]
        r_curve[i] = np.interp(-CONFIDENCE_AXIS, -confidence[a:b], recall[:, 0], left=0)
        p_curve[i] = np.interp(-CONFIDENCE_AXIS, -confidence[a:b], precision[:, 0], left=1)
        ap[i], full_recall, envelope = average_precision(recall, precision)
        pr_curve[i] = np.interp(CONFIDENCE_AXIS, full_recall[:, 0], envelope[:, 0])
    f1_curve = 2 * p_curve * r_curve / (p_curve + r_curve + _TINY)
    best = int(smooth(f1_curve.mean(0)).argmax()) if len(classes) else 0
    curves = Curves(p_curve, r_curve, f1_curve, pr_curve)
    at = float(CONFIDENCE_AXIS[best])
    return DetectionMetrics(classes, instances, p_curve[:, best], r_curve[:, best], ap, curves, at)
