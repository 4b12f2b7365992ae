"""`train.py`'s flags, YOLOv5's names and meanings, as a checked and frozen `TrainConfig`. Imports no torch."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from data.dataset import load_dataset_spec
from data.hyp import load_hyp
from engine.cli import ArgumentParser, resolve_file
from models.download import find_weights

OPTIMIZERS = ("SGD", "Adam", "AdamW")
CACHES = ("ram", "disk", "val")
PRECISIONS = ("auto", "32", "bf16", "16")
STARTS = ("identity", "paper")
RESUME_KEEPS = ("device", "workers")  # what may be given beside --resume: neither changes the result

_NO_LOGGER = "there is no connection to that service; results.csv in the run folder holds the figures"
UNSUPPORTED = {
    "--evolve": "hyperparameter evolution is not built in; run train.py with several --hyp files and compare",
    "--evolve_population": "it belongs to --evolve, which is not built in",
    "--resume_evolve": "it belongs to --evolve, which is not built in",
    "--bucket": "nothing is uploaded; copy the run folder yourself",
    "--image-weights": "images are drawn evenly, so that runs can be repeated; balance the image list instead",
    "--quad": "the quad loader is not built in; use a larger --imgsz",
    "--sync-bn": "it joins the batch statistics of several processes, and this script runs one process on one device",
    "--entity": _NO_LOGGER,
    "--upload_dataset": _NO_LOGGER,
    "--bbox_interval": _NO_LOGGER,
    "--artifact_alias": _NO_LOGGER,
    "--ndjson-console": _NO_LOGGER,
    "--ndjson-file": _NO_LOGGER,
}


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run under YOLOv5's names; files are absolute paths, empty text where there is none.

    Raises:
        ValueError: If a value is out of range or settings contradict each other.
    """

    data: str
    hyp: str
    weights: str = ""
    cfg: str = ""
    attention: tuple[str, ...] = ()
    attention_start: str = "identity"
    epochs: int = 100
    batch_size: int = 16
    imgsz: int = 640
    rect: bool = False
    nosave: bool = False
    noval: bool = False
    noautoanchor: bool = False
    noplots: bool = False
    cache: str | None = None
    device: str = ""
    precision: str = "auto"
    multi_scale: bool = False
    single_cls: bool = False
    optimizer: str = "SGD"
    workers: int = 8
    project: str = "runs/train"
    name: str = "exp"
    exist_ok: bool = False
    cos_lr: bool = False
    label_smoothing: float = 0.0
    patience: int = 100
    freeze: tuple[str, ...] = ("0",)
    thaw_after: int = 0
    save_period: int = -1
    seed: int = 0
    local_rank: int = -1

    def __post_init__(self) -> None:
        for name, low in (
            ("epochs", 1),
            ("imgsz", 32),
            ("workers", 0),
            ("patience", 0),
            ("seed", 0),
            ("thaw_after", 0),
        ):
            if getattr(self, name) < low:
                raise ValueError(f"--{name.replace('_', '-')} {getattr(self, name)}: expected at least {low}")
        if self.thaw_after >= max(self.epochs, 1):
            raise ValueError(
                f"--thaw-after {self.thaw_after}: expected less than --epochs {self.epochs}, so that epochs follow the "
                "thaw; --freeze '!attention' trains the attention modules alone from first to last"
            )
        if self.batch_size == -1:
            raise ValueError("--batch-size -1: the batch size is not searched automatically; give a number, e.g. 16")
        if self.batch_size < 1:
            raise ValueError(f"--batch-size {self.batch_size}: expected at least 1")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"--label-smoothing {self.label_smoothing}: expected 0 to below 1")
        if self.local_rank != -1:
            raise ValueError(
                f"--local_rank {self.local_rank}: expected -1, no distribution; one process drives one device here"
            )
        if not self.cfg and not self.weights:
            raise ValueError(
                "expected --cfg, --weights or both: --cfg yolov5s.yaml trains from scratch, --weights yolov5s.pt goes "
                "on from the pretrained model (fetched if it is not on disk)"
            )
        if 0 < self.patience < self.thaw_after and not self.noval:
            raise ValueError(
                f"--patience {self.patience}: may stop the run before --thaw-after {self.thaw_after}; expected "
                f"at least {self.thaw_after}, or 0 for never"
            )
        object.__setattr__(self, "freeze", tuple(map(str, self.freeze)))
        requests = (self.attention,) if isinstance(self.attention, str) and self.attention else self.attention
        object.__setattr__(self, "attention", tuple(requests))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as in `opt.yaml` and in checkpoints."""
        return {**asdict(self), "attention": list(self.attention), "freeze": list(self.freeze)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """The inverse of `to_dict`.

        Raises:
            ValueError: If a name is unknown or a value is out of range.
        """
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"the run's settings have unknown names: {', '.join(unknown)}")
        return cls(**values)


@dataclass(frozen=True)
class ResumeRequest:
    """`--resume`: a checkpoint, or None for the newest interrupted run below `project`.

    `device` and `workers` replace the run's own where they are given.
    """

    checkpoint: Path | None
    project: Path
    device: str | None = None
    workers: int | None = None

    def apply(self, config: TrainConfig) -> TrainConfig:
        """The run's settings with what was given beside `--resume`."""
        given = {"device": self.device, "workers": self.workers}
        return replace(config, **{name: value for name, value in given.items() if value is not None})


