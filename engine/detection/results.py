"""What `predict` returns: the detections of each image, in pixels and normalised, that can draw and save themselves."""

from __future__ import annotations

import builtins
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from data.boxes import convert_boxes
from data.images import write_image
from data.sources.files import output_names
from engine.detection.output_files import CropWriter, cut_out
from engine.drawing.boxes_on_images import Annotator, Style
from files.text import printable_lines

if TYPE_CHECKING:
    from pandas import DataFrame

_COLUMNS = {  # YOLOv5's column names
    "xyxy": ("xmin", "ymin", "xmax", "ymax"),
    "xywh": ("xcenter", "ycenter", "width", "height"),
}


@dataclass(frozen=True)
class Result:
    """The detections of one image, most confident first.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        boxes_xyxy_px: (n, 4) float32 corners in pixels of the image.
        confidences: (n,) float32.
        class_ids: (n,) int64.
        names: From class number to class name.
        path: Where the image came from; "image0.jpg", … for arrays.
    """

    image: np.ndarray
    boxes_xyxy_px: np.ndarray
    confidences: np.ndarray
    class_ids: np.ndarray
    names: Mapping[int, str]
    path: str

    def __len__(self) -> int:
        return len(self.class_ids)

    def boxes(self, kind: str) -> np.ndarray:
        """The boxes (n, 4) in a format of `data.boxes`: xyxy_px, xyxy_norm, cxcywh_px, cxcywh_norm."""
        height, width = self.image.shape[:2]
        return convert_boxes(self.boxes_xyxy_px, "xyxy_px", kind, width, height)

    @property
    def boxes_xyxy_norm(self) -> np.ndarray:
        """(n, 4) corners as shares of the image's width and height."""
        return self.boxes("xyxy_norm")

    @property
    def boxes_cxcywh_px(self) -> np.ndarray:
        """(n, 4) centre and size in pixels."""
        return self.boxes("cxcywh_px")

    @property
    def boxes_cxcywh_norm(self) -> np.ndarray:
        """(n, 4) centre and size as shares of the image's width and height."""
        return self.boxes("cxcywh_norm")

    @property
    def class_names(self) -> list[str]:
        """The class name of each detection."""
        return [self.names[int(class_id)] for class_id in self.class_ids]

    def plot(self, *, line_px: int = 3, labels: bool = True, confidences: bool = True) -> np.ndarray:
        """The image with its detections drawn, (H, W, 3) uint8 RGB."""
        annotator = _annotator(tuple(self.names.items()), Style(line_px, labels, confidences))
        return annotator.draw(self.image, self.boxes_xyxy_px, self.confidences, self.class_ids)

    def save(self, path: str | Path, *, labels: bool = True) -> Path:
        """Write the drawn image.

        Args:
            path: A file, or a folder (one that exists, or a name without suffix) for a file of the image's own name.
            labels: Draw class names and confidences.

        Raises:
            ValueError: If the suffix is not that of an image.
        """
        file = Path(path)
        if file.is_dir() or not file.suffix:
            file = file / f"{Path(self.path).stem}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_image(file, self.plot(labels=labels))
        return file

    def pandas(self, kind: str = "xyxy", *, normalised: bool = False) -> DataFrame:
        """A table with YOLOv5's columns: box, confidence, class, name.

        Args:
            kind: "xyxy" or "xywh".
            normalised: Boxes as shares of the image's size instead of pixels.

        Raises:
            ValueError: If `kind` is unknown.
        """
        if kind not in _COLUMNS:
            raise ValueError(f"Expected kind to be xyxy or xywh but got {kind!r}")
        from pandas import DataFrame

        layout = {"xyxy": "xyxy", "xywh": "cxcywh"}[kind] + ("_norm" if normalised else "_px")
        table = DataFrame(self.boxes(layout), columns=list(_COLUMNS[kind]))
        return table.assign(confidence=self.confidences, **{"class": self.class_ids}, name=self.class_names)

    def __str__(self) -> str:
        """One line: size and counts."""
        height, width = self.image.shape[:2]
        counts = sorted(Counter(self.class_ids.tolist()).items())
        told = [f"{count} {self.names[class_id]}{'s' * (count > 1)}" for class_id, count in counts]
        return f"{self.path}: {height}x{width} {', '.join(told) or '(no detections)'}"


class Spent(NamedTuple):
    """Seconds, as YOLOv5's profiles have them."""

    t: float


