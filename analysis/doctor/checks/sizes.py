"""Boxes at the size that training sees, after letterboxing: too small, and whether the anchors fit."""

from __future__ import annotations

import numpy as np

from analysis.doctor.evidence import Evidence, Split
from analysis.doctor.finding import NOTE, NOTHING, WARNING, Found, boxes_found, check
from models.autoanchor import GOOD_RECALL, anchor_fit, ratio_to_anchors

TINY_PX = 3  # a side below it is lost in the first convolution
SMALL_PX = 8  # the finest stride: below it an object is less than a cell
STEPS_PX = (8, 16, 32)
_MUCH = 0.1  # share of small boxes from which the size is the wrong one


def size_px(evidence: Evidence, split: Split) -> np.ndarray:
    """(rows,) square roots of the boxes' areas at the training size, px."""
    return np.sqrt(split.sides_px(evidence.image_px).prod(1))


@check(
    "tiny-box", WARNING, f"Boxes with a side below {TINY_PX} px at the training size",
    "Train at a larger --img or on slices of the images; delete boxes of a pixel or two, which are slips of the mouse.",
)  # fmt: skip
def tiny(evidence: Evidence) -> Found:
    """The smallest first."""

    def below(split: Split) -> np.ndarray:
        side = split.sides_px(evidence.image_px).min(1, initial=np.inf)
        rows = np.flatnonzero(side < TINY_PX)
        return rows[np.argsort(side[rows], kind="stable")]

    def describe(split: Split, row: int) -> str:
        width, height = split.sides_px(evidence.image_px)[row]
        return f"{width:.1f} x {height:.1f} px at {evidence.image_px}"

    return boxes_found(evidence, below, describe)


@check(
    "small-boxes", WARNING, f"Many boxes smaller than {SMALL_PX} px at the training size",
    "Use a larger --img, or train on slices.",
)  # fmt: skip
def small(evidence: Evidence) -> Found:
    """Where a tenth of the boxes or more are smaller than a cell of the finest level."""
    sizes = np.concatenate([np.zeros(0), *(size_px(evidence, split) for split in evidence.splits)])
    if not len(sizes) or (sizes < SMALL_PX).mean() < _MUCH:
        return NOTHING
    shares = ", ".join(f"{(sizes < step).mean():.0%} under {step} px" for step in STEPS_PX)
    needed = next(
        (px for px in (640, 960, 1280, 1920) if (sizes * px / evidence.image_px < SMALL_PX).mean() < _MUCH), 0
    )
    remedy = (
        f"Use --img {needed}, or train on slices." if needed > evidence.image_px else "Train on slices of the images."
    )
    found = boxes_found(
        evidence,
        lambda split: np.flatnonzero(size_px(evidence, split) < SMALL_PX),
        lambda split, row: f"smaller than {SMALL_PX} px at {evidence.image_px}",
    )
    return found._replace(text=f"Of {len(sizes)} boxes at {evidence.image_px} px: {shares}.", remedy=remedy)


@check(
    "anchors", NOTE, "The model's anchors do not fit the boxes",
    "train.py searches others by itself and says which; --noautoanchor would keep these.",
)  # fmt: skip
def anchors(evidence: Evidence) -> Found:
    """A best possible recall of 98 % or less on the training boxes, as AutoAnchor has it."""
    train = evidence.split("train")
    if train is None or not len(train.rows) or not len(evidence.anchors_px):
        return NOTHING
    wh_px = train.sides_px(evidence.image_px)
    fit = anchor_fit(wh_px, evidence.anchors_px, evidence.hyp.anchor_t)
    if fit.best_possible_recall > GOOD_RECALL:
        return NOTHING
    far = ratio_to_anchors(wh_px, evidence.anchors_px).max(1) <= 1 / evidence.hyp.anchor_t
    found = boxes_found(
        evidence,
        lambda split: np.flatnonzero(far) if split is train else np.zeros(0, int),
        lambda split, row: "{:.0f} x {:.0f} px".format(*wh_px[row]),
    )
    text = f"Best possible recall {fit.best_possible_recall:.3f} at {evidence.image_px} px"
    return found._replace(text=f"{text}: no anchor is within {evidence.hyp.anchor_t:g} times of these boxes.")
