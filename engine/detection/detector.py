"""Detection from Python: `load_model("best.pt").predict("image.jpg")`.

`models.load_model` gives the network alone; this one gives what a user wants to call. It is in `engine`, because
`models` knows nothing of images and suppression.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from data.images import WITH_ALPHA, to_channels
from engine.detection.given_images import images_of
from engine.detection.parameters import speaks_of_parameters
from engine.detection.results import Result, Results
from engine.explanation import Explainer, Explanation, usual_kinds
from engine.inference.image_size import whole_strides
from engine.inference.network import Network, PlainNetwork, TorchNetwork
from engine.inference.open_weights import open_network
from engine.inference.original_call import DetectMultiBackend
from engine.inference.predictor import Predictor, Prepared, Selection
from engine.runtime.device import Precision, select_device
from models.user_modules import load_modules
from models.yolo import DetectionModel

_BATCH = 8


@speaks_of_parameters
def load_model(
    weights: str | Path | Sequence[str | Path],
    device: str = "",
    *,
    precision: str = "auto",
    augment: bool = False,
    module: str | Path | Sequence[str | Path] = (),
) -> Detector:
    """Load weights for detection.

    Args:
        weights: A `.pt` file, a file of export.py, or several for an ensemble.
        device: As `--device`: "", "cpu", "mps" or a GPU number.
        precision: As `--precision`: "32", "bf16", "16" or "auto".
        augment: Test-time augmentation.
        module: As `--module`: a Python file with classes of your own that the weights need, or several; they are run.

    Raises:
        ValueError: If the weights or the device cannot be used.
    """
    load_modules(module)
    files = [weights] if isinstance(weights, (str, Path)) else weights
    return Detector(open_network([str(file) for file in files], select_device(device), precision, augment=augment))


class Detector(nn.Module):
    """A network with thresholds, ready to be called; to scripts it is YOLOv5's `AutoShape`, a module with its weights.

    Attributes:
        conf, iou, classes, agnostic, multi_label, max_det: What is kept, as in YOLOv5's hub models; may be set at any
            time.
        amp: On a GPU, fp16 by autocast whatever the precision.
        names: From class number to class name.
        model: The network as `DetectMultiBackend`; `model.model` has the weights of a `.pt` file.
        dmb, pt: Whether there is such a backend, always, and whether the weights are a `.pt` file's.
    """

    __module__ = "models.common"  # where it is in YOLOv5; sahi asks

    conf = 0.25
    iou = 0.45
    classes: Sequence[int] | None = None
    agnostic = False
    multi_label = False
    max_det = 1000
    amp = False
    dmb = True
    network: Network
    _OWN = ("network", "model", "names", "training")

    def __init__(self, network: Network | nn.Module, verbose: bool = True) -> None:
        """Take a network, or what `attempt_load` or `DetectMultiBackend` gave; `verbose` changes nothing.

        Raises:
            ValueError: If it is something else.
        """
        super().__init__()
        if isinstance(network, nn.Module):
            network = _network_of(network)
        self.network = network
        self.model = DetectMultiBackend.of(network, ".pt" if isinstance(network, TorchNetwork) else "")

    def __setattr__(self, name: str, value: Any) -> None:  # noqa: ANN401  (any attribute)
        """Refuse unknown names, which would be typing errors without effect."""
        if not (hasattr(type(self), name) or name in self._OWN):
            raise AttributeError(f"a detector has no {name!r}; expected {', '.join(Selection.__dataclass_fields__)}")
        super().__setattr__(name, value)

    @property
    def names(self) -> dict[int, str]:
        """Class names by number."""
        return dict(self.network.names)

    @names.setter
    def names(self, names: Sequence[str] | Mapping[int, str]) -> None:
        self.network.names = dict(names) if isinstance(names, Mapping) else dict(enumerate(names))

    @property
    def stride(self) -> int:
        """What the sides of an image must be multiples of."""
        return self.network.stride_px

    @property
    def pt(self) -> bool:
        """Whether the weights are a `.pt` file's."""
        return isinstance(self.network, TorchNetwork)

    @property
    def nc(self) -> int:
        """Number of classes."""
        return self.network.nc

    @property
    def yaml(self) -> dict[str, Any]:
        """The layer list; empty for exported files."""
        return self.network.model.yaml if isinstance(self.network, TorchNetwork) else {}

    def _apply(self, fn: Any, recurse: bool = True) -> Detector:  # noqa: ANN401  (torch's)
        """What `to`, `cpu`, `cuda`, `half` and `float` do: the network's device goes along."""
        super()._apply(fn, recurse)
        self.network.follow_weights()
        self.model.device = self.network.device
        return self

    @speaks_of_parameters
    def predict(self, source: Any, *, imgsz: int | tuple[int, int] = 640) -> Results:  # noqa: ANN401  (many kinds)
        """Detect on images.

        Args:
            source: A path, folder, pattern, video or URL as `--source` takes it; a NumPy array (H, W, 3) uint8 BGR as
                OpenCV reads it, (H, W, 4) with alpha, or (H, W) grey; a PIL image; a tensor (C, H, W) or (B, C, H, W),
                grey, RGB or RGB and alpha, uint8 or 0..1; or a list of any of them; the model's channels
                are made of it.
            imgsz: Longest side, or height and width, that images are fitted into; rounded up to the stride.

        Returns:
            A result for each image or frame.

        Raises:
            ValueError: If something is no image or cannot be read, or never ends as cameras do.
        """
        images = images_of(source, rgb_arrays=False, alpha=self._alpha)
        return self._detect(images, self._image_hw(imgsz), self._network())

    @speaks_of_parameters
    def forward(
        self,
        ims: Any,  # noqa: ANN401  (many kinds)
        size: int | tuple[int, int] = 640,
        augment: bool = False,
        profile: bool = False,
    ) -> Results | Tensor:
        """Detect as YOLOv5's hub models do: as `predict`, but arrays are RGB.

        Args:
            ims: See `predict`; a float tensor (B, C, H, W) goes straight through the network.
            size: Longest side of the network's input.
            augment: Test-time augmentation.
            profile: Changes nothing, as in YOLOv5: the results have their times.

        Returns:
            Results; for a tensor the raw predictions (B, N, 5 + nc).

        Images of several shapes are padded to one, as in YOLOv5; `predict` pads each as little as it can.
        """
        network = self._network(augment)
        if isinstance(ims, Tensor):
            with torch.inference_mode():
                return network(ims.to(network.device, network.dtype))
        images = list(images_of(ims, rgb_arrays=True, alpha=self._alpha))
        return self._detect(images, self._common_hw([image for _, image in images], size), network, square=True)

    @speaks_of_parameters
    def explain(
        self,
        source: Any,  # noqa: ANN401  (many kinds)
        *,
        imgsz: int | tuple[int, int] = 640,
        kinds: Sequence[str] | None = None,
    ) -> Explanation:
        """Detect on one image and say what the model looked at.

        Args:
            source: One image, as `predict` takes it.
            imgsz: As in `predict`.
            kinds: Of "cam" (heat of every detection), "gates" (of the attention) and "features" (maps of every row);
                None: cam, and gates where the model has attention.

        Returns:
            Arrays; `.plot()` -> RGB array, `.save(folder)` writes pictures and a page.

        Raises:
            ValueError: If it is not one image, the model is exported or an ensemble, or has no gates that were asked
                for.
        """
        if not isinstance(self.network, PlainNetwork):
            raise ValueError("explain() looks into a model of one .pt file; exported models and ensembles hide theirs")
        (path, image), *others = images_of(source, rgb_arrays=False, alpha=self._alpha)
        if others:
            raise ValueError(f"Expected one image but got {1 + len(others)}; explain them one by one")
        model = self.network.model
        kinds = usual_kinds(model) if kinds is None else kinds
        predictor = Predictor(self.network, image_px=self._image_hw(imgsz), selection=self._selection())
        prepared = predictor.prepare(image)
        (found,) = predictor.detect([prepared])
        return Explainer(model, self.names, kinds)(prepared, to_channels(image, 3), found, path)

    def _network(self, augment: bool = False) -> Network:
        network = self.network.augmented() if augment else self.network
        if self.amp and isinstance(network, TorchNetwork) and network.device.type != "cpu":
            network = copy.copy(network)
            network.precision = Precision(torch.float16, network.precision.channels_last, "fp16: amp")
        return network

    def _detect(
        self,
        images: Iterable[tuple[str, np.ndarray]],
        image_hw: tuple[int, int],
        network: Network,
        *,
        square: bool = False,
    ) -> Results:
        predictor = Predictor(network, image_px=image_hw, selection=self._selection(), square=square)
        results: list[Result] = []
        shapes: list[tuple[int, int]] = []
        waiting: list[tuple[str, np.ndarray, Prepared]] = []

        def flush() -> None:
            found = predictor.detect([prepared for *_, prepared in waiting])
            for (path, image, prepared), one in zip(waiting, found, strict=True):
                results.append(Result(to_channels(image, 3), *one[:3], self.names, path))
                shapes.append(prepared.hw)
            waiting.clear()

        for path, image in images:
            waiting.append((path, image, predictor.prepare(image)))
            if len(waiting) == _BATCH:
                flush()
        if waiting:
            flush()
        seconds, count = predictor.seconds, max(predictor.seconds.images, 1)
        prepare, inside, nms = (1000 * spent / count for spent in (seconds.prepare, seconds.network, seconds.nms))
        hw = tuple(max(sides) for sides in zip(*shapes, strict=True)) if shapes else image_hw
        return Results(results, self.names, (prepare, inside, nms), (len(results), network.channels, *hw))

    @property
    def _alpha(self) -> bool:
        return self.network.channels in WITH_ALPHA

    def _image_hw(self, imgsz: int | tuple[int, int]) -> tuple[int, int]:
        if self.network.image_hw is not None:
            return self.network.image_hw
        height, width = (imgsz, imgsz) if isinstance(imgsz, int) else imgsz
        if min(height, width) < 1:
            raise ValueError(f"Expected `imgsz` of at least 1 px but got {imgsz}")
        return whole_strides(height, self.stride), whole_strides(width, self.stride)

    def _common_hw(self, images: Sequence[np.ndarray], size: int | tuple[int, int]) -> tuple[int, int]:
        """Sides that hold every image at `size` px along its longer side, as YOLOv5 rounds them."""
        if self.network.image_hw is not None or not images:
            return self._image_hw(size)
        longest = max(self._image_hw(size)) if isinstance(size, int) else max(size)
        scaled = [[int(side * longest / max(image.shape[:2])) for side in image.shape[:2]] for image in images]
        height, width = (whole_strides(max(sides, default=1), self.stride) for sides in zip(*scaled, strict=True))
        return max(height, self.stride), max(width, self.stride)

    def _selection(self) -> Selection:
        classes = None if self.classes is None else tuple(int(class_id) for class_id in self.classes)
        return Selection(self.conf, self.iou, classes, self.agnostic, self.max_det, self.multi_label)


def _network_of(model: nn.Module) -> Network:
    """What `attempt_load` or `DetectMultiBackend` gave, as a network."""
    if isinstance(model, DetectMultiBackend):
        if model.network is not None:
            return model.network
        model = model.model
    if not isinstance(model, DetectionModel):
        raise ValueError(f"expected a model of attempt_load or DetectMultiBackend but got a {type(model).__name__}")
    device = next(model.parameters()).device
    return TorchNetwork(model, device, Precision(torch.float32, False, "fp32: that of the weights"))
