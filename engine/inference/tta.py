"""Test-time augmentation as YOLOv5 does it: three sizes, the middle one mirrored, all predictions together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from engine.runtime.device import Precision
    from models.yolo import DetectionModel

PASSES = ((1.0, False), (0.83, True), (0.67, False))  # scale, mirrored
_FILL = 0.447  # grey of the border, ImageNet's mean


def augmented_predictions(model: DetectionModel, images: Tensor, precision: Precision) -> Tensor:
    """Predict at three sizes and map everything back to the images.

    The coarsest level of the full size and the finest level of the smallest are left out: what they see, another pass
    sees better.

    Args:
        model: In eval mode, on the device of the images.
        images: (B, 3, H, W) RGB 0..1, H and W multiples of the stride.
        precision: The arithmetic of the network.

    Returns:
        (B, N, 5 + nc) float32: cx, cy, w, h in pixels of `images`, objectness, class scores.
    """
    predictions = []
    for number, (scale, mirrored) in enumerate(PASSES):
        seen = _scaled(images.flip(3) if mirrored else images, scale, int(model.stride.max()))
        with precision.autocast(images.device):
            raw = model.raw(seen.contiguous(memory_format=precision.memory_format))
        rows = model.detect.decode([level.float() for level in raw])
        rows[..., :4] /= scale
        if mirrored:
            rows[..., 0] = images.shape[3] - rows[..., 0]
        sizes = [math.prod(level.shape[1:4]) for level in raw]  # anchors x rows x columns
        start = sizes[0] if number == len(PASSES) - 1 else 0
        stop = rows.shape[1] - (sizes[-1] if number == 0 else 0)
        predictions.append(rows[:, start:stop])
    return torch.cat(predictions, 1)


def _scaled(images: Tensor, scale: float, stride_px: int) -> Tensor:
    """Reduce images and pad them at the right and below to multiples of the stride."""
    if scale == 1:
        return images
    height, width = images.shape[2:]
    size = int(height * scale), int(width * scale)
    small = F.interpolate(images, size=size, mode="bilinear", align_corners=False)
    padded = [math.ceil(side * scale / stride_px) * stride_px for side in (height, width)]
    return F.pad(small, (0, padded[1] - size[1], 0, padded[0] - size[0]), value=_FILL)
