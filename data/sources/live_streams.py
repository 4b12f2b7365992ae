"""Cameras, network streams and `.streams` lists of them and of videos.

A live stream is read by its own thread, which keeps only the newest frame and connects again when it is lost. What has
an end, a file or a video at an address, is read frame by frame beside them, once.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np

from data.sources.address import check_address, masked
from data.sources.frame import Frame, Trouble
from data.sources.video import frames_per_second, open_capture, quiet_opencv, read_video

GIVE_UP_S = 300.0  # how long a lost stream is tried again
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0  # before it is; doubled each time, unless it held for the longest one
_SILENT_S = 5.0  # without a frame until that is said; doubled each time

Video = Iterator[Frame | Trouble]


def open_live(text: str, vid_stride: int, patience_s: float, give_up_s: float = GIVE_UP_S) -> LiveSource:
    """Open a camera number, a stream address or a `.streams` file with one of them, or of videos, per line.

    Args:
        text: What to open.
        vid_stride: Use every n-th frame.
        patience_s: Longest wait for a connection.
        give_up_s: How long a stream that is lost is tried again.

    Raises:
        ValueError: If none can be opened.
    """
    addresses = _addresses(text)
    arrived = threading.Condition()

    def open_one(index: int, address: str) -> _Reader | Video | Trouble:
        if Path(address).is_file():
            return _read_once(index, address, vid_stride, patience_s)
        try:
            check_address(address)
            reader = _Reader(index, address, arrived, vid_stride, patience_s, give_up_s)
        except ValueError as error:
            return Trouble(masked(address), str(error).removeprefix(f"--source {masked(address)}: "))
        if not reader.has_end:
            return reader
        reader.release()
        return _read_once(index, address, vid_stride, patience_s)

    with ThreadPoolExecutor(len(addresses)) as pool:  # each waits for its own connection
        opened = list(pool.map(open_one, range(len(addresses)), addresses))
    streams = [one for one in opened if isinstance(one, _Reader)]
    troubles = [one for one in opened if isinstance(one, Trouble)]
    videos = [one for one in opened if not isinstance(one, (_Reader, Trouble))]
    if not streams and not videos:
        raise ValueError("--source " + "; ".join(f"{trouble.path}: {trouble.reason}" for trouble in troubles))
    return LiveSource(streams, videos, troubles, arrived)


def _read_once(index: int, address: str, vid_stride: int, patience_s: float) -> Video:
    """Every frame of a video, as those of a stream that stands beside others."""
    name, place = _file_stem(index, address), f"{index}:"
    for item in read_video(address, masked(address), name, place, vid_stride, patience_s):
        yield replace(item, kind="stream") if isinstance(item, Frame) else item


class LiveSource:
    """Frames of streams, each as new as the reader of the iteration is fast, and all those of videos.

    Attributes:
        live: Whether there is a stream among them.
    """

    alpha = False

    def __init__(
        self,
        streams: Sequence[_Reader],
        videos: Sequence[Video],
        troubles: Sequence[Trouble],
        arrived: threading.Condition,
    ) -> None:
        self._streams, self._videos, self._troubles, self._arrived = list(streams), list(videos), troubles, arrived
        self.live = bool(streams)
        for stream in self._streams:
            stream.start()

    def __iter__(self) -> Generator[Frame | Trouble, None, None]:
        """Yield the newest frame of each stream and the next one of each video in turn until all have ended."""
        yield from self._troubles
        streams, videos = list(self._streams), list(self._videos)
        while streams or videos:
            if not videos:
                self._wait(streams)
            for video in list(videos):
                item = next(video, None)
                if item is None:
                    videos.remove(video)
                else:
                    yield item
            for stream in list(streams):
                frame = stream.take()
                if frame is not None:
                    yield frame
                elif stream.ended is not None:
                    streams.remove(stream)
                    yield Trouble(stream.path, stream.ended, partial=stream.number > 0)

    def _wait(self, streams: Sequence[_Reader]) -> None:
        """Until one has a frame or has ended; meanwhile those that are silent are named."""
        with self._arrived:
            while not self._arrived.wait_for(lambda: any(stream.has_news() for stream in streams), timeout=0.5):
                for stream in streams:
                    stream.say_if_silent()

    def close(self) -> None:
        """Stop the threads and let go of the cameras."""
        for stream in self._streams:
            stream.stop()


class _Reader:
    """Reads one stream in a thread; connects again when it is lost, after longer and longer pauses."""

    def __init__(
        self,
        index: int,
        address: str,
        arrived: threading.Condition,
        vid_stride: int,
        patience_s: float,
        give_up_s: float,
    ) -> None:
        self.path = masked(address)
        self.ended: str | None = None
        self.number = 0
        self._name = _file_stem(index, address)
        self._index, self._arrived, self._vid_stride = index, arrived, vid_stride
        self._patience_s, self._give_up_s = patience_s, give_up_s
        self._source: str | int = int(address) if address.isdecimal() else address
        self._newest: np.ndarray | None = None
        self._stopping = threading.Event()
        self._capture = self._open()
        self._fps = frames_per_second(self._capture) / vid_stride
        self._pause_s, self._silent_s = _FIRST_PAUSE_S, _SILENT_S
        self._seen_s = self._connected_s = time.monotonic()
        self._thread = threading.Thread(target=self._read, name=f"stream {index}", daemon=True)

    @property
    def has_end(self) -> bool:
        """Whether it is a recording: only those have a number of frames."""
        return isinstance(self._source, str) and self._capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def release(self) -> None:
        """Let go of the connection."""
        self._capture.release()

    def _open(self) -> cv2.VideoCapture:
        if isinstance(self._source, int) and sys.platform == "linux" and not Path(f"/dev/video{self._source}").exists():
            raise ValueError(f"there is no camera {self._source} (no /dev/video{self._source})")
        capture = open_capture(self._source, self._patience_s)
        if capture is None and isinstance(self._source, int):
            raise ValueError(f"camera {self._source} cannot be opened; it is not there, or another program uses it")
        if capture is None:
            raise ValueError(f"no stream could be opened there within {self._patience_s:g} s")
        return capture

    def _read(self) -> None:
        """Keep the newest frame until stopped or lost."""
        while not self._stopping.is_set():
            with quiet_opencv:
                ok = all(self._capture.grab() for _ in range(self._vid_stride))
                ok, bgr = self._capture.retrieve() if ok else (False, None)
            if ok:
                with self._arrived:
                    self._newest, self._seen_s = bgr, time.monotonic()
                    self._arrived.notify_all()
            elif not self._reconnect():
                break
        self._capture.release()

    def _reconnect(self) -> bool:
        """Connect again, not at once: a camera that ends every connection is not to be asked a hundred times a second.

        The pauses begin short again where the last connection held.
        """
        if time.monotonic() - self._connected_s > _LONGEST_PAUSE_S:
            self._pause_s = _FIRST_PAUSE_S
        lost_s = self._seen_s
        while not self._stopping.is_set() and time.monotonic() < lost_s + self._give_up_s:
            self._capture.release()
            self._stopping.wait(self._pause_s)
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
            try:
                self._capture = self._open()
            except ValueError:
                continue
            self._connected_s = time.monotonic()
            return True
        with self._arrived:
            self.ended = f"the stream was lost and did not come back within {self._give_up_s:g} s"
            self._arrived.notify_all()
        return False

    def has_news(self) -> bool:
        """Whether there is a frame to take, or none will come."""
        return self._newest is not None or self.ended is not None

    def say_if_silent(self) -> None:
        """Name a stream that gives no frames, after longer and longer times."""
        silent_s = time.monotonic() - self._seen_s
        if silent_s > self._silent_s and self.ended is None:
            self._silent_s *= 2
            print(
                f"{self.path}: no frame for {silent_s:.0f} s; it is tried again, for {self._give_up_s:g} s",
                file=sys.stderr,
                flush=True,
            )

    def take(self) -> Frame | None:
        """The newest frame, once."""
        with self._arrived:
            bgr, self._newest = self._newest, None
        if bgr is None:
            return None
        self.number += 1
        rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        heading = f"{self._index}: {self.path} ({self.number})"
        return Frame(rgb, self.path, self._name, "", "stream", heading, self.number, self._fps, time.monotonic())

    def stop(self) -> None:
        """End the thread; a read in progress is given its own timeout."""
        self._stopping.set()
        self._thread.join(timeout=self._patience_s)


def _file_stem(index: int, address: str) -> str:
    """A file name from the address, without user, password and query."""
    if address.isdecimal():
        return f"camera{address}"
    if "://" not in address:
        return f"{index}_{Path(address).stem}"
    parts = urlsplit(masked(address))
    text = re.sub(r"[^\w.-]+", "_", f"{parts.hostname or ''}{parts.path}").strip("_.")
    return f"{index}_{text}" if text else f"stream{index}"


def _addresses(text: str) -> list[str]:
    """The rows of a list, files beside it by their path; or the one address."""
    if not text.lower().endswith(".streams"):
        return [text]
    file = Path(text).expanduser()
    if not file.is_file():
        raise ValueError(f"--source {text}: no such file")
    rows = [row.strip() for row in file.read_text(encoding="utf-8-sig").splitlines()]
    addresses = [row for row in rows if row and not row.startswith("#")]
    if not addresses:
        raise ValueError(
            f"--source {text}: the list is empty; expected one stream address, camera number or video per line"
        )
    return [str(file.parent / row) if (file.parent / row).is_file() else row for row in addresses]
