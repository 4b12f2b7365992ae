"""The command line of export.py. Imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from engine.config.parser import ArgumentParser

FORMATS = ("torchscript", "onnx", "openvino", "engine")
ALIASES = {"ts": "torchscript", "ov": "openvino", "tensorrt": "engine", "trt": "engine"}
DEFAULT_WEIGHTS = "weights/yolov5n_ca_signs.pt"
DEFAULT_OPSET = 17
LEAST_OPSET, MOST_OPSET = 12, 20

_ONNX_ROUTE = "write onnx, which its own converter reads"
# The other formats of YOLOv5, each with the way that remains.
UNSUPPORTED_FORMATS = {
    "coreml": "write torchscript, which coremltools converts on macOS",
    "saved_model": _ONNX_ROUTE,
    "pb": _ONNX_ROUTE,
    "tflite": _ONNX_ROUTE,
    "edgetpu": _ONNX_ROUTE,
    "tfjs": _ONNX_ROUTE,
    "paddle": "write onnx, which x2paddle converts",
}
_UNSUPPORTED_FLAGS = {
    "--keras": "TensorFlow formats are not written; leave it out",
    "--optimize": "TorchScript for phones is not written; leave it out",
    "--train": "files are exported for inference; leave it out",
    "--inplace": "the head has one form; leave it out",
    "--agnostic-nms": "suppression inside an exported file keeps classes apart; leave it out",
    "--per-tensor": "int8 files have a scale for each channel; leave it out",
    "--topk-per-class": "TensorFlow's suppression is not written; --topk-all bounds the detections",
    "--mlmodel": "CoreML is not written; leave it out",
    "--cache": "TensorRT's timing cache is not written; leave it out",
    "--verbose": "TensorRT's log shows warnings; leave it out",
}


@dataclass(frozen=True)
class ExportConfig:
    """One run of export.py, checked. Fields are named after YOLOv5's flags.

    Attributes:
        weights: A .pt file.
        include: Formats to write, of `FORMATS`.
        imgsz: Height and width of the input in pixels, multiples of the model's stride.
        batch_size: Images in a batch; with `dynamic` only an example.
        data: A data set whose val images are compared on, and int8 is calibrated on.
        half: Weights in fp16.
        int8: Quantise weights and maps, OpenVINO only.
        dynamic: Any batch, height and width.
        nms: Put the suppression into the file; the output becomes (B, topk_all, 6).
        simplify: Simplify the ONNX graph.
        opset: ONNX operator set.
        workspace: Memory for TensorRT's search, GB.
        images: Images that int8 is calibrated on, at most.
    """

    weights: str = DEFAULT_WEIGHTS
    include: tuple[str, ...] = ("torchscript",)
    imgsz: tuple[int, int] = (640, 640)
    batch_size: int = 1
    data: str | None = None
    device: str = "cpu"
    half: bool = False
    int8: bool = False
    dynamic: bool = False
    nms: bool = False
    simplify: bool = False
    opset: int = DEFAULT_OPSET
    workspace: float = 4.0
    topk_all: int = 100
    conf_thres: float = 0.25
    iou_thres: float = 0.45
    images: int = 300

    def __post_init__(self) -> None:
        for flag, value in (
            ("--imgsz", min(self.imgsz)),
            ("--batch-size", self.batch_size),
            ("--topk-all", self.topk_all),
            ("--images", self.images),
        ):
            if value < 1:
                raise ValueError(f"{flag} {value}: expected at least 1")
        for flag, share in (("--conf-thres", self.conf_thres), ("--iou-thres", self.iou_thres)):
            if not 0 <= share <= 1:
                raise ValueError(f"{flag} {share}: expected a number from 0 to 1")
        if not LEAST_OPSET <= self.opset <= MOST_OPSET:
            raise ValueError(f"--opset {self.opset}: expected {LEAST_OPSET} to {MOST_OPSET}")
        if self.workspace <= 0:
            raise ValueError(f"--workspace {self.workspace:g}: expected more than 0 GB")
        self._check_formats()

    def _check_formats(self) -> None:
        for name in self.include:
            if name in UNSUPPORTED_FORMATS:
                raise ValueError(f"--include {name} is not supported; {UNSUPPORTED_FORMATS[name]}")
            if name not in FORMATS:
                raise ValueError(f"--include {name}: expected one of {', '.join(FORMATS)}")
        if self.half and self.int8:
            raise ValueError("--half and --int8 contradict each other; give one of them")
        others = [name for name in self.include if name != "openvino"]
        if self.int8 and others:
            raise ValueError(f"--int8 is written for openvino, not for {', '.join(others)}; export them separately")
        if self.int8 and self.data is None:
            raise ValueError("--int8 needs images to calibrate on; give the data set with --data")
        if self.nms and self.dynamic:
            raise ValueError("--nms and --dynamic contradict each other: the suppression is written for one batch size")
        if self.nms and "engine" in self.include:
            raise ValueError("--nms is written for torchscript, onnx and openvino, not for engine")
        if self.simplify and not {"onnx", "engine"} & set(self.include):
            raise ValueError("--simplify simplifies the ONNX graph; add onnx to --include")


def build_parser() -> ArgumentParser:
    """The parser, with YOLOv5's names and defaults where they make sense here."""
    parser = ArgumentParser(prog="export.py", description="Write a trained model for other runtimes.")
    add = parser.add_argument
    add("--weights", nargs="+", default=[DEFAULT_WEIGHTS], help="weights file (.pt)")
    add("--include", nargs="+", default=["torchscript"], help=f"formats: {', '.join(FORMATS)}")
    add("--imgsz", "--img", "--img-size", nargs="+", type=int, default=[640], help="input size: h [w], px")
    add("--batch-size", type=int, default=1, help="images in a batch")
    add("--data", help="data set whose val images the file is compared on, and int8 is calibrated on")
    add("--device", default="cpu", help="cpu, or a GPU number for engine")
    add("--half", action="store_true", help="weights in fp16")
    add("--int8", action="store_true", help="quantise (openvino), calibrated on the val images of --data")
    add("--dynamic", action="store_true", help="any batch, height and width")
    add("--nms", action="store_true", help="put non-maximum suppression into the file")
    add("--simplify", action="store_true", help="simplify the ONNX graph with onnxslim")
    add("--opset", type=int, default=DEFAULT_OPSET, help="ONNX operator set")
    add("--workspace", type=float, default=4.0, help="memory for TensorRT's search, GB")
    add("--topk-all", type=int, default=100, help="with --nms: detections per image")
    add("--conf-thres", type=float, default=0.25, help="with --nms: confidence threshold")
    add("--iou-thres", type=float, default=0.45, help="with --nms: IoU threshold")
    add("--images", type=int, default=argparse.SUPPRESS, help="with --int8: images to calibrate on, at most (300)")
    parser.unsupported(_UNSUPPORTED_FLAGS)
    return parser


