"""Image and label files as files: unreadable, cut off, misnamed, turned, passed over, without their counterpart."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from analysis.doctor.evidence import Evidence, folders_of
from analysis.doctor.finding import ERROR, NOTE, NOTHING, WARNING, Case, Found, check, found_in
from analysis.doctor.pictures import kind_of
from data.dataset.label_place import no_labels_text
from data.images import IMAGE_SUFFIXES

_KINDS = {
    "JPEG": (".jpg", ".jpeg", ".mpo"), "PNG": (".png",), "BMP": (".bmp",), "WEBP": (".webp",), "PFM": (".pfm",),
    "TIFF": (".tif", ".tiff", ".dng"), "GIF": (".gif",), "HEIF": (".heic", ".heif", ".avif"),
}  # fmt: skip
_NOT_READ = (".gif", ".heic", ".heif", ".avif", ".jfif", ".jp2", ".ppm", ".pgm", ".jxl", ".tga")
_NO_LABELS = ("classes.txt", "obj.names", "notes.txt", "readme.txt", "train.txt", "val.txt", "test.txt")
_TOO_LONG = 4  # times the other side
_UNUSUAL = 16  # times more, or fewer, pixels than the usual image
_LABEL_FAULT = "label file"  # how the scan's line about a label file begins


def _corrupt(evidence: Evidence, *, label: bool) -> Iterator[tuple[str, str]]:
    """Images that cannot be used and why: for their label file, or for themselves."""
    for split in evidence.splits:
        for image, state, problems in zip(split.images, split.states, split.problems, strict=True):
            if state == "corrupt" and problems[0].startswith(_LABEL_FAULT) == label:
                yield image, problems[0]


@check(
    "unreadable-image", ERROR, "Images that cannot be read",
    "Copy or export them again, or delete them; training leaves them out.",
)  # fmt: skip
def unreadable(evidence: Evidence) -> Found:
    """Files of no known format, empty or missing ones, and images of a few pixels."""
    return found_in(Case(*one) for one in _corrupt(evidence, label=False) if _is_no_image(*one))


@check(
    "truncated-image", ERROR, "Images that are cut off or damaged",
    "The download or copy broke off: fetch them again. Training leaves them out.",
)  # fmt: skip
def truncated(evidence: Evidence) -> Found:
    """Files that begin as an image and cannot be decoded to the end."""
    return found_in(Case(*one) for one in _corrupt(evidence, label=False) if not _is_no_image(*one))


def _is_no_image(image: str, problem: str) -> bool:
    return problem.startswith("image of ") or not kind_of(image)


@check(
    "unreadable-label", ERROR, "Label files that are no text",
    "Save them as UTF-8 text, one row `class cx cy w h` an object. Training leaves their images out.",
)  # fmt: skip
def unreadable_label(evidence: Evidence) -> Found:
    """Binary files, UTF-16, files that may not be opened."""
    return found_in(Case(*one) for one in _corrupt(evidence, label=True))


@check(
    "wrong-suffix", WARNING, "Images whose suffix is of another format",
    "Rename them: other programs of a pipeline go by the suffix.",
)  # fmt: skip
def wrong_suffix(evidence: Evidence) -> Found:
    """A PNG called .jpg and the like."""
    if evidence.pictures is None:
        return NOTHING
    cases = []
    for split in evidence.splits:
        for image, picture in zip(split.images, evidence.pictures[split.name], strict=True):
            if picture.kind and os.path.splitext(image)[1].lower() not in _KINDS[picture.kind]:
                cases.append(Case(image, f"is a {picture.kind} file"))
    return found_in(cases)


@check(
    "passed-over", WARNING, "Images of a format that training does not read",
    f"Convert them, or move them away: only {' '.join(IMAGE_SUFFIXES)} are read.",
)  # fmt: skip
def passed_over(evidence: Evidence) -> Found:
    """Files in the folders of a split that are images, but of no suffix that is read."""
    files = [file for split in evidence.splits for file in split.others]
    return found_in(Case(file, "is not read") for file in files if os.path.splitext(file)[1].lower() in _NOT_READ)


@check(
    "exif-rotation", WARNING, "Images that their EXIF entry turns",
    "Training turns them as the entry says. If the boxes in the examples are not on their objects, they were drawn on "
    "the unturned picture: write the images anew without the entry (`jpegtran`, `exiftran`), or label them again.",
)  # fmt: skip
def exif_rotation(evidence: Evidence) -> Found:
    """Images with an EXIF orientation other than upright."""
    if evidence.pictures is None:
        return NOTHING
    return found_in(
        Case(image, f"EXIF orientation {picture.orientation}")
        for split in evidence.splits
        for image, picture in zip(split.images, evidence.pictures[split.name], strict=True)
        if 2 <= picture.orientation <= 8
    )


@check(
    "odd-size", NOTE, "Images of unusual size or shape",
    "Letterboxing makes their objects much smaller, or blurred: cut panoramas into tiles, and look for thumbnails.",
)  # fmt: skip
def odd_size(evidence: Evidence) -> Found:
    """Sides more than 4 to 1, or 16 times more or fewer pixels than the set's median."""
    areas = np.concatenate([split.shapes_wh.prod(1) for split in evidence.splits])
    usual = float(np.median(areas[areas > 0])) if (areas > 0).any() else 1.0
    cases = []
    for split in evidence.splits:
        sides = split.shapes_wh.clip(1)
        long = sides.max(1) > _TOO_LONG * sides.min(1)
        area = split.shapes_wh.prod(1)
        odd = (area > 0) & (long | (area > _UNUSUAL * usual) | (area * _UNUSUAL < usual))
        cases += [Case(split.images[i], "{} x {} px".format(*split.shapes_wh[i])) for i in np.flatnonzero(odd)]
    return found_in(cases)


