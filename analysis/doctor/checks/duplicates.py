"""Images that are there more than once: the same file, or nearly the same picture, within a split or across splits."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from analysis.doctor.evidence import Evidence
from analysis.doctor.finding import ERROR, NOTE, WARNING, Case, Found, check, found_in
from data.convert.train_val_split import near_duplicate_groups

_Image = tuple[str, str]  # split, path


@check(
    "leak", ERROR, "The same image in two splits",
    "Delete one of each two: what is validated on images that were trained on says nothing. `python -m data.convert` "
    "splits a set anew with its duplicates on one side.",
)  # fmt: skip
def leak(evidence: Evidence) -> Found:
    """Files of equal content in different splits."""
    return found_in(_pairs(_same_files(evidence), across=True, word="the same file as"))


@check(
    "near-leak", WARNING, "Nearly the same picture in two splits",
    "Keep scenes, and the frames of one clip, on one side: `python -m data.convert` does so when it splits.",
)  # fmt: skip
def near_leak(evidence: Evidence) -> Found:
    """Pictures whose fingerprints differ little, in different splits."""
    return found_in(_pairs(_alike(evidence), across=True, word="looks like"))


@check(
    "duplicate-image", WARNING, "The same image twice in a split",
    "Delete one of each two; where their labels differ, one of them is wrong.",
)  # fmt: skip
def duplicate(evidence: Evidence) -> Found:
    """Files of equal content in one split."""
    return found_in(_pairs(_same_files(evidence), across=False, word="the same file as"))


@check(
    "near-duplicate-image", NOTE, "Nearly the same picture within a split",
    "Many of one scene weigh as much as that many scenes: thin them out, above all in val.",
)  # fmt: skip
def near_duplicate(evidence: Evidence) -> Found:
    """Pictures whose fingerprints differ little, in one split."""
    return found_in(_pairs(_alike(evidence), across=False, word="looks like"))


def _pairs(groups: list[list[_Image]], *, across: bool, word: str) -> Iterator[Case]:
    """Every image that has an earlier one of its group in another split, or in the same, with that one."""
    for group in groups:
        for number, (split, path) in enumerate(group):
            earlier = next((one for one in group[:number] if (one[0] != split) == across), None)
            if earlier is not None:
                yield Case(path, f"{split}: {word} {earlier[0]}: {os.path.basename(earlier[1])}", other=earlier[1])


def _same_files(evidence: Evidence) -> list[list[_Image]]:
    groups: dict[bytes, list[_Image]] = defaultdict(list)
    for split in evidence.splits if evidence.pictures else []:
        for path, picture in zip(split.images, (evidence.pictures or {})[split.name], strict=True):
            if picture.digest:
                groups[picture.digest].append((split.name, path))
    return [group for group in groups.values() if len(group) > 1]


def _alike(evidence: Evidence) -> list[list[_Image]]:
    """Groups of pictures that look alike, of which files of equal content count once a split."""
    images: list[_Image] = []
    prints: list[np.ndarray] = []
    seen: set[bytes] = set()
    for split in evidence.splits if evidence.pictures else []:
        for path, picture in zip(split.images, (evidence.pictures or {})[split.name], strict=True):
            if picture.fingerprint is not None and picture.digest not in seen:
                seen.add(picture.digest)
                images.append((split.name, path))
                prints.append(picture.fingerprint)
    groups: dict[int, list[_Image]] = defaultdict(list)
    if images:
        for image, group in zip(images, near_duplicate_groups(np.stack(prints)).tolist(), strict=True):
            groups[group].append(image)
    return [group for group in groups.values() if len(group) > 1]