class Results(Sequence[Result]):
    """The results of several images; with the attributes of YOLOv5's hub results beside.

    Attributes:
        names: From class number to class name.
        times_ms: Pre-processing, network and suppression, ms per image.
        s: Shape of the network's input (B, C, H, W); of images of several shapes the largest sides.
    """

    def __init__(
        self,
        results: Sequence[Result],
        names: Mapping[int, str],
        times_ms: tuple[float, float, float],
        shape: tuple[int, ...],
    ) -> None:
        self._results, self.names, self.times_ms, self.s = list(results), dict(names), times_ms, shape
        self._drawn: list[np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self._results)

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401  (a result, or a list of them)
        return self._results[index]

    def __iter__(self) -> Iterator[Result]:
        return iter(self._results)

    def __str__(self) -> str:
        """A line for each image, and the speed."""
        speed = "Speed: {:.1f}ms pre-process, {:.1f}ms inference, {:.1f}ms NMS per image".format(*self.times_ms)
        speed += f" at shape {self.s}"
        return "\n".join([*map(str, self._results), speed])

    def _tensors(self, kind: str) -> list[Tensor]:
        rows = (np.column_stack([one.boxes(kind), one.confidences, one.class_ids]) for one in self._results)
        return [torch.from_numpy(table.astype(np.float32)) for table in rows]

    @property
    def xyxy(self) -> list[Tensor]:
        """For each image (n, 6): corners in pixels, confidence, class."""
        return self._tensors("xyxy_px")

    @property
    def xyxyn(self) -> list[Tensor]:
        """As `xyxy`, normalised."""
        return self._tensors("xyxy_norm")

    @property
    def xywh(self) -> list[Tensor]:
        """For each image (n, 6): centre and size in pixels, confidence, class."""
        return self._tensors("cxcywh_px")

    @property
    def xywhn(self) -> list[Tensor]:
        """As `xywh`, normalised."""
        return self._tensors("cxcywh_norm")

    @property
    def pred(self) -> list[Tensor]:
        """The same as `xyxy`."""
        return self.xyxy

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self)

    @property
    def t(self) -> tuple[float, float, float]:
        """The same as `times_ms`."""
        return self.times_ms

    @property
    def times(self) -> tuple[Spent, ...]:
        """The seconds of all images together, each as `.t`."""
        return tuple(Spent(ms * len(self) / 1000) for ms in self.times_ms)

    @property
    def files(self) -> list[str]:
        """File names of the images; "image0.jpg", … for arrays."""
        return [Path(one.path).name for one in self._results]

    def tolist(self) -> list[Results]:
        """The results of each image alone."""
        return [Results([one], self.names, self.times_ms, self.s) for one in self._results]

    @property
    def ims(self) -> list[np.ndarray]:
        """The images, RGB; after `render` the drawn ones."""
        return [one.image for one in self._results] if self._drawn is None else self._drawn

    def pandas(self) -> Tables:
        """YOLOv5's tables: `results.pandas().xyxy[0]`."""
        return Tables(
            *(
                [one.pandas(kind, normalised=norm) for one in self._results]
                for kind in _COLUMNS
                for norm in (False, True)
            )
        )

    def render(self, labels: bool = True) -> list[np.ndarray]:
        """Draw the images, which `ims` gives from now on; returns them, RGB."""
        self._drawn = [one.plot(labels=labels) for one in self._results]
        return self._drawn

    @staticmethod
    def _folder(save_dir: str | Path, exist_ok: bool) -> Path:
        from engine.config.files import new_run_folder

        wanted = Path(save_dir)
        return new_run_folder(wanted.parent, wanted.name, exist_ok=exist_ok)

    def save(self, labels: bool = True, save_dir: str | Path = "runs/detect/exp", exist_ok: bool = False) -> Path:
        """Write the drawn images to a folder, by default the next free one; returns it.

        Frames of a video and images of the same name are numbered from the second on.
        """
        folder = self._folder(save_dir, exist_ok)
        for result, name in zip(self._results, output_names([one.path for one in self._results]), strict=True):
            result.save(folder / f"{name}.jpg", labels=labels)
        return folder

    def crop(
        self, save: bool = True, save_dir: str | Path = "runs/detect/exp", exist_ok: bool = False
    ) -> list[dict[str, Any]]:
        """What is inside each box, with the margin that `detect.py --save-crop` leaves.

        Args:
            save: Also write them to `crops/<class>/` of a folder, as detect.py does.
            save_dir: By default the next free one.
            exist_ok: Write into that folder itself, though it is there.

        Returns:
            YOLOv5's dictionaries, image by image, most confident first: box (corners in pixels), conf, cls, label
            and im, the crop (h, w, 3) uint8 in BGR as OpenCV writes it.
        """
        crops = [cut_out(one.image, one.boxes_xyxy_px) for one in self._results]
        if save:
            writer = CropWriter(self._folder(save_dir, exist_ok) / "crops", self.names)
            stems = output_names([one.path for one in self._results])
            for result, stem, cut in zip(self._results, stems, crops, strict=True):
                writer.write_crops(stem, cut, result.class_ids)
        return [
            {
                "box": list(row[:4]),
                "conf": row[4],
                "cls": row[5],
                "label": f"{self.names[int(row[5])]} {row[4]:.2f}",
                "im": im[..., ::-1],
            }
            for table, cut in zip(self.xyxy, crops, strict=True)
            for row, im in zip(table, cut, strict=True)
        ]

    def show(self, labels: bool = True) -> None:
        """Show the drawn images: in a notebook below the cell, elsewhere in the system's viewer."""
        from PIL import Image

        for one in self._results:
            picture = Image.fromarray(one.plot(labels=labels))
            if hasattr(builtins, "get_ipython"):
                from IPython.display import display

                display(picture)
            else:
                picture.show()

    def print(self) -> None:
        """Print a line for each image, and the speed."""
        print(printable_lines(self))


@dataclass(frozen=True)
class Tables:
    """Tables of each image in four box formats."""

    xyxy: list[DataFrame]
    xyxyn: list[DataFrame]
    xywh: list[DataFrame]
    xywhn: list[DataFrame]


Detections = Results  # YOLOv5's name


@lru_cache(maxsize=8)
def _annotator(names: tuple[tuple[int, str], ...], style: Style) -> Annotator:
    return Annotator(dict(names), style)
