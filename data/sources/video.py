"""Videos and connections through OpenCV, opened without its and FFmpeg's chatter."""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2

from data.sources.frame import Frame, Trouble

_CUT_SHORT_SHARE = 0.95  # containers count frames only roughly


class _Quiet(contextlib.ContextDecorator):
    """Silences OpenCV's log while a thread is inside, and FFmpeg's from then on unless the user set a level."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._level = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET; read when FFmpeg is first used
                self._level = _set_log_level(0)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                _set_log_level(self._level)


quiet_opencv = _Quiet()


def _set_log_level(level: int) -> int:
    """Set OpenCV's log level, 0 for silence; returns the one before."""
    if hasattr(cv2.utils, "logging"):  # since OpenCV 5
        return cv2.utils.logging.setLogLevel(level)
    return cv2.setLogLevel(level)  # pyright: ignore[reportAttributeAccessIssue]  (the stubs are of OpenCV 5)


def open_capture(address: str | int, timeout_s: float) -> cv2.VideoCapture | None:
    """Open a file, an address or a camera.

    Args:
        address: A path or URL, or the number of a camera.
        timeout_s: Longest wait for a connection and for a frame of a URL.

    Returns:
        None if it cannot be opened.
    """
    timeout_ms = int(timeout_s * 1000)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms]
    with quiet_opencv:
        try:
            if isinstance(address, int):
                capture = cv2.VideoCapture(address)
            elif "://" in address:
                capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG, limits)
            else:
                capture = cv2.VideoCapture(address)
        except cv2.error:
            return None
    if capture.isOpened():
        return capture
    capture.release()
    return None


def frames_per_second(capture: cv2.VideoCapture) -> float:
    """As the container says it; 0 where it says nothing sensible."""
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if math.isfinite(fps) and 0 < fps <= 1000 else 0.0


def read_video(
    address: str, path: str, name: str, place: str, vid_stride: int, timeout_s: float = 30.0
) -> Iterator[Frame | Trouble]:
    """Every `vid_stride`-th frame of a video, as YOLOv5 counts them: the last of each `vid_stride`.

    Args:
        address: What OpenCV opens.
        path: What the user is told.
        name: Stem for output files.
        place: Beginning of each line, "video 1/2".
        vid_stride: 1 for every frame.
        timeout_s: Longest wait where `address` is a URL.

    Yields:
        Frames; a `Trouble` if the video cannot be opened or ends before its announced length.
    """
    capture = open_capture(address, timeout_s)
    if capture is None:
        yield Trouble(path, "cannot be opened as a video: broken, cut short, or of a kind this OpenCV cannot decode")
        return
    announced = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
    of = f"/{announced // vid_stride}" if announced else ""
    fps = frames_per_second(capture) / vid_stride
    read = number = 0
    try:
        while _skip_to(capture, vid_stride):
            with quiet_opencv:
                ok, bgr = capture.retrieve()
            if not ok:
                break
            read += vid_stride
            number += 1
            rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
            heading = f"{place} ({number}{of}) {path}"
            yield Frame(rgb, path, name, Path(path).suffix, "video", heading, number, fps)
    finally:
        capture.release()
    if number == 0 and announced < vid_stride and announced:
        yield Trouble(path, f"has {announced} frames, fewer than --vid-stride {vid_stride}")
    elif number == 0:
        yield Trouble(path, "holds no frame that can be decoded")
    elif read + vid_stride < _CUT_SHORT_SHARE * announced:
        yield Trouble(path, f"ends after {read} of {announced} frames: the file is cut short", partial=True)


def _skip_to(capture: cv2.VideoCapture, vid_stride: int) -> bool:
    """Grab `vid_stride` frames; only the last is decoded."""
    with quiet_opencv:
        return all(capture.grab() for _ in range(vid_stride))
