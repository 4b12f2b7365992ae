"""The parser of `train.py`: its flags, and those of YOLOv5 that are refused by name. Imports no torch."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import Any

from engine.config.parser import ArgumentParser, add_module_flag

OPTIMIZERS = ("SGD", "Adam", "AdamW")
CACHES = ("auto", "ram", "disk", "val", "none")
PRECISIONS = ("auto", "32", "bf16", "16")
STARTS = ("identity", "paper")
DEFAULT_HYP = "hyp.scratch-low.yaml"

# Services that figures can be sent to: the module that must be there, and what pip calls it.
LOGGERS = {
    "wandb": ("wandb", "wandb"),
    "mlflow": ("mlflow", "mlflow-skinny"),
    "comet": ("comet_ml", "comet-ml"),
    "clearml": ("clearml", "clearml"),
}

_NO_UPLOAD = "--logger sends figures, settings and the path of the weights; no data, image or file is uploaded"
_CSV = "the figures of every epoch are in results.csv in the run folder"
IGNORED = {
    "--upload_dataset": _NO_UPLOAD,
    "--bbox_interval": _NO_UPLOAD,
    "--artifact_alias": _NO_UPLOAD,
    "--ndjson-console": _CSV,
    "--ndjson-file": _CSV,
}
UNSUPPORTED = {
    "--evolve_population": "--evolve draws a trial from all former ones; there is no population",
    "--resume_evolve": "the same --evolve command given again goes on",
    "--bucket": "nothing is uploaded; copy the run folder yourself",
    "--quad": "the quad loader is not built in; use a larger --imgsz",
}


def create_parser() -> ArgumentParser:
    """The parser of `train.py`."""
    parser = ArgumentParser(prog="train.py", description="Train a detection model on a dataset in YOLO format.")
    _add_what(parser)
    _add_how(parser)
    _add_where(parser)
    parser.unsupported(UNSUPPORTED)
    parser.ignored(IGNORED)
    return parser


def _add_what(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("model and data")
    add = group.add_argument
    text = "start from these, e.g. yolov5s.pt; '' trains from scratch; without it the stock weights of the model's size"
    add("--weights", help=text)
    add("--cfg", default="", help="model YAML; empty: the model inside --weights")
    text = (
        "insert attention modules, e.g. CoordAtt@neck.P3,neck.P4 or 'CBAM(kernel_size=3)@backbone.P5'; may be repeated"
    )
    add("--attention", action="append", default=[], metavar="MODULE@PLACE", help=text)
    add_module_flag(group)
    add("--attention-start", choices=STARTS, default="identity", help="how inserted modules begin")
    text = "take a class's weights from one of another name, e.g. 'stop=stop sign'; equal names are found without it"
    add("--class-map", nargs="+", default=[], metavar="CLASS=CLASS", help=text)
    add("--data", default="signs.yaml", help="dataset YAML")
    text = "cross-validation: deal the train and val images into K folds"
    add("--folds", type=int, default=0, metavar="K", help=text)
    text = "the fold that is validated, from 0; the others are trained on"
    add("--fold", type=int, default=-1, metavar="I", help=text)
    add("--hyp", help=f"hyperparameter YAML; without it the one that the data set names, else {DEFAULT_HYP}")
    add("--imgsz", "--img", "--img-size", type=int, default=640, help="training and validation image size, pixels")
    add("--single-cls", action="store_true", help="treat all classes as one")
    text = "rows of the base not trained: 10 is the first ten; 0 1 2, 0-9, backbone, 'backbone,!attention' name them"
    add("--freeze", nargs="+", default=["0"], metavar="ROWS", help=text)
    add("--thaw-after", type=int, default=0, metavar="EPOCHS", help="first train only the inserted modules for so long")
    add("--rect", action="store_true", help="rectangular batches by aspect ratio; no mosaic, no shuffling")
    text = (
        "keep decoded images: all at once in memory (ram) or on disk, those for validation (val), in memory what has "
        "been read where that takes at most a quarter of what is free (auto), or none"
    )
    add("--cache", nargs="?", const="ram", default="auto", choices=CACHES, help=text)
    add("--noautoanchor", action="store_true", help="keep the model's anchors even if they do not fit the labels")


def _add_how(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("training")
    add = group.add_argument
    add("--epochs", type=int, default=100, help="number of epochs")
    text = "images per batch, of all processes together; -1 finds a number for one process"
    add("--batch-size", "--batch", type=int, default=16, help=text)
    add("--optimizer", choices=OPTIMIZERS, default="SGD", help="optimiser")
    add("--cos-lr", action="store_true", help="cosine instead of linear learning rate decay")
    add("--label-smoothing", type=float, default=0.0, help="epsilon of the class targets")
    add("--image-weights", action="store_true", help="draw images of rare and badly detected classes more often")
    text = "weigh objects in the class loss by (1 / labels of their class) ** POWER; without a number 1"
    add("--class-weights", nargs="?", type=float, const=1.0, default=0.0, metavar="POWER", help=text)
    add("--multi-scale", action="store_true", help="vary the image size by +/- 50%% from batch to batch")
    add("--patience", type=int, default=100, help="stop after so many epochs without improvement; 0 never")
    add("--seed", type=int, default=0, help="seed of everything random")
    add("--device", default="", help="cpu, mps, a GPU number or several as in 0,1; empty: a GPU if there is one")
    add("--sync-bn", action="store_true", help="batch normalisation over the images of all processes")
    add("--compile", action="store_true", help="run the network through torch.compile; on a CPU it has been slower")
    add("--precision", choices=PRECISIONS, default="auto", help="arithmetic of the network; the loss is always fp32")
    add("--workers", type=int, default=8, help="most loader processes, for each training process")
    add("--local_rank", "--local-rank", type=int, default=-1, help="set by launchers; leave it out")


def _add_where(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    add = group.add_argument
    add("--project", default="runs/train", help="parent of the run folder")
    add("--name", default="exp", help="name of the run folder; 'cfg' takes the model's name")
    text = "also send the figures there; mlflow writes into the run folder unless MLFLOW_TRACKING_URI is set"
    add("--logger", nargs="+", choices=LOGGERS, default=[], help=text)
    add("--entity", default="", help="team or workspace at W&B or Comet")
    add("--exist-ok", action="store_true", help="write into an existing run folder")
    add("--resume", nargs="?", const=True, default=False, help="continue a run: its last.pt, or the newest interrupted")
    text = "search hyperparameters in so many runs, 300 without a number; the same command goes on, also at once"
    add("--evolve", nargs="?", type=int, const=300, default=0, metavar="TRIALS", help=text)
    add("--nosave", action="store_true", help="save only after the last epoch")
    add("--noval", action="store_true", help="validate only after the last epoch")
    add("--noplots", action="store_true", help="draw nothing")
    add("--save-period", type=int, default=-1, help="also keep the weights of every so many epochs; below 1 never")


def command_words(values: Mapping[str, Any]) -> list[str]:
    """Settings of a run as the words of a command line.

    Args:
        values: From the names of `TrainConfig` to values; those without a value are left out.
    """
    values = dict(values)
    if not values.get("attention"):
        values.pop("attention_start", None)  # a start of nothing is refused
    actions = create_parser()._actions
    return [word for action in actions for word in _words(action, values.get(action.dest))]


def _words(action: argparse.Action, value: Any) -> list[str]:  # noqa: ANN401  (any setting)
    """One setting as words, none where it has no value."""
    if value is None or value is False or value == []:
        return []
    flag = max(action.option_strings, key=len)
    if action.nargs == 0:
        return [flag]
    if action.dest == "attention":  # may be repeated
        return [word for one in value for word in (flag, one)]
    if isinstance(value, (list, tuple)):
        return [flag, *map(str, value)]
    return [flag, str(value)]


def require_loggers(names: Iterable[str]) -> None:
    """Check that the packages of these loggers are installed.

    Raises:
        ValueError: If one is not; gives the command that installs it.
    """
    for name in names:
        module, package = LOGGERS[name]
        if find_spec(module) is None:
            raise ValueError(f"--logger {name}: the package {package} is not installed; pip install {package}")
