"""What val.py and detect.py are told alike: weights, thresholds, device, arithmetic and where results go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from engine.config.files import module_files
from engine.config.flags import MODULE_TEXT, SHARE, add_flags, at_least, check, flag, settings
from engine.config.parser import ArgumentParser

DEFAULT_WEIGHTS = "weights/yolov5n_ca_signs.pt"  # of val.py and export.py; detect.py has its own


@dataclass(frozen=True)
class PredictConfig:
    """Settings of a script that looks at images; fields are named after YOLOv5's flags, which say what they mean.

    Raises:
        ValueError: On values out of range and flags that contradict each other.
    """

    weights: tuple[str, ...] = flag((DEFAULT_WEIGHTS,), ".pt or exported; several are an ensemble")
    module: tuple[str, ...] = flag((), MODULE_TEXT, metavar="FILE")
    conf_thres: float = flag(0.25, "confidence threshold", check=SHARE)
    iou_thres: float = flag(0.45, "IoU threshold of the NMS", check=SHARE)
    max_det: int = flag(1000, "detections per image at most", check=at_least(1))
    device: str = flag("", "GPU number, cpu or mps; empty takes a GPU if there is one")
    augment: bool = flag(False, "predict at three sizes, one mirrored, and merge")
    dnn: bool = flag(False, "run .onnx weights with OpenCV")
    save_txt: bool = flag(False, "write detections as label files to labels/")
    save_conf: bool = flag(False, "with --save-txt: add the confidence to each row")
    name: str = flag("exp", "run folder; a number is added if it exists")
    exist_ok: bool = flag(False, "write into an existing run folder")

    def __post_init__(self) -> None:
        check(self)


Config = TypeVar("Config", bound=PredictConfig)


def create_parser(
    config_class: type[Config], prog: str, description: str, *, examples: Sequence[str], page: str
) -> ArgumentParser:
    """The parser of a script, with YOLOv5's `--half`, which is another way to say `--precision 16`."""
    parser = ArgumentParser(prog=prog, description=description, examples=examples, page=page)
    add_flags(parser, config_class)
    parser.add_argument("--half", action="store_true", help="fp16, the same as --precision 16")
    return parser


def given_settings(
    config_class: type[Config], parser: ArgumentParser, words: Sequence[str] | None
) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """The values on a command line that are settings, and all that argparse gives.

    Raises:
        ValueError: If two precisions are given, more than two sides, or a module file is not found.
    """
    parsed = vars(parser.parse_args(words))
    if parsed["half"] and parsed.setdefault("precision", "16") != "16":
        raise ValueError(f"--half and --precision {parsed['precision']} contradict each other; give one of them")
    given = settings(config_class, parsed)
    given["module"] = module_files(given["module"])
    return given, parsed
