"""Pictures that show the same scene: near-duplicates by their pixels, frames of a clip and augmented copies by name.

Near-duplicates are found by difference hashes (N. Krawetz, "Kind of Like That", 2013): 8x8 signs of the horizontal and
8x8 of the vertical brightness gradient of the shrunken picture, 128 bits. On the two public sets that the bound was
chosen on (853 and 877 images), nearly all pairs within 28 bits show the same scene. Mirrored or strongly cropped copies
are not found.

Hashes are compared within a window of lists that are sorted by their bits in random orders (M. Charikar, "Similarity
Estimation Techniques from Rounding Algorithms", 2002), so the cost grows little faster than the number of pictures. Up
to a few thousand the window is the whole list and no pair is missed; above, a pair at the bound is missed once in a
hundred, a closer one almost never.
"""

from __future__ import annotations

import math
import re
from pathlib import PurePosixPath

import cv2
import numpy as np

NEAR_DUPLICATE_BITS = 28
_BITS = 128
_EXACT = 4096  # pictures of which all pairs are compared
_WINDOW = 128  # neighbours that are compared in each sorted list of more pictures
_MISSED = 0.01  # share of the pairs at the bound

_EXPORTED_COPY = re.compile(r"\.rf\.[0-9A-Za-z]{20,}$")
_FRAME = re.compile(
    r"(?P<clip>.*?\.?(?:mp4|avi|mov|mkv|webm|m4v))[-_. ]?\d+(?:[-_](?:jpe?g|png))?"  # drive_mp4-12_jpg, drive.mp4_0012
    r"|(?P<named>.*?)[-_. ]?frame[-_. ]?\d+(?:[-_](?:jpe?g|png))?",  # drive_frame_0012, frame_000012
    re.IGNORECASE,
)


def fingerprint(rgb: np.ndarray) -> np.ndarray:
    """The 128-bit difference hash of a picture.

    Args:
        rgb: (H, W, 3) uint8.

    Returns:
        (2,) uint64: signs of the horizontal and of the vertical gradient.
    """
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    across = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    down = cv2.resize(grey, (8, 9), interpolation=cv2.INTER_AREA)
    bits = np.concatenate([(across[:, 1:] > across[:, :-1]).ravel(), (down[1:] > down[:-1]).ravel()])  # (128,)
    return np.packbits(bits).view(np.uint64)


def near_duplicate_groups(fingerprints: np.ndarray, max_bits: int = NEAR_DUPLICATE_BITS) -> np.ndarray:
    """Group pictures whose fingerprints are linked by steps of at most `max_bits` differing bits.

    Args:
        fingerprints: (N, 2) uint64.
        max_bits: 0 groups equal fingerprints only; negative groups nothing.

    Returns:
        (N,) int64: the smallest index of each picture's group.
    """
    if max_bits < 0:
        return np.arange(len(fingerprints))
    distinct, first, place = np.unique(fingerprints, axis=0, return_index=True, return_inverse=True)
    groups = np.arange(len(distinct))
    window, lists = _effort(len(distinct), max_bits)
    orders = np.random.default_rng(0)
    bits = np.unpackbits(distinct.view(np.uint8), axis=1)  # (distinct, 128)
    for _ in range(lists):
        keys = np.ascontiguousarray(np.packbits(bits[:, orders.permutation(_BITS)], axis=1)).view(">u8")
        groups = _link_neighbours(distinct, np.lexsort((keys[:, 1], keys[:, 0])), groups, window, max_bits)
    smallest = np.full(len(distinct), len(fingerprints))
    np.minimum.at(smallest, groups, first)
    return smallest[groups][place.ravel()]


def same_groups(*groupings: np.ndarray) -> np.ndarray:
    """Groups linked by any of several groupings.

    Args:
        groupings: (N,) int each: two pictures with the same number belong together.

    Returns:
        (N,) int64: the smallest index of each picture's group.
    """
    count = len(groupings[0])
    joined = np.arange(count)
    for grouping in groupings:
        _, first, place = np.unique(grouping, return_index=True, return_inverse=True)
        joined = _joined(joined, np.arange(count), first[place.ravel()])
    smallest = np.full(count, count)
    np.minimum.at(smallest, joined, np.arange(count))
    return smallest[joined]


def origin(name: str) -> str:
    """What an image was made from, as far as its name says: a clip for its frames, the original for exported copies.

    `a.rf.1f0c….jpg` and `a.rf.9b2e….jpg` are augmented copies of one picture; `drive_mp4-12_jpg`, `drive.mp4_0012`
    and `drive_frame_0012` are frames of `drive`. Names that only end in a number say nothing: most sets are numbered.

    Args:
        name: Path of an image with `/`, with or without suffix; other names come back without their suffix.
    """
    path = PurePosixPath(name)
    stem = _EXPORTED_COPY.sub("", path.stem if path.suffix.lower() in _SUFFIXES else path.name)
    frame = _FRAME.fullmatch(stem)
    clip = stem if frame is None else (frame["clip"] or frame["named"] or "")
    return str(path.parent / clip) if clip else str(path.parent)


_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm")


def _effort(count: int, max_bits: int) -> tuple[int, int]:
    """How many neighbours to compare and how many sorted lists to look at."""
    if count <= _EXACT:
        return max(count - 1, 0), 1
    prefix = math.log2(count / _WINDOW)  # bits after which a list has about a window's width of equal beginnings
    agree = (1 - max_bits / _BITS) ** prefix  # chance that a pair at the bound agrees in them
    return _WINDOW, math.ceil(math.log(_MISSED) / math.log1p(-agree)) if agree < 1 else 1


def _link_neighbours(
    fingerprints: np.ndarray, order: np.ndarray, groups: np.ndarray, window: int, max_bits: int
) -> np.ndarray:
    """`groups` with those joined that have a near pair within `window` places in `order`."""
    left = fingerprints[order, 0]
    right = fingerprints[order, 1]
    found: list[tuple[np.ndarray, np.ndarray]] = []
    pending = 0
    for step in range(1, min(window, len(order) - 1) + 1):
        differing = np.bitwise_count(left[step:] ^ left[:-step])
        differing += np.bitwise_count(right[step:] ^ right[:-step])
        at = np.flatnonzero(differing <= max_bits)
        a, b = order[at], order[at + step]
        new = groups[a] != groups[b]
        found.append((a[new], b[new]))
        pending += int(new.sum())
        if pending > len(order):
            groups, found, pending = _joined(groups, *map(np.concatenate, zip(*found, strict=True))), [], 0
    return _joined(groups, *map(np.concatenate, zip(*found, strict=True))) if pending else groups


def _joined(groups: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Groups after those of `a[i]` and `b[i]` became one; numbered anew."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = coo_array((np.ones(len(a), np.int8), (groups[a], groups[b])), shape=(len(groups), len(groups)))
    return connected_components(edges, directed=False)[1][groups].astype(np.int64)
