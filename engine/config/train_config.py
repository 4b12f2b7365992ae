"""`train.py`'s flags, YOLOv5's names and meanings, as a checked and frozen `TrainConfig`. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any, cast

from data.hyp import BINARY_LOSSES, BOX_LOSSES
from engine.config.flags import MODULE_TEXT, PRECISIONS, Check, at_least, check, flag

OPTIMIZERS = ("SGD", "Adam", "AdamW")
CACHES = ("auto", "ram", "disk", "val", "none")
STARTS = ("identity", "paper")
DEFAULT_HYP = "hyp.scratch-low.yaml"

# Services that figures can be sent to: the module that must be there, and what pip calls it.
LOGGERS = {
    "wandb": ("wandb", "wandb"),
    "mlflow": ("mlflow", "mlflow-skinny"),
    "comet": ("comet_ml", "comet-ml"),
    "clearml": ("clearml", "clearml"),
}

OUTPUT = "output"
_data, _training, _output = (partial(flag, group=title) for title in ("model and data", "training", OUTPUT))


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of a training run under YOLOv5's names; files are absolute paths, empty text where there is none.

    Raises:
        ValueError: If a value is out of range or settings contradict each other.
    """

    weights: str = _data(
        "",
        "start from these, e.g. yolov5s.pt; '' trains from scratch; without it the stock weights of the model's size",
        default=None,  # so that '' is told from nothing
    )
    cfg: str = _data("", "model YAML; empty: the model inside --weights")
    attention: tuple[str, ...] = _data(
        (),
        "insert attention modules, e.g. CoordAtt@neck.P3,neck.P4 or 'CBAM(kernel_size=3)@backbone.P5'; may be repeated",
        action="append",
        nargs=None,
        metavar="MODULE@PLACE",
    )
    module: tuple[str, ...] = _data((), MODULE_TEXT, metavar="FILE")
    attention_start: str = _data("identity", "how inserted modules begin", choices=STARTS)
    class_map: tuple[str, ...] = _data(
        (),
        "take a class's weights from one of another name, e.g. 'stop=stop sign'; equal names are found without it",
        metavar="CLASS=CLASS",
    )
    data: str = _data("signs.yaml", "dataset YAML")
    folds: int = _data(0, "cross-validation: deal the train and val images into K folds", metavar="K")
    fold: int = _data(-1, "the fold that is validated, from 0; the others are trained on", metavar="I")
    hyp: str = _data("", f"hyperparameter YAML; without it the one that the data set names, else {DEFAULT_HYP}")
    imgsz: int = _data(640, "training and validation image size, pixels", "--img", "--img-size", check=at_least(32))
    single_cls: bool = _data(False, "treat all classes as one")
    freeze: tuple[str, ...] = _data(
        ("0",),
        "rows of the base not trained: 10 is the first ten; 0 1 2, 0-9, backbone, 'backbone,!attention' name them",
        metavar="ROWS",
    )
    thaw_after: int = _data(0, "first train only the inserted modules for so long", check=at_least(0), metavar="EPOCHS")
    rect: bool = _data(False, "rectangular batches by aspect ratio; no mosaic, no shuffling")
    quad: bool = _data(False, "join the images of a batch by four, or enlarge one of four, to twice --imgsz")
    cache: str = _data(
        "auto",
        "keep decoded images: all at once in memory (ram) or on disk, those for validation (val), in memory what has "
        "been read where that takes at most a quarter of what is free (auto), or none",
        nargs="?",
        const="ram",
        choices=CACHES,
    )
    noautoanchor: bool = _data(False, "keep the model's anchors even if they do not fit the labels")

    epochs: int = _training(100, "number of epochs", check=at_least(1))
    batch_size: int = _training(
        16,
        "images per batch, of all processes together; -1 finds a number for one process",
        "--batch",
        check=Check(lambda value: value >= 1 or value == -1, "at least 1, or -1 to find one"),
    )
    optimizer: str = _training("SGD", "optimiser", choices=OPTIMIZERS)
    cos_lr: bool = _training(False, "cosine instead of linear learning rate decay")
    label_smoothing: float = _training(
        0.0, "epsilon of the class targets", check=Check(lambda value: 0 <= value < 1, "0 to below 1")
    )
    box_loss: str | None = _training(
        None, "loss of the boxes; without it the one of the hyperparameters", choices=BOX_LOSSES
    )
    obj_loss: str | None = _training(None, "loss of the objectness, likewise", choices=BINARY_LOSSES)
    cls_loss: str | None = _training(None, "loss of the classes, likewise", choices=BINARY_LOSSES)
    image_weights: bool = _training(False, "draw images of rare and badly detected classes more often")
    class_weights: float = _training(
        0.0,
        "weigh objects in the class loss by (1 / labels of their class) ** POWER; without a number 1",
        check=Check(lambda value: 0 <= value <= 1, "0, equal weights, to 1, balanced classes"),
        nargs="?",
        const=1.0,
        metavar="POWER",
    )
    multi_scale: bool = _training(False, "vary the image size by +/- 50%% from batch to batch")
    patience: int = _training(100, "stop after so many epochs without improvement; 0 never", check=at_least(0))
    seed: int = _training(0, "seed of everything random", check=at_least(0))
    device: str = _training("", "cpu, mps, a GPU number or several as in 0,1; empty: a GPU if there is one")
    sync_bn: bool = _training(False, "batch normalisation over the images of all processes")
    compile: bool = _training(False, "run the network through torch.compile; on a CPU it has been slower")
    precision: str = _training("auto", "arithmetic of the network; the loss is always fp32", choices=PRECISIONS)
    workers: int = _training(8, "most loader processes, for each training process", check=at_least(0))
    # Always -1: launchers set it on the command line only.
    local_rank: int = _training(-1, "set by launchers; leave it out", "--local_rank")

    project: str = _output("runs/train", "parent of the run folder")
    name: str = _output("exp", "name of the run folder; 'cfg' takes the model's name")
    logger: tuple[str, ...] = _output(
        (),
        "also send the figures there; mlflow writes into the run folder unless MLFLOW_TRACKING_URI is set",
        choices=LOGGERS,
    )
    entity: str = _output("", "team or workspace at W&B or Comet")
    exist_ok: bool = _output(False, "write into an existing run folder")
    nosave: bool = _output(False, "save only after the last epoch")
    noval: bool = _output(False, "validate only after the last epoch")
    noplots: bool = _output(False, "draw nothing")
    save_period: int = _output(-1, "also keep the weights of every so many epochs; below 1 never")

    def __post_init__(self) -> None:
        check(self)
        self._check_combinations()
        self._check_folds()
        requests = (self.attention,) if isinstance(self.attention, str) and self.attention else self.attention
        object.__setattr__(self, "attention", tuple(requests))
        object.__setattr__(self, "cache", self.cache or "auto")  # None in runs from before there was auto
        object.__setattr__(self, "module", tuple(self.module))
        object.__setattr__(self, "class_map", tuple(self.class_map))
        object.__setattr__(self, "freeze", tuple(map(str, self.freeze)))
        object.__setattr__(self, "logger", tuple(dict.fromkeys(self.logger)))

    def _check_combinations(self) -> None:
        if not self.cfg and not self.weights:
            raise ValueError(
                "expected --cfg, --weights or both: --cfg yolov5s.yaml trains from scratch, --weights yolov5s.pt goes "
                "on from the pretrained model (fetched if it is not on disk)"
            )
        wrong = next((pair for pair in self.class_map if not all(pair.partition("="))), None)
        if wrong is not None:
            raise ValueError(f"--class-map {wrong!r}: expected a form such as 'stop=stop sign'")
        if self.class_map and not self.weights:
            raise ValueError("--class-map says which classes of --weights are carried over, and none are named")
        if self.thaw_after >= max(self.epochs, 1):
            raise ValueError(
                f"--thaw-after {self.thaw_after}: expected less than --epochs {self.epochs}, so that epochs follow the "
                "thaw; --freeze '!attention' trains the attention modules alone from first to last"
            )
        if 0 < self.patience < self.thaw_after and not self.noval:
            raise ValueError(
                f"--patience {self.patience}: may stop the run before --thaw-after {self.thaw_after}; expected "
                f"at least {self.thaw_after}, or 0 for never"
            )
        if self.quad and (self.rect or self.multi_scale):
            raise ValueError(f"--quad and --{'rect' if self.rect else 'multi-scale'} both say how large images are")
        if self.quad and 0 < self.batch_size < 4:
            raise ValueError(
                f"--quad joins four images of a batch: expected --batch-size 4 or more, not {self.batch_size}"
            )
        if self.rect and self.image_weights:
            raise ValueError("--rect sorts the images by shape and --image-weights draws them; leave one of them out")

    def _check_folds(self) -> None:
        if self.folds and self.folds < 2:
            raise ValueError(f"--folds {self.folds}: expected at least 2")
        if self.folds and not 0 <= self.fold < self.folds:
            given = f"--fold {self.fold}" if self.fold != -1 else "no --fold"
            raise ValueError(f"{given}: --folds {self.folds} expects the one that is validated, 0 to {self.folds - 1}")
        if not self.folds and self.fold != -1:
            raise ValueError(f"--fold {self.fold}: expected the number of folds too, e.g. --folds 5")

    @property
    def compiles(self) -> bool:
        """Whether the network goes through torch.compile, which makes code for one image size."""
        return self.compile and not (self.rect or self.multi_scale or self.quad)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Flags without an effect."""
        notes: list[str] = []
        if self.compile and not self.compiles:
            other = "--rect" if self.rect else "--multi-scale" if self.multi_scale else "--quad"
            notes.append(f"--compile is ignored: it makes code for one image size, and {other} changes it")
        if self.entity and not {"wandb", "comet"} & set(self.logger):
            notes.append("--entity has no effect without --logger wandb or --logger comet")
        return tuple(notes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as in `opt.yaml` and in checkpoints; `module` only where files are named."""
        values = {
            name: list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }
        return values if self.module else {name: value for name, value in values.items() if name != "module"}

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
