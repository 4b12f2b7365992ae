"""An .mp4 that is written frame by frame: H.264 where the package av is installed, MPEG-4 video by OpenCV elsewhere."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from data.sources.frame import Frame
from data.sources.video import quiet_opencv
from files.disk import check_space

_DEFAULT_FPS = 30.0
_LONGEST_GAP_S = 5.0
_MOST_SIDE_PX = 16_384  # that H.264 has room for


class _Encoder(Protocol):
    def write(self, rgb: np.ndarray) -> None: ...

    def close(self) -> None: ...


class VideoFile:
    """An .mp4 of pictures of one size.

    A live recording is written in fragments of half a second, each complete in itself, so that it can be played
    whatever ends the process; the plain .mp4 of a video gets its index when it is closed.
    """

    def __init__(self, file: Path, frame: Frame, picture: np.ndarray) -> None:
        height, width = picture.shape[:2]
        self._size = (width + width % 2, height + height % 2)  # the codecs' colour planes need even sides
        self._fps = frame.fps or _DEFAULT_FPS
        self._start_s = frame.time_s
        self._frames = 0
        self._file = file
        plays = find_spec("av") is not None and max(self._size) <= _MOST_SIDE_PX
        self._encoder: _Encoder = (_H264 if plays else _Mpeg4)(file, self._fps, self._size, live=frame.kind == "stream")

    def append(self, picture: np.ndarray, time_s: float | None) -> None:
        """Add a picture; one of a live stream stands for all the time since the one before."""
        height, width = picture.shape[:2]
        right, below = self._size[0] - width, self._size[1] - height
        if right in (0, 1) and below in (0, 1):
            picture = cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_REPLICATE)
        else:  # a stream that came back in another size
            picture = cv2.resize(picture, self._size)
        copies = 1 if time_s is None or self._start_s is None else self._due(time_s, self._start_s)
        check_space(self._file.parent)  # the encoders say nothing
        for _ in range(copies):
            self._encoder.write(picture)
        self._frames += copies

    def _due(self, time_s: float, start_s: float) -> int:
        """Frames to write so that the video plays at the speed it was seen; long gaps are shortened."""
        due = int((time_s - start_s) * self._fps) + 1 - self._frames
        longest = int(_LONGEST_GAP_S * self._fps)
        if due > longest:
            self._start_s = start_s + (due - longest) / self._fps
        return min(max(due, 0), longest)

    def close(self) -> None:
        """Finish the file."""
        self._encoder.close()


class _H264:
    """What browsers play."""

    def __init__(self, file: Path, fps: float, size: tuple[int, int], *, live: bool) -> None:
        import av  # pyright: ignore[reportMissingImports]  (optional)

        flags = "+frag_keyframe+empty_moov+default_base_moof" if live else "+faststart"
        self._container: Any = av.open(str(file), "w", options={"movflags": flags, "flush_packets": "1"})
        stream: Any = self._container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.gop_size = max(round(fps / 2), 1) if live else round(10 * fps)
        stream.options = {"crf": "20", "preset": "veryfast", **({"tune": "zerolatency"} if live else {})}
        self._stream, self._picture = stream, av.VideoFrame.from_ndarray

    def write(self, rgb: np.ndarray) -> None:
        self._container.mux(self._stream.encode(self._picture(rgb, format="rgb24")))

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()


class _Mpeg4:
    """The one codec that every OpenCV wheel can write; players open it, browsers do not.

    OpenCV passes no options to FFmpeg's writer, but chooses it by the file's suffix: the one of .ismv files writes an
    .mp4 in fragments.
    """

    def __init__(self, file: Path, fps: float, size: tuple[int, int], *, live: bool) -> None:
        self._file, self._as = file, file.with_suffix(".ismv") if live else file
        with quiet_opencv:
            self._writer = cv2.VideoWriter(str(self._as), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
        if not self._writer.isOpened():
            check_space(file.parent)
            raise ValueError(f"{file}: this OpenCV cannot write .mp4 videos; --nosave goes without")
        with contextlib.suppress(PermissionError):  # on Windows, where an open file keeps its name until it is closed
            self._as = self._as.replace(file)

    def write(self, rgb: np.ndarray) -> None:
        self._writer.write(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        self._writer.release()
        self._as.replace(self._file)
