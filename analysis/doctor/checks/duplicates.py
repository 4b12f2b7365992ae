"""Images that are there more than once: the same file, or nearly the same picture, within a split or across splits."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from analysis.doctor.evidence import Evidence
from analysis.doctor.finding import ERROR, NOTE, WARNING, Case, Found, check, found_in
from data.near_duplicates import NEAR_DUPLICATE_BITS, origin

_Image = tuple[str, str]  # split, path
_COMPARED = 256  # earlier pictures of a group that one is compared with
_COLOURS_APART = 6  # mean difference of the two colour channels of CIELAB, from 0 to 255, beyond which scenes differ


@check(
    "leak", ERROR, "The same image in two splits",
    "Delete one of each two: what is validated on images that were trained on says nothing. `python -m data.convert` "
    "splits a set anew with its duplicates on one side.",
)  # fmt: skip
def leak(evidence: Evidence) -> Found:
    """Files of equal content in different splits."""
    return found_in(_pairs(evidence.same_files, across=True, word="the same file as"))


@check(
    "near-leak", WARNING, "Nearly the same picture in two splits",
    "Keep scenes, and the frames of one clip, on one side: `python -m data.convert` does so when it splits.",
)  # fmt: skip
def near_leak(evidence: Evidence) -> Found:
    """Pictures whose fingerprints differ little, in different splits."""
    return found_in(_alike(evidence, across=True))


@check(
    "duplicate-image", WARNING, "The same image twice in a split",
    "Delete one of each two; where their labels differ, one of them is wrong.",
)  # fmt: skip
def duplicate(evidence: Evidence) -> Found:
    """Files of equal content in one split."""
    return found_in(_pairs(evidence.same_files, across=False, word="the same file as"))


@check(
    "near-duplicate-image", NOTE, "Nearly the same picture within a split",
    "Many of one scene weigh as much as that many scenes: thin them out, above all in val.",
)  # fmt: skip
def near_duplicate(evidence: Evidence) -> Found:
    """Pictures whose fingerprints differ little, in one split."""
    return found_in(_alike(evidence, across=False))


@check(
    "clip-leak", WARNING, "Frames of one clip, or copies of one picture, in two splits",
    "Keep them on one side: `python -m data.convert` does so when it splits.",
)  # fmt: skip
def clip_leak(evidence: Evidence) -> Found:
    """Images that, by their names, come from one clip or one original."""
    groups: dict[str, list[_Image]] = defaultdict(list)
    for split in evidence.splits:
        for path in split.images:
            name = os.path.basename(path)
            source = origin(name)
            if source not in (os.path.splitext(name)[0], "."):
                groups[source].append((split.name, path))
    return found_in(_pairs(list(groups.values()), across=True, word="of the same source as"))


def _pairs(groups: list[list[_Image]], *, across: bool, word: str) -> Iterator[Case]:
    """Every image that has an earlier one of its group in another split, or in the same, with that one."""
    for group in groups:
        for number, (split, path) in enumerate(group):
            earlier = next((one for one in group[:number] if (one[0] != split) == across), None)
            if earlier is not None:
                yield Case(path, f"{split}: {word} {earlier[0]}: {os.path.basename(earlier[1])}", other=earlier[1])


def _alike(evidence: Evidence, *, across: bool) -> Iterator[Case]:
    """Every picture that looks like an earlier one in another split, or in the same, with the one most like it.

    Of simple pictures, such as a sign on black, the gradients alone are alike too often; so the colours have to be as
    well.
    """
    for group in evidence.look_alikes:
        prints = np.stack([pixels.fingerprint for *_, pixels in group])
        colours = np.stack([pixels.colours for *_, pixels in group]).astype(np.int16)
        splits = np.array([split for split, _, _ in group])
        for number, (split, path, _) in enumerate(group):
            others = np.arange(max(number - _COMPARED, 0), number)
            others = others[(splits[others] != split) == across]
            bits = np.bitwise_count(prints[others] ^ prints[number]).sum(1, dtype=np.int64)
            bits[np.abs(colours[others] - colours[number]).mean(1) > _COLOURS_APART] = 2 * NEAR_DUPLICATE_BITS
            if len(others) and bits.min() <= NEAR_DUPLICATE_BITS:
                name, other, _ = group[int(others[bits.argmin()])]
                yield Case(path, f"{split}: looks like {name}: {os.path.basename(other)}", other=other)
