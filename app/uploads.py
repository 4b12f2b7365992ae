"""Files that the page's user sends, looked at before anything decodes them."""

from __future__ import annotations

import base64
import binascii
import io
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from gradio.components import Component

from data.images import IMAGE_SUFFIXES, decode_image
from data.sources.files import decoded_bytes
from data.sources.frame import Trouble
from files.archive import unpack

_MOST_BYTES = 256 << 20  # of an image, decoded
_JPEG_HEAD_BYTES = 4 << 20  # Pillow looks for a JPEG's size byte by byte, in all of a large file that has none
C = TypeVar("C", bound=Component)


def unread(component: C) -> C:
    """A component whose handlers get what was sent as it is: gradio itself would open the file with Pillow."""
    component.preprocess = lambda payload: payload
    return component


def check_pixels(file: Path | IO[bytes], name: str) -> None:
    """Look at the first bytes of an image.

    Raises:
        ValueError: If it is none, or claims more pixels than this process should hold.
    """
    with file.open("rb") if isinstance(file, Path) else nullcontext(file) as stream:
        start = stream.read(_JPEG_HEAD_BYTES)
        stream.seek(0)
        claimed = decoded_bytes(io.BytesIO(start) if start.startswith(b"\xff\xd8") else stream)
    if not claimed:
        raise ValueError(f"{name}: is no image of a known format")
    if claimed >= _MOST_BYTES:
        most = _MOST_BYTES >> 20
        raise ValueError(f"{name}: the image takes {max(claimed >> 20, most)} MB of memory; expected less than {most}")


def image_file(path: str) -> Path:
    """The path of an image that was sent.

    Raises:
        ValueError: If it has another suffix, or claims too many pixels.
    """
    file = Path(path)
    if file.suffix.lower() not in IMAGE_SUFFIXES:
        raise ValueError(f"{file.name}: expected an image ({' '.join(IMAGE_SUFFIXES)})")
    check_pixels(file, file.name)
    return file


def unpacked(archive: Path, folder: Path) -> list[Trouble]:
    """Unpack a zip that was sent; its images that cannot be used are removed, and told.

    Raises:
        ValueError: If it is no zip, or its members are more or elsewhere than they may be.
    """
    unpack(archive, folder)
    troubles = []
    for file in sorted(folder.rglob("[!.]*")):
        if file.is_file() and file.suffix.lower() in IMAGE_SUFFIXES:
            try:
                check_pixels(file, file.name)
            except ValueError as error:
                file.unlink()
                troubles.append(Trouble(file.name, str(error).removeprefix(f"{file.name}: ")))
    return troubles


def sent_pixels(sent: Any) -> np.ndarray:  # noqa: ANN401  (gradio's)
    """(H, W, 3) uint8 RGB of a frame of the browser's camera, which comes in the request itself.

    Raises:
        ValueError: If it is no image.
    """
    try:
        encoded = (
            base64.b64decode((sent.url or "").partition(",")[2]) if not sent.path else Path(sent.path).read_bytes()
        )
    except binascii.Error as error:
        raise ValueError(f"camera: {error}") from error
    check_pixels(io.BytesIO(encoded), "camera")
    return decode_image(np.frombuffer(encoded, np.uint8), name="camera")
