"""`train.py`'s flags, YOLOv5's names and meanings, as a checked and frozen `TrainConfig`. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


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
    cache: str = "auto"
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
    folds: int = 0
    fold: int = -1
    image_weights: bool = False
    class_weights: float = 0.0
    logger: tuple[str, ...] = ()
    entity: str = ""
    seed: int = 0
    sync_bn: bool = False
    compile: bool = False
    local_rank: int = -1  # always; launchers set it on the command line only

    def __post_init__(self) -> None:
        self._check_ranges()
        self._check_combinations()
        self._check_folds()
        requests = (self.attention,) if isinstance(self.attention, str) and self.attention else self.attention
        object.__setattr__(self, "attention", tuple(requests))
        object.__setattr__(self, "cache", self.cache or "auto")  # None in runs from before there was auto
        object.__setattr__(self, "freeze", tuple(map(str, self.freeze)))
        object.__setattr__(self, "logger", tuple(dict.fromkeys(self.logger)))

    def _check_ranges(self) -> None:
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
        if self.batch_size < 1 and self.batch_size != -1:
            raise ValueError(f"--batch-size {self.batch_size}: expected at least 1, or -1 to find one")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"--label-smoothing {self.label_smoothing}: expected 0 to below 1")
        if not 0 <= self.class_weights <= 1:
            raise ValueError(f"--class-weights {self.class_weights}: expected 0, equal weights, to 1, balanced classes")

    def _check_combinations(self) -> None:
        if not self.cfg and not self.weights:
            raise ValueError(
                "expected --cfg, --weights or both: --cfg yolov5s.yaml trains from scratch, --weights yolov5s.pt goes "
                "on from the pretrained model (fetched if it is not on disk)"
            )
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
        if self.rect and self.image_weights:
            raise ValueError("--rect sorts the images by shape and --image-weights draws them; leave one of them out")
        if self.compile and (self.rect or self.multi_scale):
            other = "--rect" if self.rect else "--multi-scale"
            raise ValueError(f"--compile makes code for one image size, and {other} varies it; leave one of them out")
        if self.entity and not {"wandb", "comet"} & set(self.logger):
            raise ValueError(f"--entity {self.entity}: it is W&B's or Comet's; add --logger wandb or --logger comet")

    def _check_folds(self) -> None:
        if self.folds and self.folds < 2:
            raise ValueError(f"--folds {self.folds}: expected at least 2")
        if self.folds and not 0 <= self.fold < self.folds:
            given = f"--fold {self.fold}" if self.fold != -1 else "no --fold"
            raise ValueError(f"{given}: --folds {self.folds} expects the one that is validated, 0 to {self.folds - 1}")
        if not self.folds and self.fold != -1:
            raise ValueError(f"--fold {self.fold}: expected the number of folds too, e.g. --folds 5")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as in `opt.yaml` and in checkpoints."""
        return {
            **asdict(self),
            "attention": list(self.attention),
            "freeze": list(self.freeze),
            "logger": list(self.logger),
        }

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
