"""Rows of label files: broken, doubled, at the border, of another kind than the others."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from analysis.doctor.evidence import Evidence, Split
from analysis.doctor.finding import ERROR, NOTHING, WARNING, Case, Found, box_case, boxes_found, check, found_in
from data.dataset.label_file import problem_kind

_COVERS = 0.98  # of both sides
_REACH = 0.01  # of a side by which a box may stick out; rounding does not reach so far
_MINORITY = 0.5


def _broken(evidence: Evidence, kind: str) -> Found:
    """Rows that training leaves out because of a mistake of one kind."""
    return found_in(
        Case(image, f"{os.path.basename(label)} {problem}")
        for split in evidence.splits
        for image, label, state, problems in zip(
            split.images, split.label_files, split.states, split.problems, strict=True
        )
        if state != "corrupt"
        for problem in problems
        if problem_kind(problem) == kind
    )


@check(
    "box-outside", ERROR, "Label rows with coordinates outside 0 to 1",
    "Coordinates are fractions of the image's width and height: divide pixels by them. Training leaves these rows out.",
)  # fmt: skip
def outside(evidence: Evidence) -> Found:
    """Centres and sizes below 0 or above 1."""
    return _broken(evidence, "outside")


@check(
    "box-without-size", ERROR, "Boxes of zero or negative size",
    "Write them as centre, width and height; rows of x1 y1 x2 y2 look like this too. Training leaves these rows out.",
)  # fmt: skip
def without_size(evidence: Evidence) -> Found:
    """Width or height of 0 or below."""
    return _broken(evidence, "size")


@check(
    "class-beyond-names", ERROR, "Class numbers that `names:` does not have",
    "Add the class to `names:`, or correct the number. Training leaves these rows out.",
)  # fmt: skip
def beyond_names(evidence: Evidence) -> Found:
    """Class numbers that are no whole numbers from 0 to the last name."""
    found = _broken(evidence, "class")
    rows = [split.rows for split in evidence.splits if len(split.rows)]
    if not found.count or any((row[:, 0] == 0).any() for row in rows):
        return found
    text = "No label has class 0: the classes seem to be counted from 1."
    return found._replace(
        text=text,
        remedy="Write label files that count from 0: python -m data.convert yolo FOLDER --ids-from 1 --out NEW",
    )


@check(
    "row-form", ERROR, "Label rows that are no `class cx cy w h`",
    "Five numbers with decimal points, separated by spaces; an outline has a class and three or more x y pairs. "
    "Training leaves these rows out.",
)  # fmt: skip
def form(evidence: Evidence) -> Found:
    """Other numbers of columns, text, NaN, decimal commas."""
    return _broken(evidence, "form")


@check(
    "duplicate-box", WARNING, "Boxes that are there twice",
    "Delete one of each two: the model learns to find the object twice. Training leaves out only exact repeats.",
)  # fmt: skip
def duplicate(evidence: Evidence) -> Found:
    """Repeated rows, and two boxes of a class with an IoU of 0.9 or more."""
    repeated = [  # of what training has read there are none: it has told of them
        Case(image, f"{os.path.basename(label)} {line}")
        for split in evidence.splits
        for image, label, lines in zip(split.images, split.label_files, split.repeats, strict=False)
        for line in lines
    ]
    cases = [*repeated, *(case for same, case in _in_one_place(evidence) if same)]
    return found_in(cases)


@check(
    "two-classes", WARNING, "One object with two classes",
    "Keep the right one of each two: as they are, each teaches that the other is wrong.",
)  # fmt: skip
def two_classes(evidence: Evidence) -> Found:
    """Two boxes of different classes with an IoU of 0.9 or more."""
    return found_in(case for same, case in _in_one_place(evidence) if not same)


def _in_one_place(evidence: Evidence) -> Iterator[tuple[bool, Case]]:
    """Pairs of boxes that lie on each other, and whether they are of one class."""
    for split in evidence.splits:
        for first, second in zip(*split.rows_in_one_place, strict=True):
            same = bool(split.rows[first, 0] == split.rows[second, 0])
            yield same, box_case(evidence, split, [int(first), int(second)], "two boxes in one place")


@check(
    "covers-everything", WARNING, "Boxes that cover the whole image",
    "A label of the image instead of an object teaches the model to call everything an object: delete or redraw it.",
)  # fmt: skip
def covers_everything(evidence: Evidence) -> Found:
    """Boxes of at least 98 % of both sides."""
    return boxes_found(
        evidence,
        lambda split: np.flatnonzero((split.rows[:, 3:] >= _COVERS).all(1)),
        lambda split, row: "covers it all",
    )


@check(
    "reaches-outside", WARNING, "Boxes that reach outside the image",
    "Clip them: what is outside cannot be found, and shifts the centre. Often the labels are of another image size.",
)  # fmt: skip
def reaches_outside(evidence: Evidence) -> Found:
    """Corners more than 1 % of a side outside, the farthest first."""

    def beyond(split: Split) -> np.ndarray:
        far = np.maximum(-split.corners[:, :2], split.corners[:, 2:] - 1).max(1, initial=0)
        rows = np.flatnonzero(far > _REACH)
        return rows[np.argsort(-far[rows], kind="stable")]

    def describe(split: Split, row: int) -> str:
        far = max(-split.corners[row, :2].min(), split.corners[row, 2:].max() - 1)
        return f"{far:.0%} of the side outside"

    return boxes_found(evidence, beyond, describe)


@check(
    "mixed-outlines", WARNING, "Outlines among boxes",
    "Training takes the box around an outline. Where boxes were meant, a row has shifted or extra columns.",
)  # fmt: skip
def mixed_outlines(evidence: Evidence) -> Found:
    """The rarer kind, where a set has boxes and outlines."""
    flags = np.concatenate([split.is_polygon for split in evidence.splits]) if evidence.splits else np.zeros(0)
    if not 0 < flags.sum() < len(flags):
        return NOTHING
    rarer = flags.mean() <= _MINORITY
    word = "an outline" if rarer else "a box among outlines"
    return boxes_found(evidence, lambda split: np.flatnonzero(split.is_polygon == rarer), lambda split, row: word)
