"""The network as it is written into other formats: images in, YOLOv5's output or finished detections out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from models.yolo import Detect, DetectionModel

_CANDIDATES = 1024  # most confident boxes of an image that take part in the suppression inside a file


class Decoding(nn.Module):
    """`Detect.decode` as a module, so that its operations have names of their own in the written graph."""

    def __init__(self, detect: Detect) -> None:
        super().__init__()
        self.detect = detect

    def forward(self, raw: list[Tensor]) -> Tensor:
        """Raw maps -> (B, N, 5 + nc) float32."""
        return self.detect.decode(raw)


class Suppression(nn.Module):
    """Non-maximum suppression with a fixed number of rows: those without a detection are zero.

    Works within a class on the best class of each box, among the 1,024 most confident boxes.
    """

    def __init__(self, conf_thres: float, iou_thres: float, max_det: int) -> None:
        super().__init__()
        import torchvision.ops  # its operators must be there before tracing begins

        self._nms = torchvision.ops.nms
        self.conf_thres, self.iou_thres, self.max_det = conf_thres, iou_thres, max_det

    def forward(self, predictions: Tensor) -> Tensor:
        """(B, N, 5 + nc) -> (B, max_det, 6): x1, y1, x2, y2 px, confidence, class."""
        return torch.stack([self._one(rows) for rows in predictions.unbind(0)])

    def _one(self, rows: Tensor) -> Tensor:
        confidence, class_id = (rows[:, 5:] * rows[:, 4:5]).max(1)
        confidence, order = confidence.topk(min(_CANDIDATES, rows.shape[0]))
        rows, class_id = rows[order], class_id[order].float()
        half_size = rows[:, 2:4] / 2
        boxes = torch.cat((rows[:, :2] - half_size, rows[:, :2] + half_size), 1)
        apart = boxes + class_id[:, None] * (boxes.max() - boxes.min() + 1)  # classes do not overlap
        found = torch.cat((boxes, confidence[:, None], class_id[:, None]), 1)
        found = found * (confidence > self.conf_thres)[:, None].float()
        found = found[self._nms(apart, confidence, self.iou_thres)]
        return torch.cat((found, found.new_zeros(self.max_det, 6)))[: self.max_det]


class ExportModule(nn.Module):
    """A fused network in eval mode with its decoding, and the suppression if wanted; or with neither."""

    def __init__(
        self, model: DetectionModel, suppression: Suppression | None = None, *, raw_head: bool = False
    ) -> None:
        super().__init__()
        self.network = model
        self.decode = None if raw_head else Decoding(model.detect)  # pnnx stumbles over a module with two places
        self.suppression = suppression

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """(B, C, H, W) 0..1 -> (B, N, 5 + nc), or (B, max_det, 6) with suppression; float32.

        With `raw_head` a map (B, anchors x (5 + nc), H, W) a level, before the sigmoid.
        """
        if self.decode is None:
            return tuple(self.network.detect.maps(self.network.features(images)))
        predictions = self.decode(self.network.raw(images))
        return predictions if self.suppression is None else self.suppression(predictions)
