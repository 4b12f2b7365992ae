"""Networks that are called as YOLOv5's: what `attempt_load` and `DetectMultiBackend` give.

The state dicts have YOLOv5's keys, and the weights may be of this project, the original or export.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from engine.inference.exported_network import open_exported
from engine.inference.network import Network, TorchNetwork
from engine.inference.open_weights import is_exported
from engine.inference.tta import augmented_predictions
from engine.runtime.device import Precision, select_device
from models.weights.checkpoint import load_model
from models.yolo import DetectionModel

_PLAIN = Precision(torch.float32, False, "fp32: that of the weights")
_NO_MAPS = (
    "model(x, profile=…, visualize=…): expected False; neither times nor maps are written while a model is called"
)
Weights = str | Path | Sequence[str | Path]


class Model(DetectionModel):
    """The network with YOLOv5's call: in eval mode (predictions, raw maps), in training mode the raw maps."""

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]  (it is another call on purpose)
        self, x: Tensor, augment: bool = False, profile: bool = False, visualize: bool = False
    ) -> list[Tensor] | tuple[Tensor, list[Tensor] | None]:
        """(B, C, H, W) 0..1 -> (B, N, 5 + nc) and the head's maps; `augment` predicts at three sizes.

        Raises:
            ValueError: If `profile` or `visualize` is asked for.
        """
        if profile or visualize:
            raise ValueError(_NO_MAPS)
        if augment:
            return augmented_predictions(self, x, _PLAIN), None
        raw = self.raw(x)
        return raw if self.training else (self.detect.decode(raw), raw)


class Ensemble(nn.ModuleList):
    """Several networks whose predictions stand one behind another, with the names of the first."""

    def __init__(self, models: Iterable[Model]) -> None:
        super().__init__(models)
        first = cast("Model", self[0])
        self.names, self.nc, self.yaml = first.names, first.nc, first.yaml
        self.stride = max((cast("Model", model).stride for model in self), key=lambda stride: float(stride.max()))

    def forward(self, x: Tensor, augment: bool = False, profile: bool = False) -> tuple[Tensor, None]:
        """(B, C, H, W) 0..1 -> (B, N of all, 5 + nc), None."""
        return torch.cat([model(x, augment, profile)[0] for model in self], 1), None


def attempt_load(
    weights: Weights,
    device: torch.device | str | None = None,
    inplace: bool = True,
    fuse: bool = True,
) -> Model | Ensemble:
    """Load weights in eval mode and fp32, as YOLOv5's; several are an ensemble.

    Args:
        weights: `.pt` files of this project or of the original; nothing in them is run.
        device: Where to put it; the CPU if None.
        inplace: Changes nothing: the head has one form.
        fuse: Fold batch normalisations into convolutions.

    Raises:
        ValueError: If a file cannot be used, or the files have different classes.
    """
    files = [weights] if isinstance(weights, (str, Path)) else list(weights)
    models = [cast("Model", load_model(file, device, build=Model)) for file in files]
    for model in models if fuse else ():
        model.fuse()
    if len(models) == 1:
        return models[0]
    if any(model.names != models[0].names for model in models):
        raise ValueError("an ensemble needs weights of the same classes in the same order; these differ")
    return Ensemble(models)


class DetectMultiBackend(nn.Module):
    """Weights of any kind under one call: `model(images)`, images (B, C, H, W) in 0..1 on its device.

    Attributes:
        names, stride, device, fp16: As of the weights; `stride` is a whole number of at least 32.
        model: The network of a `.pt` file.
        pt, jit, onnx, xml, engine: Which kind it is; YOLOv5's other kinds are always False.
    """

    def __init__(
        self,
        weights: Weights = "yolov5s.pt",
        device: torch.device | str = "cpu",
        dnn: bool = False,
        data: object = None,
        fp16: bool = False,
        fuse: bool = True,
    ) -> None:
        """Open weights.

        Args:
            weights: A `.pt` file, several, or a file of export.py.
            device: Where to run what can choose.
            dnn: Run ONNX with OpenCV.
            data: Changes nothing: files name their own classes.
            fp16: fp16 weights, on a GPU.
            fuse: As for `attempt_load`.

        Raises:
            ValueError: If a file cannot be used.
        """
        super().__init__()
        first = str(weights if isinstance(weights, (str, Path)) else weights[0])
        here = select_device(str(device))
        if is_exported(first):
            network = open_exported(first, here, "16" if fp16 else "32", dnn=dnn)
            self._describe(first, network.names, network.stride_px, network.device)
            self.network: Network | None = network
            return
        model = attempt_load(weights, here, fuse=fuse)
        self._describe(".pt", dict(model.names), int(model.stride.max()), here)
        self.network, self.fp16 = None, fp16 and here.type != "cpu"
        self.model = model.half() if self.fp16 else model

    @classmethod
    def of(cls, network: Network, kind: str = ".pt") -> DetectMultiBackend:
        """Round a network that is open; its call gives the predictions alone."""
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made._describe(kind, network.names, network.stride_px, network.device)
        made.network = network
        if isinstance(network, TorchNetwork):
            made.model = network.model
        return made

    def _describe(self, file: str, names: dict[int, str], stride_px: int, device: torch.device) -> None:
        for kind, ending in _KINDS.items():
            setattr(self, kind, file.rstrip("/\\").lower().endswith(ending))
        for kind in ("coreml", "saved_model", "pb", "tflite", "edgetpu", "tfjs", "paddle", "triton", "nhwc", "fp16"):
            setattr(self, kind, False)
        self.names, self.stride, self.device = names, max(stride_px, 32), device

    def forward(self, im: Tensor, augment: bool = False, visualize: bool = False) -> Tensor | list[Any]:
        """Predictions (B, N, 5 + nc); of `.pt` weights [predictions, raw maps], as YOLOv5's.

        Raises:
            ValueError: If test-time augmentation is asked of an exported file, or `visualize`.
        """
        if visualize:
            raise ValueError(_NO_MAPS)
        if self.network is None:
            return list(self.model(im.half() if self.fp16 else im, augment=augment))
        network = self.network.augmented() if augment else self.network
        with torch.inference_mode():
            return network(im.to(network.device).float())

    def warmup(self, imgsz: Sequence[int] = (1, 3, 640, 640)) -> None:
        """Run once on nothing, on a GPU."""
        if self.device.type != "cpu":
            with torch.inference_mode():
                self(torch.zeros(*imgsz, device=self.device))

    def from_numpy(self, x: Any) -> Any:  # noqa: ANN401  (an array, or what is none)
        """An array as a tensor on the device; other things stay."""
        return torch.from_numpy(x).to(self.device) if isinstance(x, np.ndarray) else x


_KINDS = {
    "pt": ".pt",
    "jit": ".torchscript",
    "onnx": ".onnx",
    "xml": (".xml", "_openvino_model"),
    "engine": ".engine",
}
