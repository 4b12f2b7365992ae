"""Average precision on resampled validation images, fast: an image drawn twice is a weight of two, not a copy.

The definition is that of `engine.validation.metrics`: YOLOv5's 101-point average precision. Between two correct
detections its envelope is flat, and beyond the last one it falls in a straight line to zero, so that a curve is known
from its correct detections alone and thousands of resamplings cost a few cumulative sums.
"""

from __future__ import annotations

import numpy as np

from analysis.compare.execute.image_results import ImageResults

_BLOCK = 64  # resamplings at a time, for memory
_GRID = 100  # intervals of the recall axis


def draw_weights(images: int, draws: int, seed: int = 0) -> np.ndarray:
    """How often each image is drawn in each of `draws` samples of as many images, with replacement: (draws, images)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(images, np.full(images, 1 / max(images, 1)), size=draws).astype(np.int32)


def resampled_ap(results: ImageResults, weights: np.ndarray) -> np.ndarray:
    """Average precision of each class at each IoU threshold under image weights.

    Args:
        results: The detections of a run.
        weights: (B, I) how often each image counts, whole numbers.

    Returns:
        (B, C, T); nan where a class has no label in the images that count.
    """
    classes, thresholds = results.truth.shape[1], results.correct.shape[1]
    ap = np.full((len(weights), classes, thresholds), np.nan)
    for class_id in range(classes):
        rows = np.flatnonzero(results.class_id == class_id)
        rows = rows[np.argsort(-results.score[rows], kind="stable")]
        image, correct = results.image[rows], results.correct[rows]
        for first in range(0, len(weights), _BLOCK):
            block = weights[first : first + _BLOCK]
            labels = block @ results.truth[:, class_id].astype(np.int32)  # (b,)
            values = _block_ap(block[:, image], correct, np.maximum(labels, 1))
            ap[first : first + _BLOCK, class_id] = np.where(labels[:, None] > 0, values, np.nan)
    return ap


def _block_ap(weight: np.ndarray, correct: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Average precision (b, T) of one class from weights (b, n), correctness (n, T) and numbers of labels (b,)."""
    ap = np.zeros((len(weight), correct.shape[1]))
    hit = np.flatnonzero(correct.any(1))  # only here recall can rise
    if not len(hit):
        return ap
    seen = weight.cumsum(1, dtype=np.int32)
    seen, total, weight = seen[:, hit], seen[:, -1:], weight[:, hit]
    for t in range(correct.shape[1]):
        found = (weight * correct[hit, t]).cumsum(1, dtype=np.int32)  # (b, k) correct ones so far
        envelope = np.maximum.accumulate((found / np.maximum(seen, 1))[:, ::-1], axis=1)[:, ::-1]
        reached = -(-_GRID * found // labels[:, None])  # points of the recall axis below the recall so far
        new = np.diff(reached, axis=1, prepend=0)
        area = (envelope * new).sum(1) - 0.5 * envelope[:, 0] * (found[:, -1] > 0)  # the axis' first point counts half
        area += _tail(found[:, -1], total[:, 0], labels, reached[:, -1])
        ap[:, t] = area / _GRID
    return ap


def _tail(found: np.ndarray, seen: np.ndarray, labels: np.ndarray, reached: np.ndarray) -> np.ndarray:
    """The line from the last precision down to zero at full recall, summed over the points of the recall axis."""
    left = _GRID - reached
    missed = np.maximum(labels - found, 1)
    return found / np.maximum(seen, 1) * labels / missed * left * (left + 1) / (2 * _GRID)


def mean_ap(ap: np.ndarray) -> np.ndarray:
    """Mean over the IoU thresholds and the classes that have labels: (B, C, T) -> (B,)."""
    per_class = ap.mean(2)
    present = np.isfinite(per_class)
    return np.where(present, per_class, 0).sum(1) / np.maximum(present.sum(1), 1)
