"""`--source http://…`: an image is fetched, a video is played, anything else is taken for a live stream."""

from __future__ import annotations

import contextlib
import http.client
import io
import queue
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeVar
from urllib.parse import unquote, urlsplit

import numpy as np

from data.images import IMAGE_SUFFIXES, ImageReadError, decode_image
from data.sources.address import check_address, masked, split_login
from data.sources.frame import VIDEO_SUFFIXES, Frame, Source, Trouble, image_frame
from data.sources.live_streams import GIVE_UP_S, open_live
from data.sources.video import read_video

IMAGE_S, MOST_IMAGE_BYTES = 60.0, 256 << 20  # for the whole transfer
VIDEO_S, MOST_VIDEO_BYTES = 600.0, 2 << 30
_BLOCK_BYTES = 1 << 16
_PLAYLISTS = ("mpegurl", "dash+xml")  # of live streams too; OpenCV knows whether they have an end

T = TypeVar("T")


def open_url(
    url: str, vid_stride: int, patience_s: float, give_up_s: float = GIVE_UP_S, image_s: float = IMAGE_S
) -> Source:
    """Ask the server what the address is, then open it accordingly.

    Args:
        url: The address; a user and a password in it are for the server.
        vid_stride: Use every n-th frame of a video or stream.
        patience_s: Longest wait for the server's answer.
        give_up_s: How long a live stream that is lost is tried again.
        image_s: Longest time for an image to arrive.

    Raises:
        ValueError: If the server cannot be reached, refuses, is too slow, or sends a web page.
    """
    check_address(url)
    shown = masked(url)
    suffix = PurePosixPath(unquote(urlsplit(url).path)).suffix.lower()
    with contextlib.closing(_ask(url, patience_s)) as answer:
        kind, length = answer.headers.get_content_type(), _length(answer)
        if kind.startswith("image/") or (suffix in IMAGE_SUFFIXES and kind in ("application/octet-stream", "")):
            content = io.BytesIO()
            try:
                _fetch(answer, content, image_s, MOST_IMAGE_BYTES)
            except OSError as error:
                raise ValueError(f"--source {shown}: cannot be fetched: {error}") from error
            return WebImage(shown, _name_of(shown), suffix, np.frombuffer(content.getvalue(), np.uint8))
    playlist = any(kind.endswith(end) for end in _PLAYLISTS)
    if kind.startswith("video/") or suffix in VIDEO_SUFFIXES:
        return WebVideo(url, shown, _name_of(shown), vid_stride, patience_s)
    if kind in ("text/html", "application/json", "text/plain"):
        raise ValueError(f"--source {shown}: expected an image, a video or a stream but the server sends {kind}")
    if length and not playlist:  # what is live has no length
        return WebVideo(url, shown, _name_of(shown), vid_stride, patience_s)
    return open_live(url, vid_stride, patience_s, give_up_s)


def _ask(url: str, patience_s: float) -> http.client.HTTPResponse:
    """The server's answer, its content not read yet; the user is told to the host of the address alone.

    Raises:
        ValueError: If there is none in time, or it is a refusal.
    """
    login = split_login(url)
    known = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    if login.user:
        known.add_password(None, login.url, login.user, login.password)
    opener = urllib.request.build_opener(
        urllib.request.HTTPBasicAuthHandler(known), urllib.request.HTTPDigestAuthHandler(known)
    )
    request = urllib.request.Request(login.url, headers={"User-Agent": "yolov5-attention"})
    try:
        return _within(patience_s, lambda: opener.open(request, timeout=patience_s))
    except urllib.error.HTTPError as error:
        error.close()
        hint = "; user and password go before the host: http://user:password@host/…" if error.code == 401 else ""
        reason = f"the server answers {error.code} {error.reason}{hint}"
    except TimeoutError:
        reason = f"cannot be reached: no answer within {patience_s:g} s"
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        reason = f"cannot be reached: {getattr(error, 'reason', error)}"
    raise ValueError(f"--source {masked(url)}: {reason}")


