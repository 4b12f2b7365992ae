"""Models for `torch.hub.load`, as in YOLOv5.

torch.hub.load(".", "custom", path="best.pt", source="local")("image.jpg").print()
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.detection.parameters import speaks_of_parameters

if TYPE_CHECKING:
    import torch

dependencies = ["torch", "torchvision", "numpy", "cv2", "PIL", "yaml"]


def custom(
    path: str = "path/to/model.pt",
    autoshape: bool = True,
    _verbose: bool = True,
    device: str | None = None,
    module: str | list[str] | None = None,
) -> Any:  # noqa: ANN401  (a detector, or the network alone)
    """Weights from a file.

    Args:
        path: A `.pt` file or a file of export.py.
        autoshape: Give a detector that takes images of any kind; else the network alone, as `attempt_load` gives it.
        _verbose: Print what was loaded.
        device: As `--device`.
        module: As `--module`: a Python file with classes of your own that the weights need, or several; they are run.

    Raises:
        ValueError: If the file or the device cannot be used.
    """
    import engine
    import models

    models.load_modules(module or ())
    if not autoshape:
        from engine.inference.original_call import attempt_load

        return attempt_load(path, _device(device), fuse=False)
    detector = engine.load_model(path, str(device or ""), precision="32")  # as YOLOv5's hub, and the figures equal
    if _verbose:
        print(f"{path}: {len(detector.names)} classes, {detector.network.description}")
    return detector


@speaks_of_parameters
def _device(device: str | None) -> torch.device:
    from engine.runtime.device import select_device

    return select_device(str(device or ""))


def _stock(name: str, pretrained: bool, channels: int, classes: int, options: dict[str, Any]) -> Any:  # noqa: ANN401
    """A stock model: trained weights for 80 classes, or fresh ones."""
    import models
    from engine.runtime.device import Precision
    from files.find import ROOT
    from models.spec.parse_layer_list import parse_channels

    unknown = set(options) - {"autoshape", "_verbose", "device"}
    if unknown:
        raise ValueError(f"{name}: unknown option {sorted(unknown)[0]!r}; expected autoshape, _verbose or device")
    if pretrained and classes == 80 and channels == 3:
        return custom(f"{name}.pt", **options)
    spec = models.load_spec(ROOT / "models" / f"{name}.yaml", nc=classes)
    from engine.inference.original_call import Model

    model = Model(replace(spec, channels=parse_channels(channels, f"{name}: channels")))
    if pretrained:
        from models.weights.transfer import transfer

        transfer(model, f"{name}.pt")
    device = _device(options.get("device"))
    if not options.get("autoshape", True):
        return model.eval().to(device)
    import torch

    from engine.detection.detector import Detector
    from engine.inference.network import TorchNetwork

    return Detector(TorchNetwork(model, device, Precision(torch.float32, True, "fp32")))


def yolov5n(pretrained: bool = True, channels: int = 3, classes: int = 80, **options: Any) -> Any:  # noqa: ANN401
    """YOLOv5n; `options` as in `custom`."""
    return _stock("yolov5n", pretrained, channels, classes, options)


def yolov5s(pretrained: bool = True, channels: int = 3, classes: int = 80, **options: Any) -> Any:  # noqa: ANN401
    """YOLOv5s; `options` as in `custom`."""
    return _stock("yolov5s", pretrained, channels, classes, options)


def yolov5m(pretrained: bool = True, channels: int = 3, classes: int = 80, **options: Any) -> Any:  # noqa: ANN401
    """YOLOv5m; `options` as in `custom`."""
    return _stock("yolov5m", pretrained, channels, classes, options)


def yolov5l(pretrained: bool = True, channels: int = 3, classes: int = 80, **options: Any) -> Any:  # noqa: ANN401
    """YOLOv5l; `options` as in `custom`."""
    return _stock("yolov5l", pretrained, channels, classes, options)


def yolov5x(pretrained: bool = True, channels: int = 3, classes: int = 80, **options: Any) -> Any:  # noqa: ANN401
    """YOLOv5x; `options` as in `custom`."""
    return _stock("yolov5x", pretrained, channels, classes, options)
