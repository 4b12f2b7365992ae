"""A split that keeps near-duplicates on one side, is balanced by class and does not depend on the order of files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from data.convert.records import Example

SIDES = ("train", "val", "test")


def assign_splits(
    examples: Sequence[Example], groups: np.ndarray, names: Sequence[str], shares: Mapping[str, float], seed: int
) -> list[str]:
    """Give every group of near-duplicates to one side, each class and the images in about the wanted shares.

    Groups holding the rarest classes are placed first, each on the side where it lowers the squared distance from the
    wanted class counts most, relative to the side's share (without that the small side gets too little of every
    class); between equals the order is a hash of seed and name, so the result depends on the images and the seed alone.

    Args:
        examples: The images.
        groups: (N,) group of each image, e.g. from `near_duplicate_groups`.
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
            f"{len(examples)} images in {len(members)} groups of near-duplicates, or of frames of a clip, cannot be "
            f"split into {len(sides)} sides without a leak; add images, or ask for fewer sides, e.g. --split 1,0"
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
