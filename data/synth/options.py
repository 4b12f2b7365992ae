"""The `synth:` mapping of a dataset YAML, checked: how many images of which size from which seed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from typing import Any

CLASS_NAMES = ("red_tl", "arr_s", "arr_l", "no_driving_mark_allsort", "no_parking_mark")
SPLITS = ("train", "val", "test")
MIN_IMAGE_PX = 96


@dataclass(frozen=True)
class SynthOptions:
    """What to draw. `image_px` is (width, height); `train`, `val` and `test` count images."""

    seed: int = 0
    train: int = 2226
    val: int = 450
    test: int = 450
    image_px: tuple[int, int] = (800, 450)

    def count(self, split: str) -> int:
        """The number of images of one split."""
        return int(getattr(self, split))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, equal for equal options."""
        return {**asdict(self), "image_px": list(self.image_px)}

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any]) -> "SynthOptions":
        """Read and check a mapping.

        Raises:
            ValueError: for an unknown key or a value of the wrong kind, naming both.
        """
        if not isinstance(options, Mapping):
            raise ValueError(f"synth: Expected a mapping such as {{seed: 0, train: 320}} but got {options!r}")
        known = [field.name for field in fields(cls)]
        for key in options:
            if key not in known:
                near = get_close_matches(str(key), known, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"synth: Expected one of {', '.join(known)} but got {key!r}{hint}")
        values: dict[str, Any] = {key: _whole(key, value) for key, value in options.items() if key != "image_px"}
        if "image_px" in options:
            values["image_px"] = _size(options["image_px"])
        return cls(**values)


def _whole(key: str, value: object) -> int:
    """A non-negative whole number, or a ValueError that names the key."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"synth: Expected `{key}` to be a whole number, 0 or more, but got {value!r}")
    return value


def _size(value: object) -> tuple[int, int]:
    """(width, height) in px, or a ValueError."""
    if not isinstance(value, (list, tuple)) or len(value) != 2 or not all(type(v) is int for v in value):
        raise ValueError(f"synth: Expected `image_px` to be [width, height] in px but got {value!r}")
    width, height = value
    if min(width, height) < MIN_IMAGE_PX or max(width, height) > 4096 or not 0.5 <= width / height <= 3:
        raise ValueError(
            f"synth: Expected `image_px` between {MIN_IMAGE_PX} and 4096 with width / height from 0.5 to 3"
            f" but got {value!r}; try [640, 360]"
        )
    return width, height
