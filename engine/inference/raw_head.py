"""Files that end with the head's convolutions (`export.py --raw-head`, ncnn): the decoding they leave out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from models.yolo import Detect, DetectionModel


def head_facts(model: DetectionModel) -> dict[str, list]:
    """What the decoding needs to know: `strides`, and `anchors_px` as w, h, w, h, … a level."""
    anchors = (model.detect.anchors * model.stride.view(-1, 1, 1)).flatten(1).tolist()
    return {"strides": model.stride.tolist(), "anchors_px": [[round(side, 4) for side in level] for level in anchors]}


class HeadDecoding:
    """From the maps of a file to predictions.

    Args:
        facts: Of `head_facts`.
        nc: Number of classes.
    """

    def __init__(self, facts: Mapping[str, list], nc: int) -> None:
        self._head = Detect(nc, facts["anchors_px"], [1] * len(facts["strides"]), facts["strides"])

    def __call__(self, maps: Sequence[Any]) -> Tensor:
        """(B, anchors x (5 + classes), H, W) a level, arrays or tensors -> (B, N, 5 + classes).

        Raises:
            ValueError: If the maps are not those that the facts speak of.
        """
        head, levels = self._head, [torch.as_tensor(one).cpu().float() for one in maps]
        shapes, channels = [tuple(one.shape) for one in levels], head.na * head.no
        if len(levels) != head.nl or any(len(shape) != 4 or shape[1] != channels for shape in shapes):
            raise ValueError(
                f"the exported file gives {shapes}; expected {head.nl} maps (images, {channels}, H, W) by its facts"
            )
        with torch.no_grad():
            return head.decode(head.by_anchor(levels))
