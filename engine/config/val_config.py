"""The command line of val.py. Imports nothing heavy."""

from __future__ import annotations

from argparse import SUPPRESS
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config.flags import PRECISIONS, SHARE, Check, at_least, flag
from engine.config.parser import ArgumentParser
from engine.config.predict_config import PredictConfig, create_parser, given_settings
from engine.runtime.console import note
from files.disk import require_writable

TASKS = ("train", "val", "test", "speed", "study")
_EXACT_CONF_THRES = 0.001


@dataclass(frozen=True)
class ValConfig(PredictConfig):
    """One validation, checked; fields are named after YOLOv5's flags, which say what they mean.

    With the task "speed" several weights are measured in turn. `imgsz` is rounded up to a multiple of the stride.
    `plots` is false with --noplots and for the speed.
    """

    data: str = flag("signs.yaml", "data set YAML, a path or a name in data/")
    batch_size: int = flag(32, "images in a batch", check=at_least(1))
    imgsz: int = flag(640, "longest side of the images, px", "--img", "--img-size", check=at_least(1))
    conf_thres: float = flag(
        _EXACT_CONF_THRES, "confidence threshold (0.001; for speed 0.25)", check=SHARE, default=SUPPRESS
    )
    iou_thres: float = flag(0.6, "IoU threshold of the NMS (0.6; for speed 0.45)", check=SHARE, default=SUPPRESS)
    max_det: int = flag(300, "detections per image at most", check=at_least(1))
    task: str = flag(
        "val",
        f"{', '.join(TASKS)}: the split to measure, only the speed, or figures and speed at 256 to 1536 px",
        check=Check(TASKS.__contains__, f"one of {', '.join(TASKS)}"),
    )
    workers: int = flag(8, "processes that read images, at most", check=at_least(0))
    single_cls: bool = flag(False, "treat all objects as one class")
    verbose: bool = flag(False, "print every class also where there are 50 or more")
    save_hybrid: bool = flag(False, "write labels and detections together to labels/")
    save_json: bool = flag(False, "write detections in COCO's format, print its 12 figures (coco.yaml: on)")
    errors: bool = flag(False, "say what each kind of mistake costs (TIDE): table, results.json, errors.png")
    project: str = flag("runs/val", "folder of the run folders")
    precision: str | None = flag(None, "arithmetic (32; for speed on a GPU 16)", choices=PRECISIONS, default=SUPPRESS)
    plots: bool = True

    @property
    def split(self) -> str:
        """The split of the data set to read."""
        return "val" if self.task == "speed" else self.task

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the figures of this run incomparable, and flags without an effect."""
        notes: list[str] = []
        if self.save_conf and not self.save_txt:
            notes.append("--save-conf has no effect without --save-txt")
        if self.conf_thres > _EXACT_CONF_THRES and self.task != "speed":
            notes.append(f"--conf-thres {self.conf_thres} > 0.001 cuts off the recall curve and lowers mAP")
        if self.save_hybrid:
            notes.append("--save-hybrid adds the labels to the predictions: the figures say nothing about the model")
        return tuple(notes)


def build_parser() -> ArgumentParser:
    """The parser, with YOLOv5's names and defaults."""
    parser = create_parser(
        ValConfig,
        "val.py",
        "Measure a trained model on a data set.",
        examples=(
            "python val.py --weights runs/train/exp/weights/best.pt --data signs.yaml",
            "python val.py --weights best.pt --data signs.yaml --task test --errors",
        ),
        page="docs/validation.md",
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
    given, parsed = given_settings(ValConfig, build_parser(), arguments)
    task = parsed["task"]
    if task == "speed":
        given = dict[str, Any](conf_thres=0.25, iou_thres=0.45) | given
        for name in ("save_json", "errors"):
            if given[name]:
                reason = "--task speed has the threshold of detect.py, which is too high for its figures"
                note(f"--{name.replace('_', '-')} is ignored: {reason}")
                given[name] = False
    elif Path(given["data"]).name == "coco.yaml":
        given["save_json"] = True
    given["save_txt"] |= given["save_hybrid"]
    config = ValConfig(**given, plots=not (parsed["noplots"] or task == "speed"))
    require_writable(config.project, "--project")
    return config
