"""What an exported file says about itself, written so that YOLOv5's own loaders read it too."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

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
        dynamic: Any batch, height and width.
        half: Weights in fp16.
        int8: Weights and maps quantised.
        nms: `conf_thres`, `iou_thres` and `max_det` of the suppression inside the file; None without.
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
    spec: dict[str, Any] | None = None

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
    def read(cls, found: Mapping[str, Any], file: object) -> Metadata:
        """The inverse of both; entries that are not ours are left alone.

        Args:
            found: Values, or their text.
            file: For the message.

        Raises:
            ValueError: If names or stride are missing or wrong.
        """
        known = {key: _value(found[key]) for key in cls.__dataclass_fields__ if key in found}
        try:
            names, stride = known.pop("names"), int(known.pop("stride"))
            names = dict(enumerate(names)) if isinstance(names, list) else {int(k): str(v) for k, v in names.items()}
            imgsz, nms = known.pop("imgsz", None), known.pop("nms", None)
            known["nms"] = {str(k): float(v) for k, v in nms.items()} if isinstance(nms, dict) else None
            return cls(names, stride, None if imgsz is None else (int(imgsz[0]), int(imgsz[-1])), **known)
        except (LookupError, AttributeError, TypeError, ValueError) as error:
            raise ValueError(
                f"{file}: carries no class names and stride that can be read ({error!r}); expected a file of export.py"
            ) from error


def _value(text: Any) -> Any:  # noqa: ANN401  (whatever a file holds)
    """A value from its text, JSON or a Python literal; text that is neither stays."""
    if not isinstance(text, str):
        return text
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError):
            continue
    return text
