"""Explains what a model found on an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from engine.explanation.explanation import Explanation
from engine.explanation.gates import Gate, read_gates, silent_layers
from engine.explanation.layer_cam import layer_cams
from engine.inference.predictor import Detections, Prepared
from models.attention import attention_layers
from models.yolo import DetectionModel

KINDS = ("cam", "gates", "features")
MOST_BOXES = 50  # detections explained in an image
FEATURE_CHANNELS = 32  # of a sheet, as in YOLOv5


def usual_kinds(model: DetectionModel) -> tuple[str, ...]:
    """What a page shows side by side: the heat, and the gates where there is attention."""
    return ("cam", "gates") if attention_layers(model) else ("cam",)


class Explainer:
    """Explanations of a model's detections, in float32.

    The detections come from elsewhere and stay as they are: whatever arithmetic found them, this only looks.
    """

    def __init__(self, model: DetectionModel, names: Mapping[int, str], kinds: Sequence[str] = ("cam",)) -> None:
        """Take a model, which goes into eval mode.

        Args:
            model: Is not changed; nothing else may call it at the same time.
            names: Class names by number.
            kinds: Of `KINDS`: "cam", "gates", "features".

        Raises:
            ValueError: If a kind is unknown, gates are wanted of a model without attention, or only gates of one whose
                attention tells none.
        """
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown:
            raise ValueError(f"Expected kinds of {', '.join(KINDS)} but got {unknown[0]!r}")
        self.model, self.names, self.kinds = model.eval(), names, tuple(kinds)
        self._silent = silent_layers(model) if "gates" in kinds else []
        if self.kinds == ("gates",) and len(self._silent) == len(attention_layers(model)):
            raise ValueError(
                f"{', '.join(self._silent)}: this attention adds or mixes positions and has no gate to show; "
                "ask for cam instead"
            )

    def __call__(self, prepared: Prepared, image: np.ndarray, found: Detections, path: str = "") -> Explanation:
        """Explain one image.

        Args:
            prepared: The image as the network saw it.
            image: (H, W, 3) uint8 RGB.
            found: Its detections; the first `MOST_BOXES` are explained.
            path: Where it comes from.
        """
        kept = Detections(*(values[:MOST_BOXES] for values in found[:3]))
        pixels, ratio, (pad_x, pad_y) = prepared.letterboxed
        images = torch.from_numpy(pixels).to(self._device).permute(2, 0, 1)[None].float() / 255  # (1, C, H, W)
        height, width = prepared.hw
        boxes = kept.boxes_xyxy_px * ratio + np.array([pad_x, pad_y, pad_x, pad_y], np.float32)
        old_h, old_w = prepared.original_hw
        content = (pad_x / width, pad_y / height, (pad_x + old_w * ratio) / width, (pad_y + old_h * ratio) / height)
        return Explanation(
            image,
            kept,
            self.names,
            path,
            cams=self._cams(images, boxes, kept.class_ids) if "cam" in self.kinds else None,
            gates=tuple(self._gates(images, boxes)) if "gates" in self.kinds else None,
            features=self._features(images) if "features" in self.kinds else None,
            content_xyxy=content,
            detections=len(found.confidences),
            silent=tuple(self._silent),
        )

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _cams(self, images: Tensor, boxes_xyxy_px: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
        boxes = torch.from_numpy(np.ascontiguousarray(boxes_xyxy_px)).to(images)
        classes = torch.from_numpy(np.ascontiguousarray(class_ids)).to(images.device)
        return layer_cams(self.model, images, boxes, classes).cpu().numpy()

    def _gates(self, images: Tensor, boxes_xyxy_px: np.ndarray) -> list[Gate]:
        height, width = images.shape[-2:]
        x, y = boxes_xyxy_px[:, 0::2].mean(1) / width, boxes_xyxy_px[:, 1::2].mean(1) / height
        centres = np.stack((y, x), 1).clip(0, 1).tolist()
        return read_gates(self.model, images, [(row, column) for row, column in centres])

    @torch.no_grad()
    def _features(self, images: Tensor) -> dict[str, np.ndarray]:
        """The first channels of every row's map but the head's, as YOLOv5's feature sheets show them."""
        with _outputs_of(list(self.model.model)[:-1]) as maps:
            self.model(images)
        return {
            f"{row:02d}_{type(self.model.model[row]).__name__}": one[0, :FEATURE_CHANNELS].half().cpu().numpy()
            for row, one in maps.items()
            if one.ndim == 4 and one.shape[-2] > 1 and one.shape[-1] > 1
        }


@contextmanager
def _outputs_of(rows: Sequence[nn.Module]) -> Iterator[dict[int, Tensor]]:
    """The map of each row in the forward pass made inside the block."""
    maps: dict[int, Tensor] = {}

    def keep(row: int) -> Callable[[nn.Module, object, Tensor], None]:
        # a copy, because a later row may work in place
        return lambda _, __, output: maps.update({row: output[:, :FEATURE_CHANNELS].clone()})

    hooks = [module.register_forward_hook(keep(row)) for row, module in enumerate(rows)]
    try:
        yield maps
    finally:
        for hook in hooks:
            hook.remove()
