"""A batch's way to its losses, one for the trainer and for all that measures its steps beforehand or beside it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from engine.runtime.device import Precision
    from models.loss import DetectionLoss, LossParts


def batch_losses(
    network: Callable[[Tensor], list[Tensor]],
    loss: DetectionLoss,
    images: Tensor,
    targets: Tensor,
    arithmetic: AbstractContextManager[Any],
    **options: Any,  # noqa: ANN401  (the loss's own)
) -> LossParts:
    """Forward pass and loss.

    Args:
        network: Gives raw maps.
        loss: From raw maps and targets to losses, in fp32 whatever the maps are.
        images: (B, C, H, W) as `scale_images` gives them.
        targets: (N, 6) rows of image, class, cx, cy, w, h.
        arithmetic: What the network runs in, such as `Precision.autocast`.
        options: Of the loss.

    Raises:
        ValueError: Where a single image cannot be normalised over the batch; says what to do.
    """
    with arithmetic:
        raw = _raw_maps(network, images)
    return loss(raw, targets, **options)


def _raw_maps(network: Callable[[Tensor], list[Tensor]], images: Tensor) -> list[Tensor]:
    """The forward pass; says what to do where a single image cannot be normalised over the batch."""
    try:
        return network(images)
    except ValueError as error:
        if len(images) > 1 or "more than 1 value per channel" not in str(error):
            raise
        raise ValueError(
            "a layer of this model normalises over the batch what it has pooled to one value, and this batch has "
            "one image; choose a --batch-size above 1 that does not leave a single image at the end of an epoch"
        ) from error


def scale_images(images: Tensor, precision: Precision) -> Tensor:
    """0..255 -> 0..1, in one pass over the input to the type and layout of the first convolution.

    bf16 holds every integer to 256, so dividing in it rounds as dividing in fp32 and converting later would.
    """
    dtype = torch.bfloat16 if precision.dtype is torch.bfloat16 and images.dtype is torch.uint8 else torch.float32
    return images.to(dtype=dtype, memory_format=precision.memory_format).div_(255)
