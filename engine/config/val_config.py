"""The command line of val.py. Imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.config.parser import ArgumentParser

TASKS = ("train", "val", "test", "speed")
PRECISIONS = ("auto", "32", "bf16", "16")
DEFAULT_WEIGHTS = "weights/yolov5n_ca_signs.pt"
_EXACT_CONF_THRES = 0.001


@dataclass(frozen=True)
class ValConfig:
    """One validation, checked. Fields are named after YOLOv5's flags.

    Attributes:
        task: The split to validate on, or "speed".
        weights: One file; several are an ensemble, or for "speed" measured in turn.
        imgsz: Longest side in pixels; rounded up to a multiple of the model's stride.
        precision: "auto", "32", "bf16" or "16"; `--half` is "16"; None is "32", for speed on a GPU "16".
        plots: Write curves, confusion matrix and mosaics.
    """

    weights: tuple[str, ...]
    data: str
    batch_size: int = 32
    imgsz: int = 640
    conf_thres: float = _EXACT_CONF_THRES
    iou_thres: float = 0.6
    max_det: int = 300
    task: str = "val"
    device: str = ""
    workers: int = 8
    single_cls: bool = False
    augment: bool = False
    dnn: bool = False
    verbose: bool = False
    save_txt: bool = False
    save_hybrid: bool = False
    save_conf: bool = False
    save_json: bool = False
    project: str = "runs/val"
    name: str = "exp"
    exist_ok: bool = False
    precision: str | None = None
    plots: bool = True

    def __post_init__(self) -> None:
        for flag, value, low in (
            ("--batch-size", self.batch_size, 1),
            ("--imgsz", self.imgsz, 1),
            ("--max-det", self.max_det, 1),
            ("--workers", self.workers, 0),
        ):
            if value < low:
                raise ValueError(f"{flag} {value}: expected at least {low}")
        for flag, share in (("--conf-thres", self.conf_thres), ("--iou-thres", self.iou_thres)):
            if not 0 <= share <= 1:
                raise ValueError(f"{flag} {share}: expected a number from 0 to 1")
        if self.save_conf and not self.save_txt:
            raise ValueError("--save-conf adds the confidence to the files of --save-txt; add --save-txt")

    @property
    def split(self) -> str:
        """The split of the data set to read."""
        return "val" if self.task == "speed" else self.task

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the figures of this run incomparable."""
        notes = []
        if self.conf_thres > _EXACT_CONF_THRES and self.task != "speed":
            notes.append(f"--conf-thres {self.conf_thres} > 0.001 cuts off the recall curve and lowers mAP")
        if self.save_hybrid:
            notes.append("--save-hybrid adds the labels to the predictions: the figures say nothing about the model")
        return tuple(notes)


def build_parser() -> ArgumentParser:
    """The parser, with YOLOv5's names and defaults."""
    parser = ArgumentParser(prog="val.py", description="Measure a trained model on a data set.")
    parser.add_argument("--data", default="signs.yaml", help="data set YAML, a path or a name in data/")
    parser.add_argument(
        "--weights",
        nargs="+",
        default=[DEFAULT_WEIGHTS],
        help=".pt or exported; several are an ensemble",
    )
    parser.add_argument("--batch-size", type=int, default=32, help="images in a batch")
    parser.add_argument("--imgsz", "--img", "--img-size", type=int, default=640, help="longest side of the images, px")
    parser.add_argument(
        "--conf-thres", type=float, default=argparse.SUPPRESS, help="confidence threshold (0.001; for speed 0.25)"
    )
    parser.add_argument(
        "--iou-thres", type=float, default=argparse.SUPPRESS, help="IoU threshold of the NMS (0.6; for speed 0.45)"
    )
    parser.add_argument("--max-det", type=int, default=300, help="detections per image at most")
    parser.add_argument("--task", default="val", help=f"{', '.join(TASKS)}: the split to measure, or only the speed")
    parser.add_argument("--device", default="", help="GPU number, cpu or mps; empty takes a GPU if there is one")
    parser.add_argument("--workers", type=int, default=8, help="processes that read images, at most")
    parser.add_argument("--single-cls", action="store_true", help="treat all objects as one class")
    parser.add_argument("--augment", action="store_true", help="predict at three sizes, one mirrored, and merge")
    parser.add_argument("--dnn", action="store_true", help="run .onnx weights with OpenCV")
    parser.add_argument("--verbose", action="store_true", help="print every class also where there are 50 or more")
    parser.add_argument("--save-txt", action="store_true", help="write detections as label files to labels/")
    parser.add_argument("--save-hybrid", action="store_true", help="write labels and detections together to labels/")
    parser.add_argument("--save-conf", action="store_true", help="with --save-txt: add the confidence to each row")
    parser.add_argument(
        "--save-json",
        action="store_true",
        help="write detections in COCO's format, print its 12 figures (coco.yaml: on)",
    )
    parser.add_argument("--project", default="runs/val", help="folder of the run folders")
    parser.add_argument("--name", default="exp", help="run folder; a number is added if it exists")
    parser.add_argument("--exist-ok", action="store_true", help="write into an existing run folder")
    parser.add_argument("--half", action="store_true", help="fp16, the same as --precision 16")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default=argparse.SUPPRESS, help="arithmetic (32; for speed on a GPU 16)"
    )
    parser.add_argument("--noplots", action="store_true", help="write no plots and mosaics")
    return parser


def parse_config(arguments: Sequence[str] | None = None) -> ValConfig:
    """Command line -> config.

    Args:
        arguments: Words after the script's name; None takes the process's.

    Raises:
        ValueError: On values out of range and flags that contradict each other.
        SystemExit: With code 2 on unknown and unsupported flags, 0 on `--help`.
    """
    given = vars(build_parser().parse_args(arguments))
    task, half, no_plots = given["task"], given.pop("half"), given.pop("noplots")
    if task == "study":
        raise ValueError("--task study is not supported: run --task speed and --task val at each --imgsz instead")
    if task not in TASKS:
        raise ValueError(f"--task {task}: expected one of {', '.join(TASKS)}")
    if half and given.setdefault("precision", "16") != "16":
        raise ValueError(f"--half and --precision {given['precision']} contradict each other; give one of them")
    if task == "speed":
        given = {"conf_thres": 0.25, "iou_thres": 0.45, **given}
        if given["save_json"]:
            raise ValueError("--save-json needs the low threshold of --task val; leave it out with --task speed")
    elif Path(given["data"]).name == "coco.yaml":
        given["save_json"] = True
    given["weights"] = tuple(given["weights"])
    given["save_txt"] |= given["save_hybrid"]
    return ValConfig(**given, plots=not (no_plots or task == "speed"))