def parse_train_args(argv: Sequence[str] | None = None) -> TrainConfig | ResumeRequest:
    """Read the command line; every file named there exists afterwards.

    Raises:
        ValueError: If a file is missing or wrong, or a value is out of range.
    """
    parser = create_parser()
    given = _given(parser, argv)
    values = vars(parser.parse_args(argv))
    resume = values.pop("resume")
    if resume:
        return _resume_request(resume, values, given)
    if "attention_start" in given and not values["attention"]:
        raise ValueError("--attention-start says how inserted modules begin, and none is inserted; add --attention")
    values["hyp"] = str(resolve_file(values["hyp"], ("data/hyps",), "hyperparameter").resolve())
    load_hyp(values["hyp"])
    if values["cfg"]:
        values["cfg"] = str(resolve_file(values["cfg"], ("models",), "model").resolve())
    if values["weights"]:
        values["weights"] = str(find_weights(values["weights"]).resolve())
    if values["name"] == "cfg":
        values["name"] = Path(values["cfg"] or values["weights"]).stem
    config = TrainConfig(**values)
    # Last, because reading a generated set for the first time draws it.
    return replace(config, data=str(load_dataset_file(config.data, config.single_cls)))


def load_dataset_file(name: str, single_cls: bool) -> Path:
    """The dataset YAML's absolute path, after a check that it can be read."""
    return load_dataset_spec(name, single_cls=single_cls).file.resolve()


def _given(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> set[str]:
    """Names of the settings that stand on the command line."""
    unset: list[str] = []  # argparse appends to a copy, so that identity tells for repeatable flags too
    namespace = argparse.Namespace(**{action.dest: unset for action in parser._actions})
    return {name for name, value in vars(parser.parse_args(argv, namespace)).items() if value is not unset}


def _resume_request(resume: str | bool, values: Mapping[str, Any], given: set[str]) -> ResumeRequest:
    extra = sorted(given - {"resume", "project", *RESUME_KEEPS})
    if extra:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in extra)
        raise ValueError(
            f"--resume continues a run with its own settings, so {flags} would have no effect; "
            f"leave it out (only {', '.join('--' + name for name in RESUME_KEEPS)} may be given)"
        )
    checkpoint = None
    if isinstance(resume, str):
        checkpoint = Path(resume)
        if checkpoint.is_dir():
            checkpoint = checkpoint / "weights" / "last.pt"
        if not checkpoint.is_file():
            raise ValueError(f"--resume {resume}: there is no such checkpoint; name a run's weights/last.pt")
    kept = {name: values[name] if name in given else None for name in RESUME_KEEPS}
    return ResumeRequest(checkpoint, Path(values["project"]), **kept)


