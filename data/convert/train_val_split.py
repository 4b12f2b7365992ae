"""A split that keeps near-duplicates on one side, is balanced by class and does not depend on the order of files.

Near-duplicates are found by difference hashes (N. Krawetz, "Kind of Like That", 2013): 8x8 signs of the horizontal and
8x8 of the vertical brightness gradient of the shrunken picture, 128 bits. On the two public sets that the bound was
chosen on (853 and 877 images), nearly all pairs within 28 bits show the same scene. Mirrored or strongly cropped copies
are not found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from data.convert.records import Example

NEAR_DUPLICATE_BITS = 28
_BLOCK_BYTES = 1 << 26


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
        (N,) int: the smallest index of each picture's group.
    """
    count = len(fingerprints)
    parent = np.arange(count)

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = int(parent[i])
        return i

    if max_bits >= 0:
        rows = max(1, _BLOCK_BYTES // (16 * max(count, 1)))
        for start in range(0, count, rows):
            block = fingerprints[start : start + rows]
            differing = np.bitwise_count(block[:, None] ^ fingerprints[None, start:]).sum(-1, dtype=np.int64)
            for i, j in zip(*np.nonzero(differing <= max_bits), strict=True):
                a, b = root(start + int(i)), root(start + int(j))
                parent[max(a, b)] = min(a, b)
    return np.array([root(i) for i in range(count)], dtype=np.int64)


def assign_splits(
    examples: Sequence[Example], groups: np.ndarray, names: Sequence[str], shares: Mapping[str, float], seed: int
) -> list[str]:
    """Give every group of near-duplicates to one side, each class and the images in about the wanted shares.

    Groups holding the rarest classes are placed first, each on the side where it lowers the squared distance from the
    wanted class counts most, relative to the side's share (without that the small side gets too little of every
    class); between equals the order is a hash of seed and name, so the result depends on the images and the seed alone.

    Args:
        examples: The images.
        groups: (N,) group of each image, from `near_duplicate_groups`.
        names: Class names.
        shares: Wanted share of each side, e.g. `{"train": 0.8, "val": 0.2}`; sums to 1.
        seed: Another seed gives another split.

    Returns:
        The side of each image.

    Raises:
        ValueError: If there are fewer groups than sides.
    """
    sides = [side for side, share in shares.items() if share > 0]
    members = {group: np.flatnonzero(groups == group) for group in np.unique(groups)}
    if len(members) < len(sides):
        raise ValueError(
            f"{len(examples)} images in {len(members)} groups of near-duplicates cannot be split into {len(sides)} "
            "sides without a leak; add images, or ask for fewer sides with --val 0 or --test 0"
        )
    counts = {group: _shares_of(group_members, examples, names) for group, group_members in members.items()}
    total = np.maximum(sum(counts.values()), 1)  # (classes + 1,)
    order = _placing_order(members, counts, total, examples, seed)
    missing = {side: np.full(total.shape, shares[side]) for side in sides}  # share of each class still wanted
    placed: dict[str, list[int]] = {side: [] for side in sides}
    for group in order:
        gain = counts[group] / total
        side = max(sides, key=lambda s: float((gain * (2 * missing[s] - gain)).sum()) / shares[s])
        missing[side] = missing[side] - gain
        placed[side].append(group)
    _fill_empty_sides(placed)
    side_of = {group: side for side, side_groups in placed.items() for group in side_groups}
    return [side_of[group] for group in groups.tolist()]


def _shares_of(members: np.ndarray, examples: Sequence[Example], names: Sequence[str]) -> np.ndarray:
    """(classes + 1,) boxes per class and the number of images."""
    row = np.zeros(len(names) + 1)
    index = {name: k for k, name in enumerate(names)}
    for member in members:
        for box in examples[member].boxes:
            row[index[box.label]] += 1
    row[-1] = len(members)
    return row


def _placing_order(
    members: Mapping[int, np.ndarray],
    counts: Mapping[int, np.ndarray],
    total: np.ndarray,
    examples: Sequence[Example],
    seed: int,
) -> list[int]:
    """Groups with the rarest classes first, then the larger ones, then by a hash of seed and name."""

    def key(group: int) -> tuple[float, float, str]:
        rarest = total[np.flatnonzero(counts[group])].min()
        name = min(examples[member].name for member in members[group])
        digest = hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogatepass")).hexdigest()
        return float(rarest), -float(len(members[group])), digest

    return sorted((int(group) for group in members), key=key)


def _fill_empty_sides(placed: dict[str, list[int]]) -> None:
    """In a very small set the shares round to nothing: an empty side takes the last group of the fullest."""
    for groups in placed.values():
        if not groups:
            groups.append(max(placed.values(), key=len).pop())
