"""Labels that a trained model doubts: forgotten, of the wrong class, on nothing. Suspicions, the strongest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np

from analysis.doctor.evidence import Detected, Evidence, Split
from analysis.doctor.finding import NOTE, NOTHING, WARNING, Case, Check, Found, Mark, box_case, check, found_in
from data.boxes import convert_boxes
from engine.validation.metrics import box_iou

SURE = 0.6  # confidence from which a detection speaks against a label, or the lack of one
_APART = 0.3  # IoU below which a detection and a label are of different objects
_TOGETHER = 0.5  # IoU from which they are of one
_READS_WELL = 0.7  # share of labels a model has to find before those that it misses say something
_LEAST_PX = 16  # side below which a box that is missed says nothing
_LOW_SCORE = 0.5  # of cleanlab; about where its own filter cut on 853 photographs
_SEES = 0.1  # confidence from which a detection shows that something is there


def _images(evidence: Evidence) -> Iterator[tuple[Split, int, np.ndarray, Detected, np.ndarray]]:
    """Split, image, its rows, what was found on it, and the IoU of rows and detections."""
    for split in evidence.splits if evidence.detected else []:
        starts = np.searchsorted(split.image_of_row, np.arange(len(split.images) + 1))
        for image, seen in enumerate((evidence.detected or {})[split.name]):
            rows = np.arange(starts[image], starts[image + 1])
            if split.states[image] != "corrupt":
                yield split, image, rows, seen, box_iou(split.corners[rows], seen.boxes_xyxy_norm)


def _ranked(cases: Iterable[Case]) -> Found:
    return found_in(sorted(cases, key=lambda case: -(case.score or 0)))


@check(
    "suspect-missing-label", WARNING, "Objects that seem to have no label",
    "Look at each: a forgotten object teaches the model not to find such. Open suspects.json in the labelling tool.",
)  # fmt: skip
def missing_label(evidence: Evidence) -> Found:
    """Confident detections that overlap no label."""
    cases: list[Case] = []
    sure = 0
    for split, image, rows, seen, iou in _images(evidence):
        taken = np.zeros((0, 4))
        for number in np.flatnonzero(seen.confidences >= SURE):
            sure += 1
            box = seen.boxes_xyxy_norm[number : number + 1]
            alone = not len(rows) or iou[:, number].max() < _APART
            if alone and (not len(taken) or box_iou(box, taken).max() < _TOGETHER):
                taken = np.concatenate((taken, box))
                cases.append(_suspect(evidence, split.images[image], seen, int(number), "no label here"))
    text = (
        f"The model is this sure of {sure} detections, and {sure - len(cases)} of them lie on a label or on each other."
    )
    return _ranked(cases)._replace(text=text)


@check(
    "suspect-class", WARNING, "Labels that seem to be of another class",
    "Look at each and correct the class where the model is right. Open suspects.json in the labelling tool.",
)  # fmt: skip
def wrong_class(evidence: Evidence) -> Found:
    """Labels on which a confident detection has another class, and none to speak of has theirs."""

    def cases() -> Iterator[Case]:
        for split, _, rows, seen, iou in _images(evidence):
            for place, row in enumerate(rows.tolist()):
                together = iou[place] >= _TOGETHER
                own = seen.class_ids == split.rows[row, 0]
                other = np.flatnonzero(together & ~own)
                if not len(other) or seen.confidences[other[0]] < SURE:
                    continue
                agreed = seen.confidences[together & own].max(initial=0)
                doubt = float(seen.confidences[other[0]] - agreed)
                better = box_iou(split.corners[rows], seen.boxes_xyxy_norm[other[:1]])[:, 0].argmax() == place
                if doubt >= SURE / 2 and better:
                    name = evidence.name_of(int(seen.class_ids[other[0]]))
                    case = box_case(evidence, split, [row], "")
                    text = f"labelled {case.marks[0].text}, looks like {name} {seen.confidences[other[0]]:.2f}"
                    yield Case(case.image, text, case.marks, score=doubt)

    return _ranked(cases())


@check(
    "suspect-nothing-there", NOTE, "Labels on which the model finds nothing",
    "The box may be on nothing, far too large or small, or the object hard: look at the first. Open suspects.json in "
    "the labelling tool.",
)  # fmt: skip
def nothing_there(evidence: Evidence) -> Found:
    """Labels that no detection overlaps, the largest first; nothing where the model misses many."""
    missed: list[tuple[Split, int]] = []
    labels = 0
    for split, _, rows, seen, iou in _images(evidence):
        large = split.sides_px(evidence.image_px)[rows].min(1, initial=np.inf) >= _LEAST_PX
        labels += int(large.sum())
        nothing = iou[:, seen.confidences >= _SEES].max(1, initial=0) < _APART
        missed += [(split, int(row)) for row in rows[large & nothing]]
    if len(missed) > (1 - _READS_WELL) * labels:
        return NOTHING
    missed.sort(key=lambda pair: -float(pair[0].rows[pair[1], 3:].prod()))
    found = found_in((box_case(evidence, split, [row], "found by nothing") for split, row in missed), len(missed))
    return found._replace(text=f"{len(missed)} of {labels} labels of {_LEAST_PX} px or more.")


@check(
    "suspect-by-cleanlab", NOTE, "Images whose labels cleanlab rates lowest",
    "Look at the first of them. The score is cleanlab's for object detection, from 0 to 1.",
)  # fmt: skip
def by_cleanlab(evidence: Evidence) -> Found:
    """Images with a score below 0.5, where the package is installed.

    Its `find_label_issues` rates in the same way, in processes of its own, which would hear our signals.
    """
    if not evidence.detected or find_spec("cleanlab") is None:
        return NOTHING
    from cleanlab.object_detection import rank  # pyright: ignore[reportMissingImports]

    images, labels, predictions = _for_cleanlab(evidence)
    if not any(len(one["labels"]) for one in labels):
        return NOTHING
    scores = rank.get_label_quality_scores(labels, predictions, verbose=False)
    low = rank.issues_from_scores(scores, threshold=_LOW_SCORE).tolist()  # the lowest first
    return found_in(Case(images[i], f"score {scores[i]:.3f}", score=float(1 - scores[i])) for i in low)


def _for_cleanlab(evidence: Evidence) -> tuple[list[str], list[dict[str, Any]], list[np.ndarray]]:
    """Paths, labels and predictions as cleanlab takes them: px corners, and a list of rows for each class."""
    images, labels, predictions = [], [], []
    for split, image, rows, seen, _ in _images(evidence):
        width, height = split.shapes_wh[image].tolist()
        boxes = convert_boxes(split.corners[rows], "xyxy_norm", "xyxy_px", width, height)
        found = convert_boxes(seen.boxes_xyxy_norm, "xyxy_norm", "xyxy_px", width, height)
        per_class = np.empty(len(evidence.names), dtype=object)
        for number in range(len(per_class)):
            of_class = seen.class_ids == number
            per_class[number] = np.column_stack((found[of_class], seen.confidences[of_class])).astype(np.float64)
        images.append(split.images[image])
        labels.append({"bboxes": boxes, "labels": split.rows[rows, 0].astype(int), "image_name": split.images[image]})
        predictions.append(per_class)
    return images, labels, predictions


def _suspect(evidence: Evidence, image: str, seen: Detected, number: int, text: str) -> Case:
    box = convert_boxes(seen.boxes_xyxy_norm[number], "xyxy_norm", "cxcywh_norm")
    name, score = evidence.name_of(seen.class_ids[number]), float(seen.confidences[number])
    return Case(image, f"{name} {score:.2f}, {text}", (Mark(tuple(box.tolist()), name),), score=score)


SUSPECTS: tuple[Check, ...] = (missing_label, wrong_class, nothing_there)
