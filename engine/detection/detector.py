"""Detection from Python: `load_model("best.pt").predict("image.jpg")`.

`models.load_model` gives the network alone; this one gives what a user wants to call. It is in `engine`, because
`models` knows nothing of images and suppression.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.images import WITH_ALPHA, from_pillow, to_channels
from data.sources.frame import Frame
from data.sources.open_source import open_source
from engine.detection.parameters import speaks_of_parameters
from engine.detection.results import Result, Results
from engine.explanation import Explainer, Explanation
from engine.inference.image_size import whole_strides
from engine.inference.network import Network, PlainNetwork
from engine.inference.open_weights import open_network
from engine.inference.predictor import Predictor, Selection
from engine.runtime.device import select_device
from models.attention import attention_layers
from models.user_modules import load_modules

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


class Detector:
    """A network with thresholds, ready to be called.

    Attributes:
        conf, iou, classes, agnostic, multi_label, max_det: What is kept, as in YOLOv5's hub models; may be set at any
            time.
        names: From class number to class name.
    """

    __slots__ = ("agnostic", "classes", "conf", "iou", "max_det", "multi_label", "network")  # a typing error raises

    def __init__(self, network: Network) -> None:
        self.network = network
        self.conf = 0.25
        self.iou = 0.45
        self.classes: Sequence[int] | None = None
        self.agnostic = False
        self.multi_label = False
        self.max_det = 1000

    @property
    def names(self) -> dict[int, str]:
        """Class names by number."""
        return dict(self.network.names)

    @property
    def stride(self) -> int:
        """What the sides of an image must be multiples of."""
        return self.network.stride_px

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
        return self._detect(_images(source, rgb_arrays=False, alpha=self._alpha), imgsz)

    @speaks_of_parameters
    def __call__(self, source: Any, size: int | tuple[int, int] = 640) -> Results | Tensor:  # noqa: ANN401
        """Detect as YOLOv5's hub models do: as `predict`, but arrays are RGB.

        Args:
            source: See `predict`; a float tensor (B, C, H, W) goes straight through the network.
            size: Longest side of the network's input.

        Returns:
            Results; for a tensor the raw predictions (B, N, 5 + nc).
        """
        if isinstance(source, Tensor):
            with torch.inference_mode():
                return self.network(source.to(self.network.device).float())
        return self._detect(_images(source, rgb_arrays=True, alpha=self._alpha), size)

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
        (path, image), *others = _images(source, rgb_arrays=False, alpha=self._alpha)
        if others:
            raise ValueError(f"Expected one image but got {1 + len(others)}; explain them one by one")
        model = self.network.model
        if kinds is None:
            kinds = ("cam", "gates") if attention_layers(model) else ("cam",)
        predictor = Predictor(self.network, image_px=self._image_hw(imgsz), selection=self._selection())
        prepared = predictor.prepare(image)
        (found,) = predictor.detect([prepared])
        return Explainer(model, self.names, kinds)(prepared, to_channels(image, 3), found, path)

    def _detect(self, images: Iterable[tuple[str, np.ndarray]], imgsz: int | tuple[int, int]) -> Results:
        predictor = Predictor(self.network, image_px=self._image_hw(imgsz), selection=self._selection())
        results: list[Result] = []
        waiting: list[tuple[str, np.ndarray]] = []

        def flush() -> None:
            found = predictor([image for _, image in waiting])
            for (path, image), one in zip(waiting, found, strict=True):
                results.append(Result(to_channels(image, 3), *one[:3], self.names, path))
            waiting.clear()

        for item in images:
            waiting.append(item)
            if len(waiting) == _BATCH:
                flush()
        if waiting:
            flush()
        seconds, count = predictor.seconds, max(predictor.seconds.images, 1)
        prepare, network, nms = (1000 * spent / count for spent in (seconds.prepare, seconds.network, seconds.nms))
        return Results(results, self.names, (prepare, network, nms))

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

    def _selection(self) -> Selection:
        classes = None if self.classes is None else tuple(int(class_id) for class_id in self.classes)
        return Selection(self.conf, self.iou, classes, self.agnostic, self.max_det, self.multi_label)


def _images(source: Any, *, rgb_arrays: bool, alpha: bool) -> Iterator[tuple[str, np.ndarray]]:  # noqa: ANN401  (many kinds)
    """Name and (H, W, 3) uint8 RGB of every image, or (H, W, 4) where there is alpha and it is asked for."""
    several = isinstance(source, (list, tuple)) or (isinstance(source, Tensor) and source.ndim == 4)
    for number, item in enumerate(source if several else [source]):
        if isinstance(item, (str, Path)):
            yield from _from_path(str(item), alpha)
        elif isinstance(item, Image.Image):
            name = getattr(item, "filename", "") or f"image{number}.jpg"
            yield name, from_pillow(item, name=name, alpha=alpha)
        elif isinstance(item, Tensor):
            yield f"image{number}.jpg", _from_tensor(item, alpha)
        elif isinstance(item, np.ndarray):
            yield f"image{number}.jpg", _from_array(item, rgb_arrays, alpha)
        else:
            raise ValueError(f"Expected paths, PIL images, arrays or tensors but got a {type(item).__name__}")


def _from_path(text: str, alpha: bool) -> Iterator[tuple[str, np.ndarray]]:
    with closing(open_source(text)) as source:
        if source.live:
            raise ValueError(f"{text}: cameras, streams and the screen never end; detect.py shows and writes them")
        source.alpha = alpha
        for item in source:
            if isinstance(item, Frame):
                yield item.path, item.pixels
            elif item.partial:  # what could be read counts
                warnings.warn(f"{item.path}: {item.reason}", stacklevel=2)
            else:
                raise ValueError(f"{item.path}: {item.reason}")


def _from_tensor(item: Tensor, alpha: bool) -> np.ndarray:
    if item.ndim != 3 or item.shape[0] not in (1, 3, 4) or not item.numel():
        raise ValueError(
            f"Expected a tensor (3, H, W) or (B, 3, H, W), or of 1 or 4 channels, but got {tuple(item.shape)}"
        )
    if item.is_floating_point():
        if not 0 <= float(item.min()) <= float(item.max()) <= 1:
            raise ValueError("Expected a floating tensor with values from 0 to 1; divide pixels by 255")
        item = (item * 255).round()
    elif item.dtype is not torch.uint8:
        raise ValueError(f"Expected a tensor of floating numbers or uint8 but got {item.dtype}")
    return _from_array(item.to(torch.uint8).cpu().permute(1, 2, 0).numpy(), True, alpha)


def _from_array(item: np.ndarray, rgb: bool, alpha: bool) -> np.ndarray:
    shaped = item.ndim == 2 or (item.ndim == 3 and item.shape[2] in (1, 3, 4))
    if item.dtype != np.uint8 or not item.size or not shaped:
        raise ValueError(f"Expected an array (H, W, 3) uint8 but got {item.shape} {item.dtype}")
    if not rgb and item.ndim == 3 and item.shape[2] >= 3:
        item = item[..., [2, 1, 0, 3][: item.shape[2]]]
    return np.ascontiguousarray(to_channels(item, 4 if alpha else 3))
