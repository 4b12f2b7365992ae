"""Small things under YOLOv5's names; imports nothing heavy."""

from __future__ import annotations

import itertools
import logging
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.images import IMAGE_SUFFIXES
from data.sources.frame import VIDEO_SUFFIXES
from engine.runtime.console import note

if TYPE_CHECKING:
    import torch

LOGGER = logging.getLogger("yolov5")
IMG_FORMATS = tuple(suffix[1:] for suffix in IMAGE_SUFFIXES)
VID_FORMATS = tuple(suffix[1:] for suffix in VIDEO_SUFFIXES)


def increment_path(path: str | Path, exist_ok: bool = False, sep: str = "", mkdir: bool = False) -> Path:
    """`runs/exp`, or the next free of `runs/exp2`, `runs/exp3`, …; `mkdir` makes it a folder."""
    found = Path(path)
    if found.exists() and not exist_ok:
        stem, suffix = (found.with_suffix(""), found.suffix) if found.is_file() else (found, "")
        tried = (Path(f"{stem}{sep}{number}{suffix}") for number in itertools.count(2))
        found = next(path for path in tried if not path.exists())
    if mkdir:
        found.mkdir(parents=True, exist_ok=True)
    return found


def make_divisible(x: float, divisor: Any) -> int:  # noqa: ANN401  (a number, or the strides as a tensor)
    """The smallest multiple of the divisor that is no less than x."""
    step = int(divisor.max()) if hasattr(divisor, "max") else int(divisor)
    return math.ceil(x / step) * step


def check_img_size(imgsz: Any, s: Any = 32, floor: int = 0) -> Any:  # noqa: ANN401  (a side or several, as given)
    """A side, or a list of them, rounded up to multiples of the stride `s`, at least `floor`; says so if it changes."""
    several = not isinstance(imgsz, int)
    wanted = list(imgsz) if several else [imgsz]
    fitting = [max(make_divisible(side, s), floor) for side in wanted]
    if fitting != wanted:
        note(f"image size {imgsz} is not a multiple of the stride {s}; {fitting if several else fitting[0]} is used")
    return fitting if several else fitting[0]


def select_device(device: Any = "", batch_size: int = 0, newline: bool = True) -> torch.device:  # noqa: ANN401
    """The device of `--device`; one that is a torch device already stays.

    Raises:
        ValueError: If it is not here.
    """
    from engine.runtime.device import select_device as select

    return select("" if device is None else str(device))


class Profile:
    """Adds up the seconds spent inside `with`: `t` altogether, `dt` the last time."""

    def __init__(self, t: float = 0.0, device: torch.device | None = None) -> None:
        self.t, self.dt, self.device, self._start = t, 0.0, device, 0.0

    def __enter__(self) -> Profile:
        self._start = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        self.dt = self._now() - self._start
        self.t += self.dt

    def _now(self) -> float:
        if self.device is None:
            return time.perf_counter()
        from engine.runtime.device import seconds_when_done

        return seconds_when_done(self.device)


def check_requirements(*_: object, **__: object) -> None:
    """Nothing: packages are the user's to install (requirements.txt)."""


def check_imshow(warn: bool = False) -> bool:
    """Whether a window can be opened here."""
    from engine.detection.window import Viewer

    try:
        Viewer().close()
    except ValueError as error:
        if warn:
            note(str(error))
        return False
    return True


def print_args(args: dict[str, Any] | None = None, *_: object, **__: object) -> None:
    """One line with names and values."""
    if args:
        print(", ".join(f"{name}={value}" for name, value in args.items()))
