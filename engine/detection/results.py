"""What `predict` returns: the detections of each image, in pixels and normalised, that can draw and save themselves."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from data.sources.files import output_names
from engine.detection.output_files import CropWriter, cut_out
from engine.detection.result import COLUMNS, Result
from files.text import printable_lines

if TYPE_CHECKING:
    from pandas import DataFrame


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
                for kind in COLUMNS
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
            YOLOv5's dictionaries, image by image, least confident first as there: box (corners in pixels), conf, cls,
            label and im, the crop (h, w, 3) uint8 in BGR as OpenCV writes it.
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
            for row, im in reversed(list(zip(table, cut, strict=True)))
        ]

    def show(self, labels: bool = True) -> None:
        """Show the drawn images: in a notebook below the cell, elsewhere in the system's viewer."""
        from PIL import Image

        for one in self._results:
            picture = Image.fromarray(one.plot(labels=labels))
            if hasattr(builtins, "get_ipython"):
                import_module("IPython.display").display(picture)
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
