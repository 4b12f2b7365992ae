"""Rows of a YOLO label file: `class cx cy w h`, or `class x1 y1 x2 y2 x3 y3 ...` for a polygon, normalised to 0..1."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.boxes import convert_boxes

TOLERANCE = 1e-3  # values this far outside 0..1 come from rounding: they are moved to the border and kept
_OUTSIDE, _NO_SIZE = "Expected coordinates from 0 to 1", "Expected a box of some size"
_KINDS = {_OUTSIDE: "outside", _NO_SIZE: "size", "class ": "class", "Expected a whole class": "class"}


class LabelRows(NamedTuple):
    """What the usable rows of a label file hold, and what is wrong with the others."""

    labels: np.ndarray  # (n, 5) float32: class, cx, cy, w, h
    polygons: list[np.ndarray | None]  # (k, 2) float32 outline of each row that has one
    problems: list[str]  # "row 3: ..."; broken rows, which are left out
    duplicates: list[str]  # "row 4: ..."; repeated rows, which are left out


def read_rows(path: Path, class_count: int) -> LabelRows:
    """Read a label file, keeping every row that can be used.

    Args:
        path: Label file.
        class_count: Number of classes of the data set.

    Returns:
        The usable rows and a line per row that was dropped; row numbers count from 1 as an editor does.

    Raises:
        ValueError: If the file cannot be read or is no text.
    """
    lines = _text(path).splitlines()
    rows: list[np.ndarray] = []
    polygons: list[np.ndarray | None] = []
    problems: list[str] = []
    duplicates: list[str] = []
    first_seen: dict[bytes, int] = {}
    for number, line in enumerate(lines, 1):
        texts = line.split()
        if not texts:
            continue
        try:
            row, polygon = _parse(texts, class_count)
        except ValueError as error:
            problems.append(f"row {number}: {error}")
            continue
        first = first_seen.setdefault(row.tobytes(), number)
        if first != number:
            duplicates.append(f"row {number}: repeats row {first}")
            continue
        rows.append(row)
        polygons.append(polygon)
    labels = np.stack(rows) if rows else np.zeros((0, 5), np.float32)
    return LabelRows(labels, polygons, problems, duplicates)


def problem_kind(problem: str) -> str:
    """What a line of `LabelRows.problems` is about: "outside", "size", "class", or "form" for anything else."""
    text = problem.partition(": ")[2]
    return next((kind for start, kind in _KINDS.items() if text.startswith(start)), "form")


def _text(path: Path) -> str:
    """The text of a label file, of whatever line ends, with or without a byte order mark."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"label file cannot be read: {error}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        hint = "it is UTF-16, as PowerShell writes; save it as UTF-8" if utf16 else str(error)
        raise ValueError(f"label file cannot be read: {hint}") from error


def _separator_hint(texts: list[str]) -> str:
    text = " ".join(texts)
    mark = next((mark for mark in ";," if text.count(mark) >= 4), None)
    return f"; columns are separated by spaces, not by {mark!r}" if mark else ""


def _parse(texts: list[str], class_count: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Turn one row into `[class, cx, cy, w, h]` and, for a polygon, its outline."""
    count = len(texts)
    if count == 6:
        raise ValueError(
            "Expected 5 columns but got 6; a saved detection has its confidence as the last one, remove it"
        )
    if count != 5 and (count < 7 or count % 2 == 0):
        hint = _separator_hint(texts) if count < 5 else ""
        raise ValueError(f"Expected 5 columns, or a class and 3 or more x y pairs, but got {count}{hint}")
    try:
        values = np.array([float(text) for text in texts])
    except ValueError:
        hint = "; write decimals with a point, 0.5 and not 0,5" if any("," in text for text in texts) else ""
        raise ValueError(f"Expected numbers but got {' '.join(texts)[:60]!r}{hint}") from None
    if not np.isfinite(values).all():
        raise ValueError(f"Expected finite numbers but got {' '.join(texts)[:60]!r}")
    _check_class(values[0], class_count)
    places = values[1:]
    if count == 5 and (places[2:] < 0).any():
        raise ValueError(f"{_NO_SIZE} but got width {places[2]:g} and height {places[3]:g}")
    outside = places[(places < -TOLERANCE) | (places > 1 + TOLERANCE)]
    if len(outside):
        hint = "; divide pixels by the image size" if outside[0] > 2 else ""
        raise ValueError(f"{_OUTSIDE} but got {outside[0]:g}{hint}")
    places = places.clip(0, 1)
    polygon = None
    if count > 5:
        polygon = places.reshape(-1, 2).astype(np.float32)
        low, high = polygon.min(0), polygon.max(0)
        places = np.concatenate(((low + high) / 2, high - low))
    if not (places[2:] > 0).all():
        raise ValueError(f"{_NO_SIZE} but got width {places[2]:g} and height {places[3]:g}")
    return np.array([values[0], *places], np.float32), polygon


def _check_class(value: float, class_count: int) -> None:
    if value != int(value) or value < 0:
        raise ValueError(f"Expected a whole class number but got {value:g}")
    if value >= class_count:
        raise ValueError(beyond_names(int(value), class_count))


def beyond_names(class_id: int, class_count: int) -> str:
    """What is wrong with a row of a class that the data set does not have."""
    return f"class {class_id} but the data set has {class_count} classes, 0 to {class_count - 1}"


def label_text(
    classes: np.ndarray, boxes_xyxy_px: np.ndarray, hw_px: tuple[int, int], *more: np.ndarray, form: str = "cxcywh_norm"
) -> str:
    """The text of a label file.

    Args:
        classes: (n,) class numbers.
        boxes_xyxy_px: (n, 4) corners in pixels.
        hw_px: Height and width of the image.
        more: (n,) numbers each, which follow the box.
        form: Of the boxes in the file, normalised by the image's size; see `convert_boxes`.
    """
    height, width = hw_px
    boxes = convert_boxes(boxes_xyxy_px, "xyxy_px", form, width, height)
    rows = np.column_stack([classes, boxes, *more]).tolist()
    return "".join(" ".join(f"{value:g}" for value in row) + "\n" for row in rows)
