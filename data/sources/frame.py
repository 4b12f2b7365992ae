"""What a source of images yields: frames, and inputs that could not be used."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

VIDEO_SUFFIXES = (".asf", ".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv")


@dataclass(frozen=True)
class Frame:
    """One picture to look at.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        path: Where it comes from, as the user named it; passwords in URLs are masked.
        name: Stem for output files, different for every input of a source.
        suffix: Suffix of the input, ".jpg"; empty for streams.
        kind: "image", "video" or "stream".
        heading: How its line on the terminal begins.
        number: Frame number in a video or stream, from 1; 0 for an image.
        fps: Frames per second of a video or stream after skipping; 0 where unknown.
        time_s: When a live frame was taken, on a clock that only goes forward; None elsewhere.
    """

    image: np.ndarray
    path: str
    name: str
    suffix: str
    kind: str
    heading: str
    number: int = 0
    fps: float = 0.0
    time_s: float | None = None


@dataclass(frozen=True)
class Trouble:
    """An input that could not be used, or only in part."""

    path: str
    reason: str
    partial: bool = False


class Source(Protocol):
    """Iterable of frames and troubles; `live` sources drop frames rather than fall behind."""

    live: bool

    def __iter__(self) -> Generator[Frame | Trouble, None, None]:
        """Iterate once; closing the generator ends it."""
        ...

    def close(self) -> None:
        """Release cameras, connections and threads; safe to call twice."""
        ...