@check(
    "no-labels", ERROR, "Splits without any label",
    "Check where the label files lie: for /set/images/train/a.jpg it is /set/labels/train/a.txt.",
)  # fmt: skip
def no_labels(evidence: Evidence) -> Found:
    """Splits of which no image has a label file."""
    bare = [split for split in evidence.splits if split.images and "labelled" not in split.states]
    return found_in(
        Case("", f"{split.name}: {no_labels_text(split.images[0])}")
        for split in bare
        if not any(split.problems) and "missing" in split.states
    )


@check(
    "image-without-labels", WARNING, "Images without a label file",
    "Training takes them for background. If there is nothing on them, an empty label file says so; else label them.",
)  # fmt: skip
def image_without_labels(evidence: Evidence) -> Found:
    """Images without a label file, in splits where others have one."""
    return found_in(
        Case(image, f"expected {label}")
        for split in evidence.splits
        if "labelled" in split.states
        for image, label, state in zip(split.images, split.label_files, split.states, strict=True)
        if state == "missing"
    )


@check(
    "label-without-image", WARNING, "Label files without an image",
    "The image is missing, or its name differs: compare the names, upper and lower case too.",
)  # fmt: skip
def label_without_image(evidence: Evidence) -> Found:
    """Text files in the folders of the labels that belong to no image of any split, nor to one beside those."""
    expected = {label for split in evidence.splits for label in split.label_files}
    images = [image for split in evidence.splits for image in split.images]
    stems = {os.path.splitext(name)[0] for folder in folders_of(images) for name in _names(folder, IMAGE_SUFFIXES)}
    cases = []
    for folder in sorted(folders_of(list(expected))):
        for name in sorted(_names(folder, (".txt",))):
            path = os.path.join(folder, name)
            if path not in expected and name[:-4] not in stems and name.lower() not in _NO_LABELS:
                cases.append(Case("", path))
    return found_in(cases)


def _names(folder: str, suffixes: tuple[str, ...]) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.name.lower().endswith(suffixes)]
    except OSError:
        return []
