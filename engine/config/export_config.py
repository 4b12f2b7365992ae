"""The command line of export.py. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.config.files import module_files
from engine.config.flags import MODULE_TEXT, SHARE, Check, add_flags, at_least, check, flag, settings
from engine.config.parser import ArgumentParser
from engine.config.predict_config import DEFAULT_WEIGHTS

FORMATS = ("torchscript", "onnx", "openvino", "engine", "ncnn", "yolov5")
ALIASES = {"ts": "torchscript", "ov": "openvino", "tensorrt": "engine", "trt": "engine"}
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
    "--train": "files are exported for inference; leave it out",
    "--agnostic-nms": "suppression inside an exported file keeps classes apart; leave it out",
    "--topk-per-class": "TensorFlow's suppression is not written; --topk-all bounds the detections",
}
_IGNORED_FLAGS = {
    "--keras": "TensorFlow formats are not written",
    "--optimize": "TorchScript is written as it is for all machines, phones too",
    "--inplace": "the head has one form",
    "--per-tensor": "int8 files have a scale for each channel, which is more exact",
    "--mlmodel": "CoreML is not written",
    "--cache": "TensorRT's timing cache, which makes no other file, is not kept",
    "--verbose": "TensorRT's log shows warnings",
}


@dataclass(frozen=True)
class ExportConfig:
    """One run of export.py, checked; fields are named after YOLOv5's flags, which say what they mean.

    `imgsz` is height and width, multiples of the stride; with `dynamic`, it and `batch_size` are only an example; with
    `nms` the output is (B, topk_all, 6).
    """

    weights: str = flag(DEFAULT_WEIGHTS, "weights file (.pt)", nargs="+", default=[DEFAULT_WEIGHTS])
    module: tuple[str, ...] = flag((), MODULE_TEXT, metavar="FILE")
    include: tuple[str, ...] = flag(("torchscript",), f"formats: {', '.join(FORMATS)}")
    imgsz: tuple[int, int] = flag((640, 640), "input size: h [w], px", "--img", "--img-size", check=at_least(1))
    batch_size: int = flag(1, "images in a batch", check=at_least(1))
    data: str | None = flag(None, "data set whose val images the file is compared on, and int8 is calibrated on")
    device: str = flag("cpu", "cpu, or a GPU number for engine")
    half: bool = flag(False, "weights in fp16")
    int8: bool = flag(False, "quantise (openvino), calibrated on the val images of --data")
    dynamic: bool = flag(False, "any batch, height and width")
    nms: bool = flag(False, "put non-maximum suppression into the file")
    raw_head: bool = flag(False, "leave the decoding of boxes out of the file, for the tools of NPUs")
    benchmark: bool = flag(False, "write every format to a folder of its own and list speed and mAP (needs --data)")
    simplify: bool = flag(False, "simplify the ONNX graph with onnxslim")
    opset: int = flag(
        DEFAULT_OPSET,
        "ONNX operator set",
        check=Check(lambda value: LEAST_OPSET <= value <= MOST_OPSET, f"{LEAST_OPSET} to {MOST_OPSET}"),
    )
    workspace: float = flag(
        4.0, "memory for TensorRT's search, GB", check=Check(lambda value: value > 0, "more than 0 GB")
    )
    topk_all: int = flag(100, "with --nms: detections per image", check=at_least(1))
    conf_thres: float = flag(0.25, "with --nms: confidence threshold", check=SHARE)
    iou_thres: float = flag(0.45, "with --nms: IoU threshold", check=SHARE)
    images: int = flag(300, "with --int8: images to calibrate on, at most", check=at_least(1))

    def __post_init__(self) -> None:
        check(self)
        self._check_formats()

    def _check_formats(self) -> None:
        if not self.include:
            raise ValueError(f"--include names no format; expected {', '.join(FORMATS)}")
        for name in self.include:
            if name in UNSUPPORTED_FORMATS:
                raise ValueError(f"--include {name} is not supported; {UNSUPPORTED_FORMATS[name]}")
            if name not in FORMATS:
                raise ValueError(f"--include {name}: expected one of {', '.join(FORMATS)}")
        self._check_combinations()

    def _check_combinations(self) -> None:
        if self.half and self.int8:
            raise ValueError("--half and --int8 contradict each other; give one of them")
        others = [name for name in self.include if name != "openvino"]
        if self.int8 and others:
            raise ValueError(f"--int8 is written for openvino, not for {', '.join(others)}; export them separately")
        if self.int8 and self.data is None:
            raise ValueError("--int8 needs images to calibrate on; give the data set with --data")
        if self.benchmark and self.data is None:
            raise ValueError("--benchmark measures mAP on the val images of a data set; give it with --data")
        self._check_ends()

    def _check_ends(self) -> None:
        """What the file ends with: predictions, finished detections, or the maps of the head."""
        if self.nms and self.dynamic:
            raise ValueError("--nms and --dynamic contradict each other: the suppression is written for one batch size")
        without = [name for name in ("engine", "ncnn", "yolov5") if name in self.include]
        for name in ("nms", "raw_head"):
            if getattr(self, name) and without and (name, without) != ("raw_head", ["ncnn"]):
                flag_name = name.replace("_", "-")
                raise ValueError(f"--{flag_name} is written for torchscript, onnx and openvino, not for {without[0]}")
        if self.nms and self.raw_head:
            raise ValueError("--nms and --raw-head contradict each other: what suppresses boxes decodes them first")
        if "ncnn" in self.include and (self.dynamic or self.half or self.batch_size > 1):
            raise ValueError("--include ncnn is written for one image of one size in fp32; export it by itself")

    @property
    def warnings(self) -> tuple[str, ...]:
        """Flags without an effect."""
        defaults, included = type(self).__dataclass_fields__, set(self.include)
        needs = {
            "images": ("--int8", self.int8),
            **dict.fromkeys(("topk_all", "conf_thres", "iou_thres"), ("--nms", self.nms)),
            "workspace": ("--include engine", "engine" in included),
            "opset": ("--include onnx", bool(included - {"torchscript", "yolov5"})),
            "simplify": ("--include onnx", bool({"onnx", "engine"} & included)),
        }
        return tuple(
            f"--{name.replace('_', '-')} has no effect without {needed}"
            for name, (needed, there) in needs.items()
            if not there and getattr(self, name) != defaults[name].default
        )


def build_parser() -> ArgumentParser:
    """The parser, with YOLOv5's names and defaults where they make sense here."""
    parser = ArgumentParser(
        prog="export.py",
        description="Write a trained model for other runtimes.",
        examples=(
            "python export.py --weights runs/train/exp/weights/best.pt --include onnx --dynamic",
            "python export.py --weights best.pt --include openvino --int8 --data signs.yaml",
        ),
        page="docs/export.md",
    )
    add_flags(parser, ExportConfig)
    parser.unsupported(_UNSUPPORTED_FLAGS)
    parser.ignored(_IGNORED_FLAGS)
    return parser


def parse_config(arguments: Sequence[str] | None = None) -> ExportConfig:
    """Command line -> config.

    Args:
        arguments: Words after the script's name; None takes the process's.

    Raises:
        ValueError: On formats that are not written, values out of range and flags that contradict each other.
        SystemExit: With code 2 on unknown and unsupported flags, 0 on `--help`.
    """
    given = settings(ExportConfig, vars(build_parser().parse_args(arguments)))
    if len(given["weights"]) > 1:
        named = " ".join(given["weights"])
        raise ValueError(f"--weights {named}: one model is exported at a time; run export.py for each")
    (given["weights"],) = given["weights"]
    names = (ALIASES.get(name, name) for word in given["include"] for name in word.lower().split(",") if name)
    given["include"] = tuple(dict.fromkeys(names))
    given["module"] = module_files(given["module"])
    return ExportConfig(**given)
