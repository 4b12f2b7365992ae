"""A network ready to look at images, whatever file it came from: what detect.py and val.py see of a model."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from engine.inference.fused_conv_silu import fuse_silu
from engine.inference.nms import non_max_suppression
from engine.inference.tta import augmented_predictions
from engine.runtime.console import note
from engine.runtime.device import Precision

if TYPE_CHECKING:
    from models.yolo import DetectionModel

OPENVINO_FOLDER = "_openvino_model"
NCNN_FOLDER = "_ncnn_model"


class Network:
    """Images in, predictions out.

    Attributes:
        names: From class number to class name.
        stride_px: What the sides of an image must be multiples of.
        device: Where the images should be.
        memory_format: In which order its images are best stored.
        image_hw: The one size it takes; None takes any.
        batch_size: The one batch size it takes; None takes any.
        channels: Of its images, as in `data.images.read_image`.
        dtype: What its images are best given in.
        parallel: Whether several threads may call it at the same time, and gain by it.
        finished: Whether it gives finished detections, (B, n, 6) with rows of zeros, instead of predictions.
        description: For the log.
    """

    names: dict[int, str]
    stride_px: int
    device: torch.device
    memory_format: torch.memory_format = torch.contiguous_format
    image_hw: tuple[int, int] | None = None
    batch_size: int | None = None
    channels: int = 3
    dtype: torch.dtype = torch.float32
    parallel: bool = False
    finished: bool = False
    description: str = ""

    @property
    def nc(self) -> int:
        """Number of classes."""
        return len(self.names)

    def __call__(self, images: Tensor) -> Tensor:
        """Predict.

        Args:
            images: (B, channels, H, W) 0..1 on `device`, float32 or `dtype`.

        Returns:
            (B, N, 5 + nc) float32: cx, cy, w, h in pixels, objectness, class scores; see `finished`.
        """
        raise NotImplementedError

    def augmented(self) -> Network:
        """The same network, predicting at several sizes.

        Raises:
            ValueError: If it is an exported file's, which cannot.
        """
        raise ValueError("augment: test-time augmentation needs the .pt file")

    def follow_weights(self) -> None:
        """Take note that the weights were moved to another device or type."""

    def select(
        self,
        predictions: Tensor,
        *,
        conf_thres: float,
        classes: Iterable[int] | None = None,
        max_det: int,
        **others: Any,  # noqa: ANN401  (non_max_suppression's own)
    ) -> list[Tensor]:
        """What `non_max_suppression` does, with its arguments; finished detections are only filtered."""
        if not self.finished:
            return non_max_suppression(predictions, conf_thres=conf_thres, classes=classes, max_det=max_det, **others)
        kept = []
        for rows in predictions:
            wanted = rows[:, 4] > conf_thres
            if classes is not None:
                wanted &= torch.isin(rows[:, 5].long(), torch.tensor(sorted(classes), device=rows.device))
            kept.append(rows[wanted][:max_det])
        return kept


class PlainNetwork(Network):
    """A model of this project as it is, e.g. while it is trained; boxes are always decoded in float32."""

    def __init__(self, model: DetectionModel, device: torch.device, precision: Precision) -> None:
        """Take a model that is on the device already.

        Args:
            model: Is put into eval mode.
            device: Where it is.
            precision: In which arithmetic to run.
        """
        self.model, self.device, self.precision = model.eval(), device, precision
        self.names, self.stride_px, self.channels = dict(model.names), model.stride_px, model.channels
        self.memory_format = precision.memory_format

    def raw(self, images: Tensor) -> list[Tensor]:
        """The head's raw maps in float32, which a loss takes; `decode` makes predictions of them."""
        with self.precision.autocast(self.device):
            raw = self.model.raw(images)
        return [level.float() for level in raw]

    def decode(self, raw: Sequence[Tensor]) -> Tensor:
        """Raw maps -> predictions, see `__call__`."""
        return self.model.detect.decode(raw)

    def __call__(self, images: Tensor) -> Tensor:
        """See the base class."""
        return self.decode(self.raw(images))


class TorchNetwork(PlainNetwork):
    """A model of this project, fused."""

    def __init__(
        self, model: DetectionModel, device: torch.device, precision: Precision, *, augment: bool = False
    ) -> None:
        """Fuse the model in place and move it to the device.

        Args:
            model: Is put into eval mode.
            device: Where to run.
            precision: In which arithmetic.
            augment: Predict at several sizes, see `engine.inference.tta`.
        """
        model = model.eval().fuse().to(device).to(memory_format=precision.memory_format)
        super().__init__(model, device, precision)
        self.augment = augment
        if device.type == "cpu":
            self.parallel = True
            fuse_silu(self.model, precision.dtype)
        if not augment:  # whose smaller images are interpolated
            self.dtype = precision.dtype
        parameters = sum(parameter.numel() for parameter in model.parameters())
        self.description = f"{parameters:,} parameters, {device}, {precision.reason}"

    def augmented(self) -> Network:
        """See the base class."""
        made = copy.copy(self)  # of the same weights
        made.augment, made.dtype = True, torch.float32
        return made

    def follow_weights(self) -> None:
        """See the base class; fp16 weights stay fp16, where they are on a GPU, and on a CPU become fp32 again."""
        weight = next(self.model.parameters())
        self.device, self.parallel = weight.device, weight.device.type == "cpu"
        if self.device.type == "cpu" and weight.dtype is not torch.float32:
            note("the arithmetic on a CPU is that of `precision`; the weights stay in fp32")
            self.model.float()
        elif weight.dtype is not torch.float32:
            self.precision = Precision(torch.float32, self.precision.channels_last, f"{weight.dtype}: the weights'")
            self.dtype = weight.dtype
        elif self.dtype is not self.precision.dtype and not self.augment:
            self.dtype = self.precision.dtype

    def __call__(self, images: Tensor) -> Tensor:
        """See the base class."""
        return augmented_predictions(self.model, images, self.precision) if self.augment else super().__call__(images)


class Ensemble(Network):
    """Several networks of the same classes; their predictions are suppressed together, as in the original."""

    def __init__(self, members: Sequence[Network]) -> None:
        """Put networks together.

        Raises:
            ValueError: If they do not go together.
        """
        first = members[0]
        if any(member.names != first.names for member in members):
            raise ValueError("an ensemble needs weights of the same classes in the same order; these differ")
        if any(member.channels != first.channels for member in members):
            raise ValueError("an ensemble needs weights that read the same channels; these differ in `ch`")
        if any(member.image_hw is not None or member.finished for member in members):
            raise ValueError("an ensemble takes .pt files, and files exported with --dynamic and without --nms")
        self.members, self.channels = list(members), first.channels
        self.names, self.device, self.memory_format = first.names, first.device, first.memory_format
        self.stride_px = max(member.stride_px for member in members)
        self.description = f"ensemble of {len(members)}: " + "; ".join(member.description for member in members)

    def __call__(self, images: Tensor) -> Tensor:
        """See the base class."""
        return torch.cat([member(images.to(member.device)).to(self.device) for member in self.members], 1)
