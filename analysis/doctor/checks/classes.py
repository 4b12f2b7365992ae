"""Classes: unused, too rare to learn, missing where they are to be measured, mirrored into one another."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from analysis.doctor.evidence import Evidence, Split
from analysis.doctor.finding import NOTE, NOTHING, WARNING, Case, Found, check, class_case, found_in
from data.mirrored_names import mirrored_names

FEW_TO_LEARN = 50
FEW_TO_MEASURE = 10


def _learned(evidence: Evidence) -> tuple[Split, np.ndarray] | None:
    """The training split, if it has labels, and the boxes of each class in it."""
    train = evidence.split("train")
    return (train, evidence.class_counts(train)) if train is not None and len(train.rows) else None


@check(
    "unused-class", WARNING, "Classes without a label in train",
    "Nothing can be learned of them: label some, or take the names out and renumber.",
)  # fmt: skip
def unused(evidence: Evidence) -> Found:
    """Names that no training label has."""
    if (learned := _learned(evidence)) is None:
        return NOTHING
    return found_in(Case("", evidence.names[number]) for number in np.flatnonzero(learned[1] == 0).tolist())


@check(
    "rare-class", WARNING, f"Classes with fewer than {FEW_TO_LEARN} labels in train",
    "Label more of them; --image-weights and --class-weights help a little.",
)  # fmt: skip
def rare(evidence: Evidence) -> Found:
    """Too few labels to learn from, the rarest first."""
    if (learned := _learned(evidence)) is None:
        return NOTHING
    counts = learned[1]
    few = sorted(np.flatnonzero((counts > 0) & (counts < FEW_TO_LEARN)).tolist(), key=lambda number: counts[number])
    return found_in(class_case(evidence, number, f"{evidence.names[number]}: {counts[number]} boxes") for number in few)


@check(
    "class-missing-in-val", WARNING, "Classes that are trained but not validated",
    "Their AP is not measured and mAP leaves them out: move some images with them to val.",
)  # fmt: skip
def missing_in_val(evidence: Evidence) -> Found:
    """Classes with training labels and none in val."""
    return _in_val(evidence, lambda count: count == 0)


@check(
    "few-in-val", NOTE, f"Classes with fewer than {FEW_TO_MEASURE} labels in val",
    "Their AP is noise: one box more or less moves it by several points. Validate on more images, or use --folds.",
)  # fmt: skip
def few_in_val(evidence: Evidence) -> Found:
    """Classes with a handful of validation labels."""
    return _in_val(evidence, lambda count: 0 < count < FEW_TO_MEASURE)


def _in_val(evidence: Evidence, is_bad: Callable[[int], bool]) -> Found:
    learned, val = _learned(evidence), evidence.split("val")
    if learned is None or val is None or not len(val.rows):
        return NOTHING
    counts = evidence.class_counts(val).tolist()
    return found_in(
        class_case(
            evidence, number, f"{evidence.names[number]}: {counts[number]} boxes in val, {learned[1][number]} in train"
        )
        for number in np.flatnonzero(learned[1]).tolist()
        if is_bad(counts[number])
    )


@check(
    "mirrored-names", WARNING, "Class names that a mirrored image makes wrong",
    "Train with `hyp: hyp.no-mirror.yaml` in the YAML, or --hyp hyp.no-mirror.yaml.",
)  # fmt: skip
def mirrored(evidence: Evidence) -> Found:
    """Names that say left or right, where `fliplr` mirrors images."""
    if not evidence.hyp.fliplr:
        return NOTHING
    names = set(mirrored_names(evidence.names.values()))
    numbers = [number for number, name in evidence.names.items() if name in names]
    fliplr = f"with fliplr {evidence.hyp.fliplr:g}"
    return found_in(class_case(evidence, number, f"{evidence.names[number]}, {fliplr}") for number in numbers)
