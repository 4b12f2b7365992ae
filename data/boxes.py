"""Box formats and the one function that converts between them.

Four formats, named after what a row holds and in which unit:

- ``xyxy_px``: left, top, right, bottom in pixels, ``x1 <= x2`` and ``y1 <= y2``
- ``cxcywh_px``: centre x, centre y, width, height in pixels
- ``xyxy_norm`` and ``cxcywh_norm``: the same divided by the image's width and height; YOLO label files are
  ``cxcywh_norm``
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    Boxes = TypeVar("Boxes", np.ndarray, Tensor)
else:
    Boxes = TypeVar("Boxes")

FORMATS = ("xyxy_px", "cxcywh_px", "xyxy_norm", "cxcywh_norm")


def convert_boxes(
    boxes: Boxes, source: str, target: str, width_px: float | None = None, height_px: float | None = None
) -> Boxes:
    """Convert boxes from one format to another.

    Args:
        boxes: (..., 4) NumPy array or torch tensor; integers become float32, floats keep their precision.
        source: Format of `boxes`, one of `FORMATS`.
        target: Format of the result, one of `FORMATS`.
        width_px: Image width; needed when one format is normalised and the other is in pixels.
        height_px: Image height; needed as `width_px` is.

    Returns:
        A new (..., 4) array or tensor; `boxes` is left alone.

    Raises:
        ValueError: If a format is unknown, the last axis is not 4 long, or the image size is missing or not positive.
    """
    for role, name in (("source", source), ("target", target)):
        if name not in FORMATS:
            raise ValueError(f"Expected `{role}` to be one of {', '.join(FORMATS)} but got {name!r}")
    if boxes.ndim < 1 or boxes.shape[-1] != 4:
        raise ValueError(f"Expected boxes of shape (..., 4) but got {tuple(boxes.shape)}")
    result: Any = _float_copy(boxes)  # arrays and tensors are written to alike
    source_shape, source_unit = source.split("_")
    target_shape, target_unit = target.split("_")
    if source_unit != target_unit:
        width, height = _checked_size(source, target, width_px, height_px)
        if source_unit == "px":
            width, height = 1 / width, 1 / height
        result[..., 0::2] *= width
        result[..., 1::2] *= height
    if source_shape != target_shape:
        first, second = result[..., :2], result[..., 2:]
        if source_shape == "xyxy":
            centre, size = (first + second) / 2, second - first
            result[..., :2], result[..., 2:] = centre, size
        else:
            low, high = first - second / 2, first + second / 2
            result[..., :2], result[..., 2:] = low, high
    return result


def clip_boxes(boxes_xyxy_px: Boxes, width_px: float, height_px: float) -> Boxes:
    """Move corners outside the image onto its border.

    Args:
        boxes_xyxy_px: (..., 4) corners in pixels.
        width_px: Image width.
        height_px: Image height.

    Returns:
        A new array or tensor of the same shape.
    """
    result: Any = _float_copy(boxes_xyxy_px)
    result[..., 0::2] = result[..., 0::2].clip(0, width_px)
    result[..., 1::2] = result[..., 1::2].clip(0, height_px)
    return result


def _float_copy(boxes: Boxes) -> Boxes:
    """Copy to a floating type without importing torch for arrays."""
    if isinstance(boxes, np.ndarray):
        return boxes.astype(boxes.dtype if np.issubdtype(boxes.dtype, np.floating) else np.float32, copy=True)
    return boxes.clone() if boxes.is_floating_point() else boxes.float()


def _checked_size(source: str, target: str, width_px: float | None, height_px: float | None) -> tuple[float, float]:
    if width_px is not None and height_px is not None and width_px > 0 and height_px > 0:
        return width_px, height_px
    name, value = ("height_px", height_px) if width_px is not None and width_px > 0 else ("width_px", width_px)
    raise ValueError(f"Expected `{name}` > 0 to convert {source} to {target} but got {value}")
