"""Do the anchors fit the labels, and better ones where they do not: YOLOv5's autoanchor on plain arrays.

A box can only be learned if some anchor is within a factor `anchor_t` of it on both sides. The share of boxes for which
that holds is the best possible recall.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from models.yolo import Detect

Array = NDArray[np.float64]

GOOD_RECALL = 0.98  # at or below it, anchors are searched
SMALLEST_SIDE_PX = 2.0  # labels below this on both sides do not take part in the search
MUTATION_PROBABILITY = 0.9
MUTATION_SIGMA = 0.1


class AnchorFit(NamedTuple):
    """How well anchors fit labels."""

    best_possible_recall: float  # share of labels that have an anchor within the limit
    anchors_per_label: float  # mean number of anchors within the limit


class AnchorCheck(NamedTuple):
    """What `check_anchors` found; `anchors_px` is None where the model keeps its own."""

    fit: AnchorFit
    anchors_px: Array | None
    message: str


def labels_wh_px(
    labels: Sequence[NDArray[np.floating]],
    image_sizes_wh: NDArray[np.floating],
    image_px: int,
    jitter: Array | None = None,
) -> Array:
    """Sizes of all labels, in pixels of images whose longer side is `image_px`.

    Args:
        labels: Per image (n, 5) rows of class, cx, cy, w, h, normalised.
        image_sizes_wh: (images, 2) in pixels.
        image_px: Network input size.
        jitter: (images, 1) factors that stand for scale augmentation; None for none.

    Returns:
        (labels, 2) widths and heights.
    """
    sizes = np.asarray(image_sizes_wh, dtype=np.float64)
    sizes = image_px * sizes / sizes.max(1, keepdims=True)
    if jitter is not None:
        sizes = sizes * jitter
    parts = [np.asarray(label, dtype=np.float64)[:, 3:5] * size for label, size in zip(labels, sizes, strict=True)]
    return np.concatenate(parts) if parts else np.zeros((0, 2))


def ratio_to_anchors(wh_px: Array, anchors_px: Array) -> Array:
    """For each label and anchor the worse of the two side ratios, at most 1: (labels, anchors)."""
    with np.errstate(divide="ignore"):  # a side of 0 is infinitely far off, which is what it should be
        ratio = wh_px[:, None] / anchors_px[None]
        return np.minimum(ratio, 1 / ratio).min(2)


def anchor_fit(wh_px: Array, anchors_px: Array, anchor_t: float = 4.0) -> AnchorFit:
    """Measure anchors (anchors, 2) against labels (labels, 2), both in pixels."""
    near = ratio_to_anchors(wh_px, anchors_px) > 1 / anchor_t
    return AnchorFit(float(near.any(1).mean()), float(near.sum(1).mean()))


def find_anchors(
    wh_px: Array, count: int, *, anchor_t: float = 4.0, image_px: int = 640, generations: int = 1000, seed: int = 0
) -> Array:
    """Search anchors by k-means on the label sizes, then improve them by random mutation.

    Args:
        wh_px: (labels, 2) in pixels.
        count: How many anchors.
        anchor_t: The ratio limit of the target assignment.
        image_px: Upper limit of the random start that is used where there are fewer distinct labels than anchors.
        generations: Number of mutations tried.
        seed: Of the search; the same labels and seed give the same anchors.

    Returns:
        (count, 2) in pixels, by rising area.
    """
    random = np.random.default_rng(seed)
    usable = wh_px[(wh_px >= SMALLEST_SIDE_PX).any(1)]
    anchors = _start(usable, count, image_px, random)
    best = _fitness(usable, anchors, anchor_t)
    for _ in range(generations):
        factors = np.ones_like(anchors)
        while (factors == 1).all():
            chosen = random.random(anchors.shape) < MUTATION_PROBABILITY
            step = random.random() * random.standard_normal(anchors.shape) * MUTATION_SIGMA
            factors = (chosen * step + 1).clip(0.3, 3.0)
        candidate = (anchors * factors).clip(min=SMALLEST_SIDE_PX)
        fitness = _fitness(usable, candidate, anchor_t)
        if fitness > best:
            best, anchors = fitness, candidate
    return anchors[np.argsort(anchors.prod(1))]


def _start(wh_px: Array, count: int, image_px: int, random: np.random.Generator) -> Array:
    """K-means on whitened sizes; sorted random sizes where the labels do not have `count` clusters."""
    from scipy.cluster.vq import kmeans

    deviation = wh_px.std(0) if len(wh_px) else np.zeros(2)
    if len(np.unique(wh_px, axis=0)) >= count and (deviation > 0).all():
        centres = kmeans(wh_px / deviation, count, iter=30, rng=random)[0] * deviation
        if len(centres) == count:
            return centres[np.argsort(centres.prod(1))]
    return np.sort(random.random(count * 2)).reshape(count, 2).clip(min=SMALLEST_SIDE_PX / image_px) * image_px


def _fitness(wh_px: Array, anchors_px: Array, anchor_t: float) -> float:
    """Mean over labels of the best ratio, counted only where it is within the limit."""
    best = ratio_to_anchors(wh_px, anchors_px).max(1)
    return float((best * (best > 1 / anchor_t)).mean()) if len(best) else 0.0


def check_anchors(
    detect: Detect,
    labels: Sequence[NDArray[np.floating]],
    image_sizes_wh: NDArray[np.floating],
    *,
    image_px: int,
    anchor_t: float = 4.0,
    seed: int = 0,
) -> AnchorCheck:
    """Compare a model's anchors with the labels and search better ones if they fit badly. Changes nothing.

    Args:
        detect: The `Detect` head: `anchors` (levels, anchors, 2) in cells and `stride` (levels,).
        labels: Per image (n, 5) rows of class, cx, cy, w, h, normalised.
        image_sizes_wh: (images, 2) in pixels.
        image_px: Network input size.
        anchor_t: The ratio limit of the target assignment.
        seed: Of the scale jitter and of the search.

    Returns:
        The fit of the present anchors and, where others fit better, those: (levels, anchors, 2) in pixels, larger ones
        on coarser levels.
    """
    jitter = np.random.default_rng(seed).uniform(0.9, 1.1, (len(labels), 1))
    wh_px = labels_wh_px(labels, image_sizes_wh, image_px, jitter)
    shape = tuple(detect.anchors.shape)
    anchors_px = (detect.anchors.detach().cpu() * detect.stride.detach().cpu().view(-1, 1, 1)).double().numpy()
    if not len(wh_px):
        return AnchorCheck(AnchorFit(0.0, 0.0), None, "AutoAnchor: there are no labels; the model's anchors stay")
    fit = anchor_fit(wh_px, anchors_px.reshape(-1, 2), anchor_t)
    found = (
        f"AutoAnchor: {fit.anchors_per_label:.2f} anchors/target, {fit.best_possible_recall:.4f} best possible recall"
    )
    if fit.best_possible_recall > GOOD_RECALL:
        return AnchorCheck(fit, None, f"{found}; the model's anchors fit these labels")
    count = shape[0] * shape[1]
    new_px = find_anchors(
        labels_wh_px(labels, image_sizes_wh, image_px), count, anchor_t=anchor_t, image_px=image_px, seed=seed
    )
    new_fit = anchor_fit(wh_px, new_px, anchor_t)
    if new_fit.best_possible_recall <= fit.best_possible_recall:
        return AnchorCheck(fit, None, f"{found}; no better anchors were found, the model's stay")
    rows = ", ".join(f"{w:.0f}x{h:.0f}" for w, h in new_px)
    better = f"{new_fit.best_possible_recall:.4f} with new anchors {rows} px"
    return AnchorCheck(fit, _by_stride(new_px.reshape(shape), detect), f"{found}; {better}")


def _by_stride(anchors_px: Array, detect: Detect) -> Array:
    """Order levels so that larger anchors go to larger strides; the input ascends."""
    strides = detect.stride.detach().cpu().numpy()
    return anchors_px if strides[-1] >= strides[0] else anchors_px[::-1].copy()
