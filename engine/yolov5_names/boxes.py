"""Boxes and their suppression under YOLOv5's names; rows may have further columns, which stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.boxes import Boxes, convert_boxes
from engine.inference import nms
from engine.runtime.device import seconds_when_done, select_device

Shape = Sequence[int]  # height, width, and maybe channels
_Padding = tuple[Sequence[float], Sequence[float]]  # (ratio, ratio), (left, top)


def non_max_suppression(
    prediction: Tensor | Sequence[Any],
    conf_thres: float = 0.25,
    iou_thres: float = 0.45,
    classes: Sequence[int] | None = None,
    agnostic: bool = False,
    multi_label: bool = False,
    labels: Sequence[Tensor] = (),
    max_det: int = 300,
    nm: int = 0,
) -> list[Tensor]:
    """As YOLOv5's: (B, N, 5 + nc), or a model's (predictions, …), to (n, 6) x1, y1, x2, y2, confidence, class an image.

    Raises:
        ValueError: On a threshold outside 0 to 1, predictions of another shape, or masks.
    """
    if nm:
        raise ValueError(f"nm={nm}: expected 0, because there are no masks here; this project detects boxes")
    rows = prediction if isinstance(prediction, Tensor) else prediction[0]
    return nms.non_max_suppression(
        rows,
        conf_thres=conf_thres,
        iou_thres=iou_thres,
        classes=classes,
        agnostic=agnostic,
        multi_label=multi_label,
        max_det=max_det,
        labels=labels or None,
    )


def _converted(x: Boxes, source: str, target: str, w: float = 1, h: float = 1) -> Boxes:
    made: Any = x.copy() if isinstance(x, np.ndarray) else x.clone()
    made[..., :4] = convert_boxes(x[..., :4], source, target, w, h)
    return made


def xyxy2xywh(x: Boxes) -> Boxes:
    """Corners to centre and size, (..., 4 or more)."""
    return _converted(x, "xyxy_px", "cxcywh_px")


def xywh2xyxy(x: Boxes) -> Boxes:
    """Centre and size to corners, (..., 4 or more)."""
    return _converted(x, "cxcywh_px", "xyxy_px")


def xywhn2xyxy(x: Boxes, w: int = 640, h: int = 640, padw: float = 0, padh: float = 0) -> Boxes:
    """Normalised centre and size to corners in pixels, moved by a border of `padw` and `padh`."""
    made: Any = _converted(x, "cxcywh_norm", "xyxy_px", w, h)
    made[..., 0:4:2] += padw
    made[..., 1:4:2] += padh
    return made


def xyxy2xywhn(x: Boxes, w: int = 640, h: int = 640, clip: bool = False, eps: float = 0.0) -> Boxes:
    """Corners in pixels to normalised centre and size; `clip` first moves them into the image, in place."""
    if clip:
        clip_boxes(x, (h - eps, w - eps))
    return _converted(x, "xyxy_px", "cxcywh_norm", w, h)


def clip_boxes(boxes: Any, shape: Sequence[float]) -> None:  # noqa: ANN401  (array or tensor)
    """Move corners into an image of `shape` (height, width, …), in place."""
    boxes[..., 0:4:2] = boxes[..., 0:4:2].clip(0, shape[1])
    boxes[..., 1:4:2] = boxes[..., 1:4:2].clip(0, shape[0])


def scale_boxes(img1_shape: Shape, boxes: Boxes, img0_shape: Shape, ratio_pad: _Padding | None = None) -> Boxes:
    """Corners on a letterboxed image to those on the original, in place.

    Args:
        img1_shape: Height and width of the letterboxed image.
        boxes: (..., 4 or more).
        img0_shape: Height and width of the original.
        ratio_pad: ((ratio, …), (left, top)) of the letterbox; by default from the two shapes.

    Returns:
        `boxes`.
    """
    result: Any = boxes
    (height, width), (old_height, old_width) = img1_shape[:2], img0_shape[:2]
    ratio = min(height / old_height, width / old_width) if ratio_pad is None else ratio_pad[0][0]
    centred = (width - old_width * ratio) / 2, (height - old_height * ratio) / 2
    left, top = centred if ratio_pad is None else ratio_pad[1]
    result[..., 0:4:2] = (result[..., 0:4:2] - left) / ratio
    result[..., 1:4:2] = (result[..., 1:4:2] - top) / ratio
    clip_boxes(result, img0_shape)
    return boxes


def box_iou(box1: Tensor, box2: Tensor) -> Tensor:
    """(n, 4), (m, 4) corners to their overlaps (n, m)."""
    from torchvision.ops import box_iou as overlaps

    return overlaps(box1.float(), box2.float())


scale_coords, clip_coords = scale_boxes, clip_boxes  # as releases before 7.0 call them


def time_sync() -> float:
    """Seconds, when a GPU has finished what it was given."""
    return seconds_when_done(select_device(""))


def smart_inference_mode() -> torch.inference_mode:
    """A decorator for functions without gradients."""
    return torch.inference_mode()
