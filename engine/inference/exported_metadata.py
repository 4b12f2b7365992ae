"""What an exported file says about itself, written so that YOLOv5's own loaders read it too."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from files.literals import read_literal
from models.spec.parse_layer_list import parse_channels

_LARGEST_STRIDE = 1024  # px
INPUT = "images"  # YOLOv5's name
TORCHSCRIPT_EXTRA = "config.txt"  # YOLOv5's name


@dataclass(frozen=True)
class Metadata:
    """The facts that travel inside an exported file.

    Attributes:
        names: From class number to class name.
        stride: What the sides of an image must be multiples of, px.
        imgsz: Height and width of the input in pixels; with `dynamic` those it was written with.
        batch: Images in a batch; with `dynamic` any.
        channels: Of the input, as in `data.images.read_image`.
        dynamic: Any batch, height and width.
        half: Weights in fp16.
        int8: Weights and maps quantised.
        nms: `conf_thres`, `iou_thres` and `max_det` of the suppression inside the file; None without.
        raw_head: What decodes the maps of a file that gives these (`engine.inference.raw_head`); None of one that gives
            predictions.
        spec: `ModelSpec.to_dict()` of the source; None in files of the original YOLOv5.
    """

    names: dict[int, str]
    stride: int
    imgsz: tuple[int, int] | None = None
    batch: int = 1
    dynamic: bool = False
    half: bool = False
    int8: bool = False
    nms: dict[str, float] | None = None
    raw_head: dict[str, list] | None = None
    spec: dict[str, Any] | None = None
    channels: int = 3

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON and YAML."""
        return {**asdict(self), "imgsz": None if self.imgsz is None else list(self.imgsz)}

    def to_properties(self) -> dict[str, str]:
        """Text for formats that store text; names as a Python literal, as the original's loader expects them."""
        return {
            key: repr(value) if key == "names" else json.dumps(value, ensure_ascii=False)
            for key, value in self.to_dict().items()
        }

    @classmethod
    def of_onnx(cls, facts: Mapping[str, Any], shape: Sequence[Any], file: object) -> Metadata:
        """As `read`, with size and batch from the graph's input where a file of the original does not tell them."""
        fixed = [side if isinstance(side, int) and side > 0 else None for side in shape]
        facts = {"channels": (len(fixed) == 4 and fixed[1]) or 3, **facts}
        if "imgsz" not in facts and None not in fixed:
            facts = {**facts, "imgsz": fixed[2:], "batch": fixed[0]}
        elif "imgsz" not in facts:
            facts = {**facts, "dynamic": "true"}
        return cls.read(facts, file)

    @classmethod
    def read(cls, found: Mapping[str, Any], file: object) -> Metadata:
        """The inverse of both; entries that are not ours are left alone.

        Args:
            found: Values, or their text.
            file: For the message.

        Raises:
            ValueError: If names or stride are missing or wrong.
        """
        try:
            known = {key: _value(found[key]) for key in cls.__dataclass_fields__ if key in found}
            names, imgsz, nms = known["names"], known.get("imgsz"), known.get("nms")
            names = dict(enumerate(names)) if isinstance(names, list) else {int(k): v for k, v in names.items()}
            return cls(
                {number: str(name) for number, name in names.items()},
                _count(known["stride"], "stride", _LARGEST_STRIDE),
                None if imgsz is None else (_count(imgsz[0], "imgsz"), _count(imgsz[-1], "imgsz")),
                _count(known.get("batch", 1), "batch"),
                **{key: known.get(key) is True for key in ("dynamic", "half", "int8")},
                nms={str(k): float(v) for k, v in nms.items()} if isinstance(nms, dict) else None,
                raw_head=_raw_head(known.get("raw_head")),
                spec=known.get("spec"),
                channels=parse_channels(known.get("channels", 3), "channels"),
            )
        except (LookupError, AttributeError, TypeError, ValueError, ArithmeticError) as error:
            raise ValueError(
                f"{file}: carries no class names and stride that can be read ({error!r}); expected a file of export.py"
            ) from error


def _raw_head(value: Any) -> dict[str, list] | None:  # noqa: ANN401  (whatever a file holds)
    if value is None:
        return None
    strides = [float(stride) for stride in value["strides"]]
    anchors = [[float(side) for side in level] for level in value["anchors_px"]]
    if not strides or len(strides) != len(anchors) or any(len(level) != len(anchors[0]) for level in anchors):
        raise ValueError(f"raw_head: expected as many anchors in each of its {len(strides)} levels")
    return {"strides": strides, "anchors_px": anchors}


def _value(text: Any) -> Any:  # noqa: ANN401  (whatever a file holds)
    return read_literal(text) if isinstance(text, str) else text


def _count(value: Any, name: str, most: int = 65_536) -> int:  # noqa: ANN401  (whatever a file holds)
    if not 1 <= int(value) <= most:
        raise ValueError(f"{name}: expected a whole number from 1 to {most:,} but got {value!r}")
    return int(value)
