"""Losses of a predicted box against the labelled one, by the name that `--box-loss` takes.

Each is `(M,)`, from `(M, 4)` pairs of boxes cx, cy, w, h in cells. GIoU and DIoU are torchvision's; the others follow
their papers, with an epsilon wherever a side or distance of 0 would divide by 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import box_convert, distance_box_iou_loss, generalized_box_iou_loss

EPS = 1e-7
SIOU_THETA = 4  # how much SIoU attends to shape; the paper's searches ended near 4
NWD_SIZE_PX = 12.8  # the constant C of NWD: AI-TOD's mean object size, which the paper takes
ALPHA = 3  # of alpha-IoU, the paper's choice


class BoxPairs(NamedTuple):
    """M predicted boxes, the labelled ones, and what scales them."""

    boxes_cxcywh: Tensor  # (M, 4) in cells
    others_cxcywh: Tensor  # (M, 4) in cells
    image_wh: Tensor  # (M, 2) the image's sides in cells of the level
    stride_px: Tensor  # (M,) side of a cell


class _Overlap(NamedTuple):
    iou: Tensor  # (M,)
    offset_xy: Tensor  # (M, 2) of the centres
    hull_wh: Tensor  # (M, 2) sides of the smallest box around both


def _overlap(boxes_cxcywh: Tensor, others_cxcywh: Tensor) -> _Overlap:
    (xy, wh), (other_xy, other_wh) = boxes_cxcywh.split(2, 1), others_cxcywh.split(2, 1)
    low, high, other_low, other_high = xy - wh / 2, xy + wh / 2, other_xy - other_wh / 2, other_xy + other_wh / 2
    overlap = (torch.minimum(high, other_high) - torch.maximum(low, other_low)).clamp(0).prod(1)
    iou = overlap / (wh.prod(1) + other_wh.prod(1) - overlap + EPS)
    return _Overlap(iou, other_xy - xy, torch.maximum(high, other_high) - torch.minimum(low, other_low))


def complete_iou(boxes_cxcywh: Tensor, others_cxcywh: Tensor, eps: float = EPS) -> Tensor:
    """CIoU of (M, 4) pairs of boxes: overlap, less normalised centre distance, less aspect difference.

    torchvision's `complete_box_iou_loss` computes the same from corners. It is not used because it takes sides as
    differences of corners: a predicted side below one float step of the centre becomes 0 there and its gradient NaN.

    Returns:
        (M,) values in (-1.5, 1]; the weight of the aspect term carries no gradient.
    """
    x, y, w, h = boxes_cxcywh.unbind(1)
    other_x, other_y, other_w, other_h = others_cxcywh.unbind(1)
    left, right, other_left, other_right = x - w / 2, x + w / 2, other_x - other_w / 2, other_x + other_w / 2
    top, bottom, other_top, other_bottom = y - h / 2, y + h / 2, other_y - other_h / 2, other_y + other_h / 2

    overlap_w = (torch.minimum(right, other_right) - torch.maximum(left, other_left)).clamp(0)
    overlap_h = (torch.minimum(bottom, other_bottom) - torch.maximum(top, other_top)).clamp(0)
    overlap = overlap_w * overlap_h
    iou = overlap / (w * h + other_w * other_h - overlap + eps)

    hull_w = torch.maximum(right, other_right) - torch.minimum(left, other_left)
    hull_h = torch.maximum(bottom, other_bottom) - torch.minimum(top, other_top)
    distance = ((other_x - x) ** 2 + (other_y - y) ** 2) / (hull_w**2 + hull_h**2 + eps)

    aspect = (4 / math.pi**2) * (torch.atan(other_w / other_h) - torch.atan(w / h)) ** 2
    with torch.no_grad():
        weight = aspect / (aspect - iou + (1 + eps))
    return iou - distance - weight * aspect


def _ciou(pairs: BoxPairs) -> Tensor:
    return 1 - complete_iou(pairs.boxes_cxcywh, pairs.others_cxcywh)


def _giou(pairs: BoxPairs) -> Tensor:
    """Rezatofighi et al. 2019, arXiv:1902.09630."""
    return generalized_box_iou_loss(*_corners(pairs), eps=EPS)


def _diou(pairs: BoxPairs) -> Tensor:
    """Zheng et al. 2020, arXiv:1911.08287."""
    return distance_box_iou_loss(*_corners(pairs), eps=EPS)


def _eiou(pairs: BoxPairs) -> Tensor:
    """Zhang et al. 2022, arXiv:2101.08158: DIoU, plus the squared differences of the sides over those of the hull."""
    iou, offset, hull = _overlap(pairs.boxes_cxcywh, pairs.others_cxcywh)
    sides = (pairs.boxes_cxcywh - pairs.others_cxcywh)[:, 2:] ** 2 / (hull**2 + EPS)
    return 1 - iou + (offset**2).sum(1) / ((hull**2).sum(1) + EPS) + sides.sum(1)


def _siou(pairs: BoxPairs) -> Tensor:
    """Gevorgyan 2022, arXiv:2205.12740: angle, distance and shape.

    The paper's angle cost 1 - 2 sin²(arcsin x - pi/4) is the sine of twice the angle: no arcsine is needed, whose
    gradient is infinite where the centres lie on one line.
    """
    iou, offset, hull = _overlap(pairs.boxes_cxcywh, pairs.others_cxcywh)
    angle = 2 * offset.abs().prod(1) / ((offset**2).sum(1) + EPS)
    distance = (1 - torch.exp((angle - 2)[:, None] * (offset / (hull + EPS)) ** 2)).sum(1)
    wh, other_wh = pairs.boxes_cxcywh[:, 2:], pairs.others_cxcywh[:, 2:]
    change = (wh - other_wh).abs() / (torch.maximum(wh, other_wh) + EPS)
    shape = ((1 - torch.exp(-change)) ** SIOU_THETA).sum(1)
    return 1 - iou + (distance + shape) / 2


def _wiou(pairs: BoxPairs) -> Tensor:
    """Version 1 of Tong et al. 2023, arXiv:2301.10051: IoU loss, more the farther the centres; the hull is constant."""
    iou, offset, hull = _overlap(pairs.boxes_cxcywh, pairs.others_cxcywh)
    return (1 - iou) * torch.exp((offset**2).sum(1) / ((hull**2).sum(1) + EPS).detach())


def _mpdiou(pairs: BoxPairs) -> Tensor:
    """Ma and Xu 2023, arXiv:2307.07662: IoU less both corners' squared distances over the image's squared diagonal."""
    boxes, others = _corners(pairs)
    iou = _overlap(pairs.boxes_cxcywh, pairs.others_cxcywh).iou
    return 1 - iou + ((boxes - others) ** 2).sum(1) / (pairs.image_wh**2).sum(1)


def _nwd(pairs: BoxPairs) -> Tensor:
    """Wang et al. 2021, arXiv:2110.13389: Wasserstein distance of the boxes as Gaussians, in pixels over 12.8."""
    difference = (pairs.boxes_cxcywh - pairs.others_cxcywh) * pairs.stride_px[:, None]
    squared = (difference[:, :2] ** 2).sum(1) + (difference[:, 2:] ** 2).sum(1) / 4
    return 1 - torch.exp(-torch.sqrt(squared + 1e-12) / NWD_SIZE_PX)  # the root's gradient at 0 is infinite


def _alphaiou(pairs: BoxPairs) -> Tensor:
    """He et al. 2021, arXiv:2110.13675: the terms of DIoU to the power of 3."""
    iou, offset, hull = _overlap(pairs.boxes_cxcywh, pairs.others_cxcywh)
    return 1 - iou**ALPHA + ((offset**2).sum(1) / ((hull**2).sum(1) + EPS)) ** ALPHA


def _corners(pairs: BoxPairs) -> tuple[Tensor, Tensor]:
    boxes, others = (box_convert(boxes, "cxcywh", "xyxy") for boxes in (pairs.boxes_cxcywh, pairs.others_cxcywh))
    return boxes, others


BOX_LOSS: dict[str, Callable[[BoxPairs], Tensor]] = {
    "ciou": _ciou,
    "giou": _giou,
    "diou": _diou,
    "eiou": _eiou,
    "siou": _siou,
    "wiou": _wiou,
    "mpdiou": _mpdiou,
    "nwd": _nwd,
    "alphaiou": _alphaiou,
}
