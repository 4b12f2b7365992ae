"""The command line of detect.py. Imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.config.files import ROOT, module_files
from engine.config.parser import ArgumentParser, add_module_flag
from files.disk import require_writable

TRACKERS = ("bytetrack", "botsort")
LOWEST_TRACKED = 0.1  # a detection of this confidence prolongs a track; a new one starts at --conf-thres
PRECISIONS = ("auto", "32", "bf16", "16")
DEFAULT_WEIGHTS = "weights/yolov5n.pt"
DEFAULT_SOURCE = "data/images"

_UNSUPPORTED = {
    "--visualize": "feature maps are not written here; leave it out",
}
_IGNORED = {"--update": "weights files are written without optimizer state, so there is nothing to strip"}


@dataclass(frozen=True)
class DetectConfig:
    """One run of detect.py, checked. Fields are named after YOLOv5's flags.

    Attributes:
        weights: `.pt` or exported files; several are an ensemble.
        source: What `data.sources.open_source.open_source` takes.
        data: A data set YAML whose class names are shown instead of the model's.
        imgsz: Height and width in pixels that images are fitted into; rounded up to multiples of the stride.
        classes: Class numbers or names to keep; None keeps all.
        save_format: Of the label files: 0 is centre and size, 1 is corners.
        batch_size: Images that go through the network together; None chooses.
        precision: "auto", "32", "bf16" or "16"; `--half` is "16".
        track: One of `TRACKERS`; None follows nothing.
    """

    weights: tuple[str, ...] = (DEFAULT_WEIGHTS,)
    source: str = DEFAULT_SOURCE
    data: str | None = None
    imgsz: tuple[int, int] = (640, 640)
    conf_thres: float = 0.25
    iou_thres: float = 0.45
    max_det: int = 1000
    device: str = ""
    view_img: bool = False
    save_txt: bool = False
    save_format: int = 0
    save_csv: bool = False
    save_json: bool = False
    save_conf: bool = False
    save_crop: bool = False
    nosave: bool = False
    classes: tuple[str, ...] | None = None
    agnostic_nms: bool = False
    augment: bool = False
    dnn: bool = False
    project: str = "runs/detect"
    name: str = "exp"
    exist_ok: bool = False
    line_thickness: int = 3
    hide_labels: bool = False
    hide_conf: bool = False
    precision: str = "auto"
    vid_stride: int = 1
    track: str | None = None
    batch_size: int | None = None
    module: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for flag, value in (
            ("--imgsz", min(self.imgsz)),
            ("--max-det", self.max_det),
            ("--line-thickness", self.line_thickness),
            ("--vid-stride", self.vid_stride),
            ("--batch-size", 1 if self.batch_size is None else self.batch_size),
        ):
            if value < 1:
                raise ValueError(f"{flag} {value}: expected at least 1")
        for flag, share in (("--conf-thres", self.conf_thres), ("--iou-thres", self.iou_thres)):
            if not 0 <= share <= 1:
                raise ValueError(f"{flag} {share}: expected a number from 0 to 1")
        if self.save_format not in (0, 1):
            raise ValueError(f"--save-format {self.save_format}: expected 0 (centre and size) or 1 (corners)")

    @property
    def warnings(self) -> tuple[str, ...]:
        """Flags without an effect."""
        names = [] if self.save_txt else [name for name in ("save_conf", "save_format") if getattr(self, name)]
        return tuple(f"--{name.replace('_', '-')} has no effect without --save-txt" for name in names)

    @property
    def saves(self) -> bool:
        """Whether anything is written."""
        return not self.nosave or self.save_txt or self.save_csv or self.save_json or self.save_crop

    @property
    def draws(self) -> bool:
        """Whether boxes are drawn."""
        return not self.nosave or self.view_img


def build_parser() -> ArgumentParser:
    """The parser, with YOLOv5's names and defaults."""
    parser = ArgumentParser(prog="detect.py", description="Detect objects on images, videos, cameras and streams.")
    add = parser.add_argument
    add(
        "--weights",
        nargs="+",
        default=[DEFAULT_WEIGHTS],
        help=".pt or exported; several are an ensemble",
    )
    add_module_flag(parser)
    add(
        "--source",
        default=DEFAULT_SOURCE,
        help="image, video, folder, 'pattern', list.txt, list.streams, URL, camera number or screen",
    )
    add("--data", help="data set YAML whose class names are shown instead of the model's")
    add("--imgsz", "--img", "--img-size", nargs="+", type=int, default=[640], help="size to fit images into: h [w], px")
    add("--conf-thres", type=float, default=0.25, help="confidence threshold")
    add("--iou-thres", type=float, default=0.45, help="IoU threshold of the NMS")
    add("--max-det", type=int, default=1000, help="detections per image at most")
    add("--device", default="", help="GPU number, cpu or mps; empty takes a GPU if there is one")
    add("--view-img", action="store_true", help="show the pictures in a window; q ends")
    add("--save-txt", action="store_true", help="write label files to labels/")
    add("--save-format", type=int, default=0, help="with --save-txt: 0 centre and size, 1 corners; both normalised")
    add("--save-csv", action="store_true", help="write predictions.csv")
    add("--save-json", action="store_true", help="write predictions.json, in the form of COCO results")
    add("--save-conf", action="store_true", help="with --save-txt: add the confidence to each row")
    add("--save-crop", action="store_true", help="write what is in each box to crops/<class>/")
    add("--nosave", action="store_true", help="write no annotated images and videos")
    add("--classes", nargs="+", help="keep only these classes: numbers or names")
    add("--agnostic-nms", action="store_true", help="let classes suppress each other")
    add("--augment", action="store_true", help="predict at three sizes, one mirrored, and merge")
    add("--dnn", action="store_true", help="run .onnx weights with OpenCV")
    add("--project", default="runs/detect", help="folder of the run folders")
    add("--name", default="exp", help="run folder; a number is added if it exists")
    add("--exist-ok", action="store_true", help="write into an existing run folder")
    add("--line-thickness", type=int, default=3, help="thickness of the boxes, px")
    add("--hide-labels", action="store_true", help="draw boxes without class names")
    add("--hide-conf", action="store_true", help="draw class names without confidences")
    add("--half", action="store_true", help="fp16, the same as --precision 16")
    text = "arithmetic; auto: bf16 where the device is fast at it, 32: val.py's"
    add("--precision", choices=PRECISIONS, default=argparse.SUPPRESS, help=text)
    add("--vid-stride", type=int, default=1, help="use every n-th frame of videos and streams")
    add(
        "--track",
        nargs="?",
        const=TRACKERS[0],
        choices=TRACKERS,
        help=f"follow objects: {TRACKERS[0]}, or the one named",
    )
    add("--batch-size", type=int, help="images that go through the network together (chosen by device)")
    parser.unsupported(_UNSUPPORTED)
    parser.ignored(_IGNORED)
    return parser


def parse_config(arguments: Sequence[str] | None = None) -> DetectConfig:
    """Command line -> config.

    Args:
        arguments: Words after the script's name; None takes the process's.

    Raises:
        ValueError: On values out of range and flags that contradict each other.
        SystemExit: With code 2 on unknown and unsupported flags, 0 on `--help`.
    """
    given = vars(build_parser().parse_args(arguments))
    weights, sides, half = given.pop("weights"), given.pop("imgsz"), given.pop("half")
    if len(sides) > 2:
        raise ValueError(f"--imgsz {' '.join(map(str, sides))}: expected one number, or height and width")
    if half and given.setdefault("precision", "16") != "16":
        raise ValueError(f"--half and --precision {given['precision']} contradict each other; give one of them")
    if given["source"] == DEFAULT_SOURCE and not Path(DEFAULT_SOURCE).exists():
        given["source"] = str(ROOT / DEFAULT_SOURCE)
    given["module"] = module_files(given["module"])
    given["classes"] = None if given["classes"] is None else tuple(given["classes"])
    config = DetectConfig(weights=tuple(weights), imgsz=(sides[0], sides[-1]), **given)
    if config.saves:
        require_writable(config.project, "--project")
    return config
