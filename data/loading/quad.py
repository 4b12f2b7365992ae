"""Quads (`--quad`): four images of a batch side by side as one of twice the size, or one of them enlarged."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import cv2
import numpy as np

from data.loading.samples import Item

# Where each of four images lies: shift of its centres in x and y, in widths and heights of an image.
_PLACES = ((0, 0), (0, 1), (1, 0), (1, 1))


def quads(items: Sequence[Item]) -> list[Item]:
    """Join samples by four, as YOLOv5's `collate_fn4`.

    About half of the groups become one picture; of the others, and of what is left over at the end of a batch, the
    first is enlarged. The choice follows from the pixels, so that a resumed run makes the same one.

    Args:
        items: Of one size (C, H, W).

    Returns:
        A quarter as many, of size (C, 2 H, 2 W), rounded up.
    """
    groups = [items[start : start + 4] for start in range(0, len(items), 4)]
    return [_joined(group) if len(group) == 4 and _choice(group[0]) else _enlarged(group[0]) for group in groups]


def _choice(item: Item) -> bool:
    return bool(zlib.crc32(np.ascontiguousarray(item.image[:, :: item.image.shape[1] // 8 or 1]).tobytes()) & 1)


def _enlarged(item: Item) -> Item:
    height, width = item.image.shape[1:]
    size = (2 * width, 2 * height)
    large = np.stack([cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in item.image])
    return item._replace(image=large)


def _joined(group: Sequence[Item]) -> Item:
    left, right = (np.concatenate([item.image for item in group[side : side + 2]], 1) for side in (0, 2))
    targets = [item.targets.copy() for item in group]
    for rows, (right_by, down_by) in zip(targets, _PLACES, strict=True):
        rows[:, 1:] = (rows[:, 1:] + (right_by, down_by, 0, 0)) / 2
    return group[0]._replace(image=np.concatenate((left, right), 2), targets=np.concatenate(targets))