def create_parser() -> ArgumentParser:
    """The parser of `train.py`."""
    parser = ArgumentParser(prog="train.py", description="Train a detection model on a dataset in YOLO format.")
    _add_what(parser)
    _add_how(parser)
    _add_where(parser)
    parser.unsupported(UNSUPPORTED)
    return parser


def _add_what(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("model and data")
    add = group.add_argument
    add("--weights", default="", help="start from these weights, e.g. yolov5s.pt; empty trains from scratch")
    add("--cfg", default="", help="model YAML; empty: the model inside --weights")
    text = (
        "insert attention modules, e.g. CoordAtt@neck.P3,neck.P4 or 'CBAM(kernel_size=3)@backbone.P5'; may be repeated"
    )
    add("--attention", action="append", default=[], metavar="MODULE@PLACE", help=text)
    add("--attention-start", choices=STARTS, default="identity", help="how inserted modules begin")
    add("--data", default="signs.yaml", help="dataset YAML")
    add("--hyp", default="hyp.scratch-low.yaml", help="hyperparameter YAML")
    add("--imgsz", "--img", "--img-size", type=int, default=640, help="training and validation image size, pixels")
    add("--single-cls", action="store_true", help="treat all classes as one")
    text = "rows of the base not trained: 10 is the first ten; 0 1 2, 0-9, backbone, 'backbone,!attention' name them"
    add("--freeze", nargs="+", default=["0"], metavar="ROWS", help=text)
    add("--thaw-after", type=int, default=0, metavar="EPOCHS", help="first train only the inserted modules for so long")
    add("--rect", action="store_true", help="rectangular batches by aspect ratio; no mosaic, no shuffling")
    add("--cache", nargs="?", const="ram", choices=CACHES, help="keep decoded images in memory or on disk")
    add("--noautoanchor", action="store_true", help="keep the model's anchors even if they do not fit the labels")


def _add_how(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("training")
    add = group.add_argument
    add("--epochs", type=int, default=100, help="number of epochs")
    add("--batch-size", "--batch", type=int, default=16, help="images per batch")
    add("--optimizer", choices=OPTIMIZERS, default="SGD", help="optimiser")
    add("--cos-lr", action="store_true", help="cosine instead of linear learning rate decay")
    add("--label-smoothing", type=float, default=0.0, help="epsilon of the class targets")
    add("--multi-scale", action="store_true", help="vary the image size by +/- 50%% from batch to batch")
    add("--patience", type=int, default=100, help="stop after so many epochs without improvement; 0 never")
    add("--seed", type=int, default=0, help="seed of everything random")
    add("--device", default="", help="cpu, mps or a GPU number; empty: a GPU if there is one")
    add("--precision", choices=PRECISIONS, default="auto", help="arithmetic of the network; the loss is always fp32")
    add("--workers", type=int, default=8, help="most loader processes")
    add("--local_rank", type=int, default=-1, help="only -1, no distribution")


def _add_where(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    add = group.add_argument
    add("--project", default="runs/train", help="parent of the run folder")
    add("--name", default="exp", help="name of the run folder; 'cfg' takes the model's name")
    add("--exist-ok", action="store_true", help="write into an existing run folder")
    add("--resume", nargs="?", const=True, default=False, help="continue a run: its last.pt, or the newest interrupted")
    add("--nosave", action="store_true", help="save only after the last epoch")
    add("--noval", action="store_true", help="validate only after the last epoch")
    add("--noplots", action="store_true", help="draw nothing")
    add("--save-period", type=int, default=-1, help="also keep the weights of every so many epochs; below 1 never")
