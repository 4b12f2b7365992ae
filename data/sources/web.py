"""`--source http://…`: an image is fetched, a video is played, anything else is taken for a live stream."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

import numpy as np

from data.images import IMAGE_SUFFIXES, ImageReadError, decode_image
from data.sources.frame import VIDEO_SUFFIXES, Frame, Source, Trouble
from data.sources.live_streams import masked, open_live
from data.sources.video import read_video

_MAX_IMAGE_BYTES = 256 << 20


def open_url(url: str, vid_stride: int, patience_s: float) -> Source:
    """Ask the server what the address is, then open it accordingly.

    Raises:
        ValueError: If the server cannot be reached, refuses, or sends a web page.
    """
    shown = masked(url)
    suffix = PurePosixPath(unquote(urlsplit(url).path)).suffix.lower()
    request = urllib.request.Request(url, headers={"User-Agent": "yolov5-attention"})
    try:
        with urllib.request.urlopen(request, timeout=patience_s) as answer:
            kind = answer.headers.get_content_type()
            if kind.startswith("image/") or (suffix in IMAGE_SUFFIXES and kind in ("application/octet-stream", "")):
                return WebImage(shown, _name_of(url), suffix, _read_all(answer, shown))
    except urllib.error.HTTPError as error:
        error.close()
        raise ValueError(f"--source {shown}: the server answers {error.code} {error.reason}") from error
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise ValueError(f"--source {shown}: cannot be reached: {getattr(error, 'reason', error)}") from error
    if kind.startswith("video/") or suffix in VIDEO_SUFFIXES:
        return WebVideo(url, shown, _name_of(url), vid_stride, patience_s)
    if kind in ("text/html", "application/json", "text/plain"):
        raise ValueError(f"--source {shown}: expected an image, a video or a stream but the server sends {kind}")
    return open_live(url, vid_stride, patience_s)


def _read_all(answer: http.client.HTTPResponse, shown: str) -> np.ndarray:
    content = answer.read(_MAX_IMAGE_BYTES + 1)
    if len(content) > _MAX_IMAGE_BYTES:
        raise ValueError(f"--source {shown}: the image is larger than {_MAX_IMAGE_BYTES >> 20} MiB")
    return np.frombuffer(content, dtype=np.uint8)


def _name_of(url: str) -> str:
    parts = urlsplit(url)
    return PurePosixPath(unquote(parts.path)).stem or (parts.hostname or "image")


@dataclass(frozen=True)
class WebImage:
    """An image that was fetched."""

    path: str
    name: str
    suffix: str
    encoded: np.ndarray
    live = False

    def __iter__(self) -> Generator[Frame | Trouble, None, None]:
        """Yield the one image."""
        try:
            image = decode_image(self.encoded, name=self.path)
        except ImageReadError as error:
            yield Trouble(self.path, str(error).removeprefix(f"{self.path}: "))
            return
        suffix = self.suffix if self.suffix in IMAGE_SUFFIXES else ".jpg"
        yield Frame(image, self.path, self.name, suffix, "image", f"image 1/1 {self.path}")

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class WebVideo:
    """A video that OpenCV plays from its address."""

    url: str
    path: str
    name: str
    vid_stride: int
    patience_s: float
    live = False

    def __iter__(self) -> Generator[Frame | Trouble, None, None]:
        """Yield its frames."""
        yield from read_video(self.url, self.path, self.name, "video 1/1", self.vid_stride, self.patience_s)

    def close(self) -> None:
        """Nothing outlives the iteration."""
