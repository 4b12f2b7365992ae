"""Images in, detections out: letterbox, network, non-maximum suppression, back to the pixels of the original image."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from data.images import Letterboxed, letterbox, to_channels, unletterbox

if TYPE_CHECKING:
    from engine.inference.network import Network


class Detections(NamedTuple):
    """What was found on one image, most confident first.

    Attributes:
        boxes_xyxy_px: (n, 4) float32 corners in pixels of the original image, inside it.
        confidences: (n,) float32.
        class_ids: (n,) int64.
        track_ids: (n,) int64 where objects are followed from frame to frame.
    """

    boxes_xyxy_px: np.ndarray
    confidences: np.ndarray
    class_ids: np.ndarray
    track_ids: np.ndarray | None = None


class Prepared(NamedTuple):
    """A letterboxed image and what is needed to come back from it."""

    letterboxed: Letterboxed
    original_hw: tuple[int, int]

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width of the network's input."""
        height, width = self.letterboxed.image.shape[:2]
        return height, width


@dataclass(frozen=True)
class Selection:
    """Which predictions become detections; the arguments of `non_max_suppression`.

    Attributes:
        conf_thres: Detections are more confident than this.
        iou_thres: Of two that overlap more than this the less confident goes.
        classes: Keep only these classes; None keeps all.
        agnostic: Let detections of different classes suppress each other.
        max_det: Detections per image at most.
        multi_label: Every class above the threshold gives a detection, not only the best one of a box.
    """

    conf_thres: float = 0.25
    iou_thres: float = 0.45
    classes: tuple[int, ...] | None = None
    agnostic: bool = False
    max_det: int = 1000
    multi_label: bool = False


@dataclass
class Seconds:
    """Time spent so far, and the number of images."""

    prepare: float = 0.0
    network: float = 0.0
    nms: float = 0.0
    images: int = 0


class Predictor:
    """A network that looks at images."""

    def __init__(
        self,
        network: Network,
        *,
        image_px: int | tuple[int, int] = 640,
        selection: Selection | None = None,
        square: bool = False,
    ) -> None:
        """Take a network.

        Args:
            network: The detector, with its device and its precision.
            image_px: Longest side, or (height, width), in pixels; multiples of the model's largest stride.
            selection: Which predictions to keep.
            square: Pad to the full size instead of to the next multiple of the stride.

        Raises:
            ValueError: If `image_px` is no multiple of the stride, or not the one size that an exported file takes.
        """
        self.network = network
        self.stride_px = network.stride_px
        self.image_hw = (image_px, image_px) if isinstance(image_px, int) else image_px
        if any(side < 1 or side % self.stride_px for side in self.image_hw):
            raise ValueError(f"Expected image_px to be multiples of {self.stride_px} but got {image_px}")
        if network.image_hw not in (None, self.image_hw):
            raise ValueError(
                f"Expected image_px to be {network.image_hw}, the size of the file, but got {self.image_hw}"
            )
        self.device, self.square = network.device, square or network.image_hw is not None
        self.selection = selection or Selection()
        self.names: dict[int, str] = dict(network.names)
        self.seconds = Seconds()
        self._adding = threading.Lock()

    def __call__(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Detect on images of any sizes.

        Args:
            images: (H, W, C) uint8 each, RGB or as in `data.images.to_channels`.

        Returns:
            Detections of each image.
        """
        return self.detect([self.prepare(image) for image in images])

    def prepare(self, image: np.ndarray) -> Prepared:
        """Letterbox an image as YOLOv5's detect.py does; safe to call from another thread."""
        start = time.perf_counter()
        height, width = image.shape[:2]
        letterboxed = letterbox(
            to_channels(image, self.network.channels), self.image_hw, stride=self.stride_px, auto=not self.square
        )
        self.seconds.prepare += time.perf_counter() - start
        return Prepared(letterboxed, (height, width))

    def detect(self, batch: Sequence[Prepared]) -> list[Detections]:
        """Detect on prepared images; those of equal shape go through the network together.

        Returns:
            Detections of each image, in the order given.
        """
        return self.timed_detect(batch)[0]

    def timed_detect(self, batch: Sequence[Prepared]) -> tuple[list[Detections], float]:
        """What `detect` gives, and the seconds of the network; several threads may call it if they may the network."""
        shapes: dict[tuple[int, int], list[int]] = {}
        for index, prepared in enumerate(batch):
            shapes.setdefault(prepared.hw, []).append(index)
        found: dict[int, Detections] = {}
        network_s = nms_s = 0.0
        for indices in shapes.values():
            some, *spent = self._detect_same_shape([batch[i] for i in indices])
            found.update(zip(indices, some, strict=True))
            network_s, nms_s = network_s + spent[0], nms_s + spent[1]
        with self._adding:
            self.seconds.images += len(batch)
            self.seconds.network += network_s
            self.seconds.nms += nms_s
        return [found[index] for index in range(len(batch))], network_s

    def _detect_same_shape(self, batch: Sequence[Prepared]) -> tuple[list[Detections], float, float]:
        """Detections, seconds of the network, seconds of what follows."""
        import torch  # here, because `without_torch` builds on this class

        with torch.inference_mode():
            return self._through_torch(batch)

    def _through_torch(self, batch: Sequence[Prepared]) -> tuple[list[Detections], float, float]:
        import torch

        from engine.runtime.device import seconds_when_done

        start = seconds_when_done(self.device)
        pixels = torch.from_numpy(np.stack([prepared.letterboxed.image for prepared in batch]))  # (B, H, W, C)
        images = pixels.to(self.device).permute(0, 3, 1, 2)  # (B, C, H, W)
        # Whole numbers to 255 are exact in every type, so the quotient is rounded once.
        images = images.to(self.network.dtype, memory_format=self.network.memory_format) / 255
        predictions = self.network(images)  # (B, N, 5 + classes)
        done = seconds_when_done(self.device)
        rows = self.network.select(predictions, **asdict(self.selection))
        found = [self._to_original(one.cpu().numpy(), prepared) for one, prepared in zip(rows, batch, strict=True)]
        return found, done - start, seconds_when_done(self.device) - done

    @staticmethod
    def _to_original(rows: np.ndarray, prepared: Prepared) -> Detections:
        _, ratio, pad_xy_px = prepared.letterboxed
        boxes = unletterbox(rows[:, :4], prepared.original_hw, ratio, pad_xy_px)
        return Detections(boxes, rows[:, 4], rows[:, 5].astype(np.int64))

    def warm_up(self) -> None:
        """Run the network once on nothing, so that the first image's time is like the others'."""
        import torch

        shape = (1, self.network.channels, *self.image_hw)
        empty = torch.zeros(shape, device=self.device, dtype=self.network.dtype)
        with torch.inference_mode():
            self.network(empty.contiguous(memory_format=self.network.memory_format))
