"""Live sources: cameras and network streams. Each is read by its own thread, which keeps only the newest frame."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np

from data.sources.frame import Frame, Trouble
from data.sources.video import frames_per_second, open_capture, quiet_opencv

_RETRY_S = 0.5


def open_live(text: str, vid_stride: int, patience_s: float) -> LiveSource:
    """Open a camera number, a stream address or a `.streams` file with one of them per line.

    Raises:
        ValueError: If none can be opened.
    """
    addresses = _addresses(text)
    arrived = threading.Condition()
    streams: list[_Reader] = []
    troubles: list[Trouble] = []
    for index, address in enumerate(addresses):
        try:
            streams.append(_Reader(index, address, arrived, vid_stride, patience_s))
        except ValueError as error:
            troubles.append(Trouble(masked(address), str(error)))
    if not streams:
        told = "; ".join(f"{trouble.path}: {trouble.reason}" for trouble in troubles)
        raise ValueError(f"--source {told}")
    return LiveSource(streams, troubles, arrived)


def masked(address: str) -> str:
    """An address without its password."""
    return re.sub(r"(?<=://)([^/@:]*):[^/@]*@", r"\1:***@", address)


class LiveSource:
    """Frames of one or several streams, each as new as the reader of the iteration is fast."""

    live = True

    def __init__(self, streams: Sequence[_Reader], troubles: Sequence[Trouble], arrived: threading.Condition) -> None:
        self._streams, self._troubles, self._arrived = list(streams), list(troubles), arrived
        for stream in self._streams:
            stream.start()

    def __iter__(self) -> Generator[Frame | Trouble, None, None]:
        """Yield the newest frame of each stream in turn until all have ended."""
        yield from self._troubles
        open_streams = list(self._streams)
        while open_streams:
            with self._arrived:
                self._arrived.wait_for(lambda: any(stream.has_news() for stream in open_streams))
            for stream in list(open_streams):
                frame = stream.take()
                if frame is not None:
                    yield frame
                elif stream.ended is not None:
                    open_streams.remove(stream)
                    yield Trouble(stream.path, stream.ended, partial=True)

    def close(self) -> None:
        """Stop the threads and let go of the cameras."""
        for stream in self._streams:
            stream.stop()


class _Reader:
    """Reads one stream in a thread; connects again when it is lost, and gives up after `patience_s`."""

    def __init__(
        self, index: int, address: str, arrived: threading.Condition, vid_stride: int, patience_s: float
    ) -> None:
        self.path = masked(address)
        self.ended: str | None = None
        self._index, self._arrived, self._vid_stride, self._patience_s = index, arrived, vid_stride, patience_s
        self._source: str | int = int(address) if address.isdecimal() else address
        self._newest: np.ndarray | None = None
        self._number = 0
        self._stopping = threading.Event()
        self._capture = self._open()
        self._fps = frames_per_second(self._capture) / vid_stride
        self._thread = threading.Thread(target=self._read, name=f"stream {index}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def _open(self) -> cv2.VideoCapture:
        if isinstance(self._source, int) and sys.platform == "linux" and not Path(f"/dev/video{self._source}").exists():
            raise ValueError(f"there is no camera {self._source} (no /dev/video{self._source})")
        capture = open_capture(self._source, self._patience_s)
        if capture is None and isinstance(self._source, int):
            raise ValueError(f"camera {self._source} cannot be opened; it is not there, or another program uses it")
        if capture is None:
            raise ValueError("no stream could be opened there")
        return capture

    def _read(self) -> None:
        """Keep the newest frame until stopped or lost."""
        while not self._stopping.is_set():
            with quiet_opencv:
                ok = all(self._capture.grab() for _ in range(self._vid_stride))
                ok, bgr = self._capture.retrieve() if ok else (False, None)
            if ok:
                with self._arrived:
                    self._newest = bgr
                    self._arrived.notify_all()
            elif not self._reconnect():
                break
        self._capture.release()

    def _reconnect(self) -> bool:
        deadline = time.monotonic() + self._patience_s
        while not self._stopping.is_set() and time.monotonic() < deadline:
            self._capture.release()
            try:
                self._capture = self._open()
            except ValueError:
                self._stopping.wait(_RETRY_S)
            else:
                return True
        with self._arrived:
            self.ended = f"the stream was lost and did not come back within {self._patience_s:g} s"
            self._arrived.notify_all()
        return False

    def has_news(self) -> bool:
        """Whether there is a frame to take, or none will come."""
        return self._newest is not None or self.ended is not None

    def take(self) -> Frame | None:
        """The newest frame, once."""
        with self._arrived:
            bgr, self._newest = self._newest, None
        if bgr is None:
            return None
        self._number += 1
        rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        heading = f"{self._index}: {self.path} ({self._number})"
        now = time.monotonic()
        return Frame(rgb, self.path, self._file_stem(), "", "stream", heading, self._number, self._fps, now)

    def _file_stem(self) -> str:
        """A file name from the address, without user, password and query."""
        if isinstance(self._source, int):
            return f"camera{self._source}"
        parts = urlsplit(self._source)
        text = re.sub(r"[^\w.-]+", "_", f"{parts.hostname or ''}{parts.path}").strip("_.")
        return f"{self._index}_{text}" if text else f"stream{self._index}"

    def stop(self) -> None:
        """End the thread; a read in progress is given its own timeout."""
        self._stopping.set()
        self._thread.join(timeout=self._patience_s)


def _addresses(text: str) -> list[str]:
    if not text.lower().endswith(".streams"):
        return [text]
    file = Path(text).expanduser()
    if not file.is_file():
        raise ValueError(f"--source {text}: no such file")
    rows = [row.strip() for row in file.read_text(encoding="utf-8-sig").splitlines()]
    addresses = [row for row in rows if row and not row.startswith("#")]
    if not addresses:
        raise ValueError(f"--source {text}: the list is empty; expected one stream address or camera number per line")
    return addresses