def _within(seconds: float, work: Callable[[], T]) -> T:
    """The result of a call in another thread, which a server that drips its bytes keeps busy for ever.

    Raises:
        TimeoutError: If it is not there in time; the thread ends with the process at the latest.
    """
    done: queue.Queue[tuple[T] | BaseException] = queue.Queue(1)

    def run() -> None:
        try:
            done.put((work(),))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits for it
            done.put(error)

    threading.Thread(target=run, name="transfer", daemon=True).start()
    try:
        outcome = done.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome[0]


def _length(answer: http.client.HTTPResponse) -> int:
    text = answer.headers.get("Content-Length") or "0"
    return int(text) if text.isdecimal() else 0


def _fetch(answer: http.client.HTTPResponse, file: BinaryIO, seconds: float, most_bytes: int) -> None:
    """Write the content into a file, at most so much and in so long.

    Raises:
        OSError: If it is more, takes longer or breaks off, or the file cannot be written.
    """
    began, total = time.monotonic(), _length(answer)

    def copy() -> None:
        while block := answer.read1(_BLOCK_BYTES):
            file.write(block)
            if file.tell() > most_bytes:
                raise OSError(f"it is larger than the {most_bytes >> 20} MiB that are fetched")
            if time.monotonic() - began > seconds:
                raise TimeoutError
        if file.tell() < total:
            raise OSError(f"the connection broke off after {file.tell()} of {total} bytes")

    try:
        _within(seconds, copy)
    except TimeoutError:
        arrived, took = f"{file.tell()}{f' of {total}' if total else ''} bytes", time.monotonic() - began
        raise OSError(f"{arrived} arrived in {took:.0f} s; the whole transfer may take {seconds:g} s") from None


def _name_of(shown: str) -> str:
    parts = urlsplit(shown)
    return PurePosixPath(unquote(parts.path)).stem or (parts.hostname or "image")


@dataclass
class WebImage:
    """An image that was fetched."""

    path: str
    name: str
    suffix: str
    encoded: np.ndarray
    live = False
    alpha = False

    def __iter__(self) -> Generator[Frame | Trouble, None, None]:
        """Yield the one image."""
        try:
            image = decode_image(self.encoded, name=self.path, channels=4 if self.alpha else 3)
        except ImageReadError as error:
            yield Trouble(self.path, str(error).removeprefix(f"{self.path}: "))
            return
        suffix = self.suffix if self.suffix in IMAGE_SUFFIXES else ".jpg"
        yield image_frame(image, self.path, self.name, suffix, f"image 1/1 {self.path}")

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class WebVideo:
    """A video that OpenCV plays from its address, or where the server hinders that, from a file with all of it."""

    url: str
    path: str
    name: str
    vid_stride: int
    patience_s: float
    live = False
    alpha = False

    def __iter__(self) -> Generator[Frame | Trouble, None, None]:
        """Yield its frames."""
        frames = self._frames(self.url)
        first = next(frames)
        if isinstance(first, Frame):
            yield first
            yield from frames
            return
        # Its index may lie at its end, and the server send no parts of files.
        print(f"{self.path}: cannot be played from the server; fetching all of it", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "video"
            try:
                with file.open("wb") as content, contextlib.closing(_ask(self.url, self.patience_s)) as answer:
                    _fetch(answer, content, VIDEO_S, MOST_VIDEO_BYTES)
            except (ValueError, OSError) as error:
                reason = str(error).removeprefix(f"--source {self.path}: ")
                yield Trouble(self.path, f"{first.reason}; nor can it be fetched: {reason}")
                return
            yield from self._frames(str(file))

    def _frames(self, address: str) -> Iterator[Frame | Trouble]:
        return read_video(address, self.path, self.name, "video 1/1", self.vid_stride, self.patience_s)

    def close(self) -> None:
        """Nothing outlives the iteration."""
