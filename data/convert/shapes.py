"""From whatever a file says of an object, corners, points, an outline or a mask, to the box around it in pixels.

Each gives the object and "", or None and the reason why there is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from data.convert.records import SourceBox

Found = tuple[SourceBox | None, str]
BoxReader = Callable[[Any], Found]


def box_of(label: str, corners: Sequence[object]) -> Found:
    """The box of x1, y1, x2, y2 in pixels, four numbers or their texts."""
    if not label:
        return None, "it has no class"
    try:
        x1, y1, x2, y2 = (float(value) for value in corners)  # pyright: ignore[reportArgumentType]
    except (ValueError, TypeError, OverflowError):
        hint = "; a decimal comma is not read" if any("," in str(value) for value in corners) else ""
        return None, f"{label} has the corners {list(corners)}; expected four numbers{hint}"
    if not all(math.isfinite(value) for value in (x1, y1, x2, y2)):
        return None, f"{label} has the corners {list(corners)}; expected finite numbers"
    return SourceBox(label, (x1, y1, x2, y2)), ""


def sized(label: str, numbers: Sequence[object]) -> Found:
    """The box of x, y, width, height in pixels, of which x and y are the upper left corner's."""
    box, reason = box_of(label, numbers)
    if box is None:
        return None, reason
    x, y, width, height = box.xyxy_px
    return SourceBox(label, (x, y, x + width, y + height)), ""


def around(label: str, points: Iterable[Sequence[float]]) -> Found:
    """The box around points (x, y) in pixels."""
    try:
        xs, ys = zip(*((float(x), float(y)) for x, y in points), strict=True)
    except (ValueError, TypeError):
        return None, f"{label or 'it'} has points that are no pairs of numbers"
    return box_of(label, (min(xs), min(ys), max(xs), max(ys)))


def around_mask(label: str, mask: dict[str, Any]) -> Found:
    """The box around COCO's run-length encoded mask, whose counts go down the columns; compressed ones are not read."""
    size, counts = mask.get("size"), mask.get("counts")
    if not (isinstance(size, list) and isinstance(counts, list) and all(isinstance(n, int) for n in (*size, *counts))):
        return None, "its mask is compressed and it has no bbox"
    ends = np.cumsum(np.array(counts, np.int64))
    firsts, lasts = ends[:-1:2], ends[1::2] - 1  # of the runs of ones
    if not len(lasts) or size[0] < 1:
        return None, "its mask is empty"
    firsts = firsts[: len(lasts)]
    height = size[0]
    spans = (firsts // height != lasts // height).any()  # a run over the end of a column covers it from top to bottom
    top, bottom = (0, height) if spans else ((firsts % height).min(), (lasts % height).max() + 1)
    return box_of(label, ((firsts // height).min(), top, (lasts // height).max() + 1, bottom))


def turned(corners: Sequence[float], degrees: float, centre: tuple[float, float]) -> list[tuple[float, float]]:
    """The corners of a box x1, y1, x2, y2 that was turned clockwise about a point."""
    x1, y1, x2, y2 = corners
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    moved = [(x - centre[0], y - centre[1]) for x, y in ((x1, y1), (x2, y1), (x2, y2), (x1, y2))]
    return [(centre[0] + x * cosine - y * sine, centre[1] + x * sine + y * cosine) for x, y in moved]


def size_of(width: object, height: object) -> tuple[int, int] | None:
    """The size that a file says a picture has, in numbers or their texts, if it says one."""
    try:
        size = int(float(width)), int(float(height))  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError, OverflowError):
        return None
    return size if min(size) > 0 else None
