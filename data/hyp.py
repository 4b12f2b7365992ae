"""Hyperparameters: YOLOv5's names, defaults of its `hyp.scratch-low.yaml`, read from YAML and checked."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from files.find import find_file
from files.text import shown
from files.yaml_file import read_yaml

FOLDER = Path(__file__).resolve().parent / "hyps"

# The losses by name; models/box_losses.py and models/binary_losses.py hold them.
BOX_LOSSES = ("ciou", "giou", "diou", "eiou", "siou", "wiou", "mpdiou", "nwd", "alphaiou")
BINARY_LOSSES = ("bce", "focal", "qfocal", "varifocal", "slide")
LOSSES: dict[str, tuple[str, ...]] = {"box_loss": BOX_LOSSES, "obj_loss": BINARY_LOSSES, "cls_loss": BINARY_LOSSES}

# Inclusive limits beyond which a value has no meaning; values inside may still be unwise.
_LIMITS: dict[str, tuple[float, float]] = {
    "momentum": (0, 1),
    "warmup_momentum": (0, 1),
    "iou_t": (0, 1),
    "hsv_h": (0, 1),
    "hsv_s": (0, 1),
    "hsv_v": (0, 1),
    "degrees": (0, 180),
    "translate": (0, 1),
    "scale": (0, 0.999),
    "shear": (0, 89),
    "perspective": (0, 0.01),
    "flipud": (0, 1),
    "fliplr": (0, 1),
    "mosaic": (0, 1),
    "mixup": (0, 1),
    "copy_paste": (0, 1),
    "anchor_t": (1, math.inf),
}


@dataclass(frozen=True)
class Hyperparameters:
    """Training, loss and augmentation settings under YOLOv5's names.

    Fractions of the augmentation are of the image size (`translate`) or of one (`scale`, `hsv_*`); `flipud` to
    `copy_paste` are probabilities. `anchors` is the number of anchors per level that a search should find, None to
    keep the model's.

    Raises:
        ValueError: If a value is not a finite number inside its limits, or a loss has no such name.
    """

    lr0: float = 0.01  # first learning rate
    lrf: float = 0.01  # last learning rate as a fraction of lr0
    momentum: float = 0.937  # SGD momentum, Adam beta1
    weight_decay: float = 0.0005
    warmup_epochs: float = 3.0
    warmup_momentum: float = 0.8
    warmup_bias_lr: float = 0.1
    box: float = 0.05  # loss gains
    cls: float = 0.5
    cls_pw: float = 1.0  # weight of positives in the class BCE
    obj: float = 1.0
    obj_pw: float = 1.0  # weight of positives in the objectness BCE
    iou_t: float = 0.2  # unused by YOLOv5's loss; kept so that its files load
    anchor_t: float = 4.0  # largest ratio of box to anchor side that still matches
    fl_gamma: float = 0.0  # focal loss gamma, 0 for plain BCE
    box_loss: str = "ciou"  # of BOX_LOSSES
    obj_loss: str = "bce"  # of BINARY_LOSSES
    cls_loss: str = "bce"
    hsv_h: float = 0.015
    hsv_s: float = 0.7
    hsv_v: float = 0.4
    degrees: float = 0.0
    translate: float = 0.1
    scale: float = 0.5
    shear: float = 0.0
    perspective: float = 0.0
    flipud: float = 0.0
    fliplr: float = 0.5
    mosaic: float = 1.0
    mixup: float = 0.0
    copy_paste: float = 0.0
    anchors: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "anchors" and value is None:
                continue
            if field.name in LOSSES:
                check_loss(field.name, value)
                continue
            object.__setattr__(self, field.name, _number(field.name, value))

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a mapping, `anchors` only where it is set; `from_dict` reads it back."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, object], *, source: str = "hyperparameters") -> Hyperparameters:
        """Build from a mapping; names that are missing keep their default.

        Args:
            values: Settings by name.
            source: What to call the mapping in an error.

        Raises:
            ValueError: If a name is unknown or a value is out of range.
        """
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                nearest = get_close_matches(str(name), known, n=3, cutoff=0.5)
                hint = f"did you mean {' or '.join(nearest)}?" if nearest else f"known names: {', '.join(known)}"
                raise ValueError(f"{source}: unknown hyperparameter {shown(name)}; {hint}")
        try:
            return cls(**values)  # type: ignore[arg-type]
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error


def load_hyp(name_or_path: str | Path) -> Hyperparameters:
    """Read hyperparameters from a YAML file.

    Args:
        name_or_path: A path, or the name of a file in `data/hyps`, with or without `hyp.` and `.yaml`.

    Returns:
        The settings; names the file leaves out keep YOLOv5's `hyp.scratch-low` value.

    Raises:
        ValueError: If the file is missing or not YAML, or holds an unknown name or a value out of range.
    """
    file = find_hyp(name_or_path)
    content = read_yaml(file)
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise ValueError(f"{file}: Expected `name: value` rows but got a {type(content).__name__}")
    return Hyperparameters.from_dict(content, source=str(file))


def find_hyp(name_or_path: str | Path) -> Path:
    """The file that `load_hyp` reads.

    Raises:
        ValueError: If there is none.
    """
    return find_file(name_or_path, (FOLDER,), "hyperparameter", ("{}.yaml", "hyp.{}.yaml"))


def check_loss(name: str, value: object) -> None:
    """Refuse a loss that is none of those of `name`, of `LOSSES`.

    Raises:
        ValueError: If it is none.
    """
    if value not in LOSSES[name]:
        raise ValueError(f"{name}: Expected {', '.join(LOSSES[name])} but got {shown(value)}")


def _number(name: str, value: object) -> float:
    """Check one setting; YAML 1.1 reads `1e-3` as text, so numeric text counts as a number."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name}: Expected a finite number but got {shown(value)}")
    low, high = _LIMITS.get(name, (0, math.inf))
    if not low <= value <= high:
        limits = f"at least {low}" if math.isinf(high) else f"from {low} to {high}"
        raise ValueError(f"{name}: Expected a value {limits} but got {value}")
    return float(value)
