"""The command line of detect.py. Imports nothing heavy."""

from __future__ import annotations

from argparse import SUPPRESS
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.config.flags import PRECISIONS, Check, at_least, flag
from engine.config.parser import ArgumentParser
from engine.config.predict_config import PredictConfig, create_parser, given_settings
from files.disk import require_writable
from files.find import ROOT

TRACKERS = ("bytetrack", "botsort")
JSON_FORMS = ("results", "coco", "labelstudio")
LOWEST_TRACKED = 0.1  # a detection of this confidence prolongs a track; a new one starts at --conf-thres
DEFAULT_WEIGHTS = "weights/yolov5n.pt"
DEFAULT_SOURCE = "data/images"

VISUALIZED = ("cam", "gates", "features")
_IGNORED = {"--update": "weights files are written without optimizer state, so there is nothing to strip"}


@dataclass(frozen=True)
class DetectConfig(PredictConfig):
    """One run of detect.py, checked; fields are named after YOLOv5's flags, which say what they mean.

    `imgsz` is height and width, rounded up to multiples of the stride; None leaves the choice to the program.
    """

    weights: tuple[str, ...] = flag((DEFAULT_WEIGHTS,), ".pt or exported; several are an ensemble")
    source: str = flag(
        DEFAULT_SOURCE, "image, video, folder, 'pattern', list.txt, list.streams, URL, camera number or screen"
    )
    data: str | None = flag(None, "data set YAML whose class names are shown instead of the model's")
    imgsz: tuple[int, int] = flag(
        (640, 640), "size to fit images into: h [w], px", "--img", "--img-size", check=at_least(1)
    )
    view_img: bool = flag(False, "show the pictures in a window; q ends")
    save_format: int = flag(
        0,
        "with --save-txt: 0 centre and size, 1 corners; both normalised",
        check=Check((0, 1).__contains__, "0 (centre and size) or 1 (corners)"),
    )
    save_csv: bool = flag(False, "write predictions.csv")
    save_json: str | None = flag(
        None,
        "write predictions.json: COCO results, or as labels to begin with, a whole COCO file or Label Studio's tasks",
        nargs="?",
        const=JSON_FORMS[0],
        choices=JSON_FORMS,
    )
    save_crop: bool = flag(False, "write what is in each box to crops/<class>/")
    nosave: bool = flag(False, "write no annotated images and videos")
    classes: tuple[str, ...] | None = flag(None, "keep only these classes: numbers or names")
    agnostic_nms: bool = flag(False, "let classes suppress each other")
    project: str = flag("runs/detect", "folder of the run folders")
    line_thickness: int = flag(3, "thickness of the boxes, px", check=at_least(1))
    hide_labels: bool = flag(False, "draw boxes without class names")
    hide_conf: bool = flag(False, "draw class names without confidences")
    precision: str = flag(
        "auto",
        "arithmetic; auto: bf16 where the device is fast at it, 32: val.py's",
        choices=PRECISIONS,
        default=SUPPRESS,
    )
    vid_stride: int = flag(1, "use every n-th frame of videos and streams", check=at_least(1))
    visualize: str | None = flag(
        None,
        "write pictures and a page of what the model looks at; cam: heat of every detection, gates: of its attention, "
        "features: maps of every row, as YOLOv5's flag of this name",
        nargs="?",
        const=VISUALIZED[0],
        choices=VISUALIZED,
    )
    visualize_every: int = flag(30, "with --visualize: every n-th frame of videos and streams", check=at_least(1))
    track: str | None = flag(
        None, f"follow objects: {TRACKERS[0]}, or the one named", nargs="?", const=TRACKERS[0], choices=TRACKERS
    )
    batch_size: int | None = flag(
        None, "images that go through the network together (chosen by device)", check=at_least(1)
    )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Flags without an effect."""
        names = [] if self.save_txt else [name for name in ("save_conf", "save_format") if getattr(self, name)]
        return tuple(f"--{name.replace('_', '-')} has no effect without --save-txt" for name in names)

    @property
    def saves(self) -> bool:
        """Whether anything is written."""
        files = self.save_txt, self.save_csv, self.save_json, self.save_crop, self.visualize
        return not self.nosave or any(files)

    @property
    def draws(self) -> bool:
        """Whether boxes are drawn."""
        return not self.nosave or self.view_img


def build_parser() -> ArgumentParser:
    """The parser, with YOLOv5's names and defaults."""
    parser = create_parser(
        DetectConfig,
        "detect.py",
        "Detect objects on images, videos, cameras and streams.",
        examples=(
            "python detect.py --weights runs/train/exp/weights/best.pt --source my_images --save-txt",
            "python detect.py --source clip.mp4 --visualize",
        ),
        page="docs/detection.md",
    )
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
    given, _ = given_settings(DetectConfig, build_parser(), arguments)
    if given["source"] == DEFAULT_SOURCE and not Path(DEFAULT_SOURCE).exists():
        given["source"] = str(ROOT / DEFAULT_SOURCE)
    config = DetectConfig(**given)
    if config.saves:
        require_writable(config.project, "--project")
    return config
