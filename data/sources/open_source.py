"""What `detect.py --source` may name: image and video files, folders, patterns, lists, URLs, cameras and the screen.

`open_source` turns the text into a `Source`, an iterable of frames. A file that cannot be used does not stop the
others: it comes out of the iteration as a `Trouble`. OpenCV decodes; ultralytics' loaders are not used because they
print, install packages and stop at the first broken file.
"""

from __future__ import annotations

import re
from pathlib import Path

from data.sources.files import FileSource, expand
from data.sources.frame import Source
from data.sources.live_streams import open_live
from data.sources.screen import Screen
from data.sources.web import open_url

STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "tcp", "udp", "srt")
_SCREEN = re.compile(r"screen(\s+-?\d+)*", flags=re.IGNORECASE)


def open_source(text: str, *, vid_stride: int = 1, patience_s: float = 10.0) -> Source:
    """Open what `--source` names.

    Args:
        text: A file, folder, glob pattern, .txt list, .streams list, URL, camera number, or `screen [monitor] [left top
            width height]`.
        vid_stride: Use every n-th frame of videos and streams.
        patience_s: How long to wait for a connection, and to try again when a stream is lost.

    Raises:
        ValueError: If there is nothing to read; says what was looked for.
    """
    if vid_stride < 1:
        raise ValueError(f"--vid-stride {vid_stride}: expected 1 or more")
    text = text.strip()
    if not text:
        raise ValueError("--source is empty; expected a file, folder, pattern, URL, camera number or screen")
    scheme = text.split("://", 1)[0].lower() if "://" in text else ""
    if text.isdecimal() or text.lower().endswith(".streams") or scheme in STREAM_SCHEMES:
        return open_live(text, vid_stride, patience_s)
    if _SCREEN.fullmatch(text) and not Path(text).exists():
        return Screen(text)
    if scheme in ("http", "https"):
        return open_url(text, vid_stride, patience_s)
    if scheme:
        known = ", ".join(f"{name}://" for name in ("http", "https", *STREAM_SCHEMES))
        raise ValueError(f"--source {text}: expected one of {known} but got {scheme}://")
    return FileSource(expand(text), vid_stride)
