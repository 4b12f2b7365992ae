"""What kinds of mistakes cost how much average precision: TIDE's six types (Bolya et al. 2020, arXiv:2008.08115).

A wrong detection is one of five, tried in this order, with foreground from IoU 0.5 and background up to 0.1:

- localisation: the right class, IoU 0.1 to 0.5 with the label of that class that it overlaps most;
- classification: the wrong class, IoU of at least 0.5 with a label of another;
- duplicate: it would be right if its label had not been found by a more confident one;
- background: IoU of at most 0.1 with every label;
- both: what is left, the wrong class at IoU 0.1 to 0.5.

The sixth, missed, is a label that no detection found and none of the first two kinds would find if it were mended.
What a kind costs (its dAP) is how much AP at IoU 0.5 rises if that kind alone is mended: a localisation or
classification error becomes right (of several on one label the most confident; the others go, as they all do where the
label is found), the next three go, a missed label counts no longer. The costs hide each other and need not add up.
Beside them stand the costs of all false positives and of all false negatives.

AP here is COCO's: the mean of the precision envelope at 101 recalls, a label found by the detection that may have it.
YOLOv5's, which val.py's table shows, draws a line from its last point down to zero, whose area would be taken for gain.
The order of the tests, and that both mendable kinds share a label's one repair, are those of the authors' program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from engine.validation.metrics import box_iou

FOREGROUND, BACKGROUND = 0.5, 0.1  # IoU
KINDS = ("classification", "localisation", "both", "duplicate", "background", "missed")
COSTS = (*KINDS, "false_positives", "false_negatives")
SIZES = ("small", "medium", "large")
_AREAS_PX2 = (32.0**2, 96.0**2)  # COCO's limits between them
_CLASSIFICATION, _LOCALISATION, _BOTH, _DUPLICATE, _BACKGROUND, _MISSED = range(6)
_RIGHT = -1
_NOTHING = -1  # in place of a class or a label
_RECALLS = np.arange(101) / 100


class JudgedImage(NamedTuple):
    """The mistakes of one image: n detections and m labels.

    Attributes:
        score: (n,) confidences.
        class_id: (n,) classes.
        kind: (n,) position in `KINDS`, -1 if right.
        mended: (n,) the class under which it is right once its kind is mended, -1 if it goes then.
        size: (n,) position in `SIZES`, of the label that it found or would find, else its own.
        label_class: (m,) classes.
        label_size: (m,) positions in `SIZES`.
        found: (m,) whether a detection is right about it.
        missed: (m,) whether it is a missed one.
    """

    score: np.ndarray
    class_id: np.ndarray
    kind: np.ndarray
    mended: np.ndarray
    size: np.ndarray
    label_class: np.ndarray
    label_size: np.ndarray
    found: np.ndarray
    missed: np.ndarray


def judge_image(detections: np.ndarray, labels: np.ndarray) -> JudgedImage:
    """Say of every detection and label of an image what is wrong with it.

    Args:
        detections: (n, 6) x1, y1, x2, y2 px, confidence, class; most confident first.
        labels: (m, 5) class, x1, y1, x2, y2 px.
    """
    classes, label_classes = detections[:, 5].astype(int), labels[:, 0].astype(int)
    # A last column for no label, so that there is always a best one.
    overlap = np.pad(box_iou(detections[:, :4], labels[:, 1:]), ((0, 0), (0, 1)))
    same = classes[:, None] == np.append(label_classes, _NOTHING)
    own, other = np.where(same, overlap, 0), np.where(same, 0, overlap)
    label = _matched(own)
    found = np.zeros(len(labels) + 1, dtype=bool)
    found[label[label != _NOTHING]] = True
    again = own * found
    best = own.max(1)
    cases: list[tuple[np.ndarray, int, np.ndarray]] = [
        (label != _NOTHING, _RIGHT, label),
        ((best >= BACKGROUND) & (best <= FOREGROUND), _LOCALISATION, own.argmax(1)),
        (other.max(1) >= FOREGROUND, _CLASSIFICATION, other.argmax(1)),
        (again.max(1) >= FOREGROUND, _DUPLICATE, again.argmax(1)),
        (overlap.max(1) <= BACKGROUND, _BACKGROUND, np.full(len(label), _NOTHING)),
    ]
    tests = [test for test, _, _ in cases]
    kind = np.select(tests, [np.full(len(label), kind) for _, kind, _ in cases], _BOTH)
    target = np.select(tests, [target for *_, target in cases], _NOTHING)
    mendable = np.flatnonzero(np.isin(kind, (_CLASSIFICATION, _LOCALISATION)) & ~found[target])
    chosen = mendable[np.unique(target[mendable], return_index=True)[1]]  # the most confident of each label
    mended = np.full(len(kind), _NOTHING)
    mended[chosen] = label_classes[target[chosen]]
    missed = ~found[:-1]
    missed[target[chosen]] = False
    label_size = _size(labels[:, 1:])
    size = np.where(target == _NOTHING, _size(detections[:, :4]), np.append(label_size, 0)[target])
    return JudgedImage(
        detections[:, 4], classes, kind, mended, size, label_classes, label_size, found[:-1], missed
    )  # fmt: skip


def _matched(own: np.ndarray) -> np.ndarray:
    """The label (n,) of its class that each detection, the most confident first, takes from those that are left."""
    left, label = own.copy(), np.full(len(own), _NOTHING)
    for row in np.flatnonzero(own.max(1) >= FOREGROUND):
        best = left[row].argmax()
        if left[row, best] >= FOREGROUND:
            label[row] = best
            left[:, best] = 0
    return label


def _size(boxes_xyxy_px: np.ndarray) -> np.ndarray:
    sides = boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]
    return np.searchsorted(_AREAS_PX2, sides.prod(1), side="right")


class Costs(NamedTuple):
    """Some part of the mistakes.

    Attributes:
        ap50: Average precision at IoU 0.5.
        gain: From `COSTS` to how much that would rise.
        count: From `KINDS` to how many there are, whatever their confidence.
        instances: Labels.
    """

    ap50: float
    gain: dict[str, float]
    count: dict[str, int]
    instances: int


@dataclass(frozen=True)
class ErrorCosts:
    """The mistakes of a whole data set.

    Attributes:
        all: Means over the classes with labels.
        per_size: From those of `SIZES` that are there to the means over the classes with labels of that size.
        per_class: From class number to its costs, of the classes with labels. A confusion costs both classes: the one
            that is seen in vain, and the one that is not seen.
    """

    all: Costs
    per_size: dict[str, Costs]
    per_class: dict[int, Costs]


def error_costs(images: list[JudgedImage], num_classes: int) -> ErrorCosts:
    """Add up the mistakes of all images.

    Args:
        images: One entry an image, in any order.
        num_classes: Number of classes.
    """
    empty = judge_image(np.zeros((0, 6)), np.zeros((0, 5)))
    judged = JudgedImage(*(np.concatenate(parts) for parts in zip(empty, *images, strict=True)))
    order = np.argsort(-judged.score, kind="stable")
    judged = JudgedImage._make(part[order] if column < 5 else part for column, part in enumerate(judged))
    every = _by_class(judged, num_classes)
    per_size = {}
    for number, name in enumerate(SIZES):
        rows, labels = judged.size == number, judged.label_size == number
        if labels.any():
            part = JudgedImage._make(values[rows if column < 5 else labels] for column, values in enumerate(judged))
            per_size[name] = _mean(_by_class(part, num_classes))
    return ErrorCosts(_mean(every), per_size, every)


def _by_class(judged: JudgedImage, num_classes: int) -> dict[int, Costs]:
    """Costs of each class with labels; detections most confident first."""
    total, missed, unseen = (
        np.bincount(judged.label_class[which], minlength=num_classes)
        for which in (slice(None), judged.missed, ~judged.found)
    )
    right, kind = judged.kind == _RIGHT, judged.kind
    before = _average_precisions(judged.class_id, right, total)
    after = []
    for number in (_CLASSIFICATION, _LOCALISATION):
        mend = (kind == number) & (judged.mended != _NOTHING)
        kept = (kind != number) | mend
        classes = np.where(mend, judged.mended, judged.class_id)
        after.append(_average_precisions(classes[kept], (right | mend)[kept], total))
    for number in (_BOTH, _DUPLICATE, _BACKGROUND):
        after.append(_average_precisions(judged.class_id[kind != number], right[kind != number], total))
    after.append(_average_precisions(judged.class_id, right, total - missed))
    after.append(_average_precisions(judged.class_id[right], right[right], total))
    after.append(_average_precisions(judged.class_id, right, total - unseen))
    gains = np.maximum(np.stack(after) - before, 0)  # (8, C); steps of the recall axis alone could lower it
    counts = np.stack([np.bincount(judged.class_id[kind == k], minlength=num_classes) for k in range(_MISSED)])
    counts = np.concatenate((counts, missed[None]))
    return {
        c: Costs(
            float(before[c]),
            dict(zip(COSTS, gains[:, c].tolist(), strict=True)),
            dict(zip(KINDS, counts[:, c].tolist(), strict=True)),
            int(total[c]),
        )
        for c in np.flatnonzero(total).tolist()
    }


def _mean(per_class: dict[int, Costs]) -> Costs:
    parts = list(per_class.values())
    over = max(len(parts), 1)
    return Costs(
        sum(one.ap50 for one in parts) / over,
        {name: sum(one.gain[name] for one in parts) / over for name in COSTS},
        {name: sum(one.count[name] for one in parts) for name in KINDS},
        sum(one.instances for one in parts),
    )


def _average_precisions(class_id: np.ndarray, right: np.ndarray, instances: np.ndarray) -> np.ndarray:
    """COCO's average precision of each class (C,), 0 without labels; detections most confident first."""
    ap = np.zeros(len(instances))
    order = np.argsort(class_id, kind="stable")
    ends = np.searchsorted(class_id[order], np.arange(len(instances) + 1))
    for c in np.flatnonzero(instances):
        hits = right[order[ends[c] : ends[c + 1]]].cumsum()
        precision = hits / np.arange(1, len(hits) + 1)
        envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
        ap[c] = envelope[np.searchsorted(hits / instances[c], _RECALLS)].mean()
    return ap
