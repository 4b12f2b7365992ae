"""`LoadImages` and `LoadStreams` under YOLOv5's names: what `--source` takes, read by this project's sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data.sources.files import FileSource, expand
from data.sources.frame import Frame, Trouble
from data.sources.open_source import open_source
from engine.runtime.console import note
from engine.yolov5_names.pictures import letterbox

Item = tuple[str, np.ndarray, np.ndarray, Any, str]
Transform = Callable[[np.ndarray], np.ndarray]


class Capture:
    """What scripts ask `vid_cap` for: `get(cv2.CAP_PROP_FPS)` and the size of the pictures."""

    def __init__(self, frame: Frame) -> None:
        height, width = frame.image.shape[:2]
        self._facts = {cv2.CAP_PROP_FPS: frame.fps, cv2.CAP_PROP_FRAME_WIDTH: width, cv2.CAP_PROP_FRAME_HEIGHT: height}

    def get(self, prop: int) -> float:
        """A property of the video; 0 for those that are not known."""
        return float(self._facts.get(prop, 0))

    def release(self) -> None:
        """Nothing: the loader closes its videos."""


class LoadImages:
    """Images and videos, one frame at a time: (path, image, original, capture, text).

    `image` is letterboxed, (3, H, W) uint8 RGB; `original` (H, W, 3) uint8 BGR; `capture` None for images.

    Attributes:
        mode: "image", "video" or "stream": what the last frame was.
        nf, files: Number and paths of the inputs.
    """

    def __init__(
        self,
        path: str | Path | Sequence[str | Path],
        img_size: int | tuple[int, int] = 640,
        stride: int = 32,
        auto: bool = True,
        transforms: Transform | None = None,
        vid_stride: int = 1,
    ) -> None:
        """Find the files.

        Args:
            path: A file, folder, pattern, .txt list, URL or the screen, or several files, folders and patterns.
            img_size: Longest side, or height and width.
            stride: Of the model.
            auto: Pad as little as the stride allows.
            transforms: What makes `image` of the original instead of the letterbox.
            vid_stride: Use every n-th frame of videos.

        Raises:
            ValueError: If there is nothing to read.
        """
        self.img_size, self.stride, self.auto, self.transforms = img_size, stride, auto, transforms
        one = isinstance(path, (str, Path))
        entries = [] if one else [entry for some in sorted(map(str, path)) for entry in expand(some)]
        self._source = open_source(str(path), vid_stride=vid_stride) if one else FileSource(entries, vid_stride)
        self.files = [str(entry) for entry in getattr(self._source, "entries", [path])]
        self.nf, self.mode, self.cap = len(self.files), "image", None

    def __len__(self) -> int:
        return self.nf

    def __iter__(self) -> Iterator[Item]:
        with closing(iter(self._source)) as items:
            for item in items:
                if isinstance(item, Trouble):
                    note(f"{item.path}: {item.reason}")
                    continue
                self.mode = item.kind
                original = np.ascontiguousarray(item.image[..., ::-1])
                self.cap = None if item.kind == "image" else Capture(item)
                yield item.path, prepared(original, self), original, self.cap, f"{item.heading}: "


def LoadScreenshots(source: str, *args: Any, **options: Any) -> LoadImages:  # noqa: ANN401, N802  (YOLOv5's name)
    """`LoadImages` of `screen`, with the same arguments."""
    return LoadImages(source, *args, **options)


class LoadStreams:
    """Cameras and streams, one frame of each at a time: (sources, images, originals, None, text).

    `images` is (B, 3, H, W) uint8 RGB where all streams have one shape, `originals` a list of (H, W, 3) uint8 BGR.
    """

    mode = "stream"

    def __init__(
        self,
        sources: str = "file.streams",
        img_size: int | tuple[int, int] = 640,
        stride: int = 32,
        auto: bool = True,
        transforms: Transform | None = None,
        vid_stride: int = 1,
    ) -> None:
        """Open them.

        Args:
            sources: A camera number, a stream's address, or a .streams file with one a line.
            img_size: As for `LoadImages`.
            stride: As there.
            auto: As there, where all streams have one shape.
            transforms: As there.
            vid_stride: Use every n-th frame.

        Raises:
            ValueError: If none can be opened.
        """
        self.img_size, self.stride, self.auto, self.transforms = img_size, stride, auto, transforms
        self._source = open_source(str(sources), vid_stride=vid_stride)
        self.sources: list[str] = []

    def __len__(self) -> int:
        return max(len(self.sources), 1)

    def __iter__(self) -> Iterator[tuple[list[str], np.ndarray, list[np.ndarray], None, str]]:
        newest: dict[str, np.ndarray] = {}
        told: set[str] = set()
        with closing(self._source), closing(iter(self._source)) as items:
            for item in items:
                if isinstance(item, Trouble):
                    note(f"{item.path}: {item.reason}")
                    continue
                if item.path in told:  # every stream has had its turn
                    yield self._batch(newest)
                    told.clear()
                told.add(item.path)
                newest[item.path] = np.ascontiguousarray(item.image[..., ::-1])
            if told:
                yield self._batch(newest)

    def _batch(self, newest: dict[str, np.ndarray]) -> tuple[list[str], np.ndarray, list[np.ndarray], None, str]:
        self.sources, originals = list(newest), list(newest.values())
        self.auto = self.auto and len({image.shape for image in originals}) == 1
        return self.sources, np.stack([prepared(image, self) for image in originals]), originals, None, ""


def prepared(original: np.ndarray, loader: LoadImages | LoadStreams) -> np.ndarray:
    """(H, W, 3) BGR -> (3, H, W) RGB, letterboxed."""
    if loader.transforms is not None:
        return loader.transforms(original)
    image, _, _ = letterbox(original, loader.img_size, stride=loader.stride, auto=loader.auto)
    return np.ascontiguousarray(image.transpose(2, 0, 1)[::-1])
