"""The parser of `train.py`: the flags of `TrainConfig`, and those of YOLOv5 that are refused by name. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from engine.config.flags import add_flags, flag_words
from engine.config.parser import ArgumentParser, module_words
from engine.config.train_config import LOGGERS, OUTPUT, TrainConfig

_NO_UPLOAD = "--logger sends figures, settings and the path of the weights; no data, image or file is uploaded"
_CSV = "the figures of every epoch are in results.csv in the run folder"
UNSUPPORTED = {
    "--evolve_population": "--evolve draws a trial from all former ones; there is no population",
    "--resume_evolve": "the same --evolve command given again goes on",
    "--bucket": "nothing is uploaded; copy the run folder yourself",
}
SAMPLERS = ("mutation", "tpe")  # of --evolve
IGNORED = {
    "--upload_dataset": _NO_UPLOAD,
    "--bbox_interval": _NO_UPLOAD,
    "--artifact_alias": _NO_UPLOAD,
    "--ndjson-console": _CSV,
    "--ndjson-file": _CSV,
}


def create_parser() -> ArgumentParser:
    """The parser of `train.py`."""
    parser = ArgumentParser(
        prog="train.py",
        description="Train a detection model on a dataset in YOLO format.",
        examples=(
            "python train.py --data signs.yaml --attention CoordAtt@neck.P3,neck.P4,neck.P5",
            "python train.py --data my.yaml --weights yolov5s.pt --img 640 --batch 16 --epochs 100",
        ),
        page="docs/training.md",
    )
    add = add_flags(parser, TrainConfig)[OUTPUT]
    add("--resume", nargs="?", const=True, default=False, help="continue a run: its last.pt, or the newest interrupted")
    text = "search hyperparameters in so many runs, 300 without a number; the same command goes on, also at once"
    add("--evolve", nargs="?", type=int, const=300, default=0, metavar="TRIALS", help=text)
    text = (
        "where --evolve takes new values from: mutations of the best trials, as YOLOv5, or Optuna's TPE over all ranges"
    )
    add("--evolve-sampler", choices=SAMPLERS, default=SAMPLERS[0], help=text)
    parser.unsupported(UNSUPPORTED)
    parser.ignored(IGNORED)
    return parser


def run_words(values: Mapping[str, Any], folder: Path, *, resume: bool) -> list[str]:
    """The command line of train.py that begins a run in a folder of its own, or goes on with it.

    Args:
        values: The run's settings, by the names of `TrainConfig`.
        folder: The run folder.
        resume: Go on.
    """
    if resume:
        last = folder / "weights" / "last.pt"
        words = ["--resume", str(last), "--device", values["device"], "--workers", str(values["workers"])]
        return [*words, *module_words(values.get("module", []))]
    return command_words({**values, "project": str(folder.parent), "name": folder.name, "exist_ok": True})


def command_words(values: Mapping[str, Any]) -> list[str]:
    """Settings of a run as the words of a command line.

    Args:
        values: From the names of `TrainConfig` to values; those without a value are left out.
    """
    values = dict(values)
    if not values.get("attention"):
        values.pop("attention_start", None)  # a start of nothing is refused
    actions = create_parser()._actions
    return [word for action in actions for word in flag_words(action, values.get(action.dest))]


def require_loggers(names: Iterable[str]) -> None:
    """Check that the packages of these loggers are installed.

    Raises:
        ValueError: If one is not; gives the command that installs it.
    """
    for name in names:
        module, package = LOGGERS[name]
        if find_spec(module) is None:
            raise ValueError(f"--logger {name}: the package {package} is not installed; pip install {package}")