def parse_config(arguments: Sequence[str] | None = None) -> ExportConfig:
    """Command line -> config.

    Args:
        arguments: Words after the script's name; None takes the process's.

    Raises:
        ValueError: On formats that are not written, values out of range and flags that contradict each other.
        SystemExit: With code 2 on unknown and unsupported flags, 0 on `--help`.
    """
    given = vars(build_parser().parse_args(arguments))
    sides, weights = given.pop("imgsz"), given.pop("weights")
    if len(weights) > 1:
        raise ValueError(f"--weights {' '.join(weights)}: one model is exported at a time; run export.py for each")
    if len(sides) > 2:
        raise ValueError(f"--imgsz {' '.join(map(str, sides))}: expected one number, or height and width")
    names = (ALIASES.get(name, name) for word in given.pop("include") for name in word.lower().split(",") if name)
    config = ExportConfig(include=tuple(dict.fromkeys(names)), imgsz=(sides[0], sides[-1]), weights=weights[0], **given)
    _check_used(config, given)
    return config


def _check_used(config: ExportConfig, given: dict[str, object]) -> None:
    """Refuse options that would change nothing."""
    if "images" in given and not config.int8:
        raise ValueError("--images says how many images int8 is calibrated on; add --int8")
    defaults = ExportConfig()
    for name in ("topk_all", "conf_thres", "iou_thres"):
        if getattr(config, name) != getattr(defaults, name) and not config.nms:
            raise ValueError(f"--{name.replace('_', '-')} belongs to --nms; add --nms")
    if config.workspace != defaults.workspace and "engine" not in config.include:
        raise ValueError("--workspace belongs to engine; add engine to --include")
    if config.opset != defaults.opset and config.include == ("torchscript",):
        raise ValueError("--opset belongs to onnx; add onnx to --include")
    if not config.include:
        raise ValueError(f"--include names no format; expected {', '.join(FORMATS)}")
