"""Losses of objectness and classes per element, by the name that `--obj-loss` and `--cls-loss` take.

`bce` is YOLOv5's: plain, or focal where `fl_gamma` is above 0. The others take `fl_gamma` as their exponent where it is
above 0, else their default, so that a name alone changes something.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FOCAL_ALPHA = 0.25
VARIFOCAL_ALPHA = 0.75
FOCAL_GAMMA, QFOCAL_GAMMA, VARIFOCAL_GAMMA = 1.5, 2.0, 2.0  # YOLOv5's; the papers' beta and gamma
SLIDE_LOW = 0.2  # the least threshold of Slide: with an untrained model's mean IoU all samples would count as hard
SLIDE_BAND = 0.1


def binary_loss(
    logits: Tensor,
    targets: Tensor,
    positive_weight: float = 1.0,
    focal_gamma: float = 0.0,
    *,
    kind: str = "bce",
    overlap: Tensor | None = None,
    mean_overlap: Tensor | None = None,
) -> Tensor:
    """A loss per element.

    Args:
        logits: Any shape.
        targets: The same shape, 0 to 1.
        positive_weight: Factor on the positives' share of the cross entropy.
        focal_gamma: Exponent; 0 for the default of `kind`.
        kind: bce, focal (Lin et al. 2017, arXiv:1708.02002), qfocal (Li et al. 2020, arXiv:2006.04388, equation 4),
            varifocal (Zhang et al. 2021, arXiv:2008.13367, equation 2) or slide (Yu et al. 2022, arXiv:2208.02019).
        overlap: For slide: what its samples' boxes overlap, broadcast to `logits`.
        mean_overlap: For slide: the mean overlap of positives.
    """
    weight = None if positive_weight == 1 else logits.new_tensor([positive_weight])
    loss = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weight, reduction="none")
    if kind == "slide":
        if overlap is None or mean_overlap is None:
            raise ValueError("Expected `overlap` and `mean_overlap` for the slide loss but got None")
        return loss * slide_weight(overlap, mean_overlap)
    if kind == "bce" and focal_gamma <= 0:
        return loss
    probability = logits.sigmoid()
    if kind == "qfocal":
        return loss * (targets - probability).abs() ** (focal_gamma or QFOCAL_GAMMA)
    if kind == "varifocal":
        negative = VARIFOCAL_ALPHA * probability ** (focal_gamma or VARIFOCAL_GAMMA)
        return loss * torch.where(targets > 0, targets, negative)
    of_target = targets * probability + (1 - targets) * (1 - probability)
    alpha = targets * FOCAL_ALPHA + (1 - targets) * (1 - FOCAL_ALPHA)
    return loss * alpha * (1 - of_target) ** (focal_gamma or FOCAL_GAMMA)


def slide_weight(overlap: Tensor, mean_overlap: Tensor) -> Tensor:
    """Weights of YOLO-FaceV2's Slide: 1 below the mean overlap less 0.1, most at the mean, 1 at overlap 1."""
    mean = mean_overlap.clamp(SLIDE_LOW)
    return torch.where(
        overlap <= mean - SLIDE_BAND,
        torch.ones_like(overlap),
        torch.exp(1 - torch.maximum(overlap, mean)),
    )
