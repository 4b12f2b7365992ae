"""Reading, writing and letterboxing images: (H, W, C) uint8 arrays, RGB unless a model reads other channels.

OpenCV decodes what it can; Pillow takes over for what OpenCV refuses. EXIF rotation is applied, an alpha channel is
dropped (the colour below it stays, as in YOLOv5), grey and palette images become RGB, and 16-bit samples keep their
upper eight bits whatever range the file uses, so that all images of a set are scaled alike.

A model of 1, 2 or 4 channels reads grey, grey and alpha, or RGB and alpha. Alpha is whatever a file holds as its fourth
channel, infrared or depth too; an image without one is opaque, 255.
"""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path
from typing import IO, Any, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageOps

from data.boxes import Boxes, clip_boxes

IMAGE_SUFFIXES = (".bmp", ".dng", ".jpeg", ".jpg", ".mpo", ".pfm", ".png", ".tif", ".tiff", ".webp")
FILL = 114  # grey of the letterbox border and of the area outside a warped image
WITH_ALPHA = (2, 4)  # numbers of channels of which the last is alpha
_OPAQUE = 255

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_PNG_START, _PNG_END = b"\x89PNG", b"IEND\xaeB`\x82"


class ImageReadError(ValueError):
    """A file that cannot be decoded as an image; the message names it."""


class Letterboxed(NamedTuple):
    """An image resized with its aspect ratio kept, then padded.

    `pad_xy_px` is half of the total padding, so it may end in .5 where the left border is one pixel narrower than the
    right one. YOLOv5 places and maps boxes with the same half pixel.
    """

    image: np.ndarray  # (H, W, C)
    ratio: float  # new / old size
    pad_xy_px: tuple[float, float]  # left and top border


def read_image(path: str | PathLike[str], channels: int = 3) -> np.ndarray:
    """Read an image file of any usual kind.

    Args:
        path: Image file; the name may hold any character.
        channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.

    Returns:
        (H, W, channels) uint8.

    Raises:
        ImageReadError: If the file is missing, empty, truncated or no image; names the file.
    """
    try:
        encoded = np.fromfile(fspath(path), dtype=np.uint8)
    except OSError as error:
        raise ImageReadError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not encoded.size:
        raise ImageReadError(f"{path}: the file is empty")
    return decode_image(encoded, name=str(path), channels=channels)


def decode_image(encoded: np.ndarray, *, name: str = "image", channels: int = 3) -> np.ndarray:
    """Decode the bytes of an image file.

    Args:
        encoded: (N,) uint8, the content of the file.
        name: What to call it in an error.
        channels: As in `read_image`.

    Returns:
        (H, W, channels) uint8.

    Raises:
        ImageReadError: If the bytes are truncated or no image.
    """
    if channels not in WITH_ALPHA and _has_its_end(encoded):
        try:
            image = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB)
        except cv2.error:
            image = None
        if image is not None and image.dtype == np.uint8 and image.ndim == 3:  # a PFM comes back flat
            return to_channels(image, channels)
    return to_channels(_decode_with_pillow(encoded, name, alpha=channels in WITH_ALPHA), channels)


def to_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """An image in a model's channels.

    Args:
        image: (H, W) grey, or (H, W, C) uint8 with C as in `read_image`.
        channels: As in `read_image`.

    Returns:
        (H, W, channels) uint8; `image` itself where nothing is to be done.
    """
    image = with_axis(image)
    count = image.shape[2]
    if count == channels:
        return image
    colour = image[..., :-1] if count in WITH_ALPHA else image
    if channels < 3 and colour.shape[2] == 3:
        colour = with_axis(cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY))
    elif channels >= 3 and colour.shape[2] == 1:
        colour = np.repeat(colour, 3, axis=2)
    if channels not in WITH_ALPHA:
        return np.ascontiguousarray(colour)
    opaque = np.full((*image.shape[:2], 1), _OPAQUE, np.uint8)
    return np.concatenate((colour, image[..., -1:] if count in WITH_ALPHA else opaque), 2)


def with_axis(image: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, C) -> (H, W, C): OpenCV drops the axis of a single channel."""
    return image if image.ndim == 3 else image[..., None]


def write_image(path: str | PathLike[str], rgb: np.ndarray, *, jpeg_quality: int = 95) -> None:
    """Write an image in the format of the file's suffix.

    Args:
        path: File to write; the folder must exist, the name may hold any character.
        rgb: (H, W, 3) uint8 RGB.
        jpeg_quality: 0 to 100, for JPEG and WebP.

    Raises:
        ValueError: If the array or the suffix is not one that can be written.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ValueError(f"{path}: Expected an (H, W, 3) uint8 image but got {rgb.shape} {rgb.dtype}")
    suffix = Path(path).suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise ValueError(f"{path}: Expected one of the suffixes {' '.join(IMAGE_SUFFIXES)} but got {suffix!r}")
    options = {
        ".jpg": [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality],
        ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality],
        ".webp": [cv2.IMWRITE_WEBP_QUALITY, jpeg_quality],
    }
    try:
        done, encoded = cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options.get(suffix, []))
    except cv2.error as error:
        raise ValueError(f"{path}: OpenCV cannot write {suffix} files") from error
    if not done:
        raise ValueError(f"{path}: OpenCV cannot write {suffix} files")
    encoded.tofile(fspath(path))


def letterbox(
    image: np.ndarray, size_px: int | tuple[int, int], *, stride: int = 32, auto: bool = False, scale_up: bool = True
) -> Letterboxed:
    """Resize an image to fit a size, keeping its aspect ratio, and pad it with grey.

    Args:
        image: (H, W, C) uint8.
        size_px: Side of a square, or (height, width), to fit into.
        stride: With `auto`, pad only up to the next multiple of this.
        auto: Pad each side as little as `stride` allows instead of filling `size_px`.
        scale_up: Also enlarge images smaller than `size_px`; else they are only padded.

    Returns:
        The image, the ratio (new / old) and the border, with YOLOv5's rounding.
    """
    height_px, width_px = (size_px, size_px) if isinstance(size_px, int) else size_px
    old_h, old_w = image.shape[:2]
    ratio = min(height_px / old_h, width_px / old_w)
    if not scale_up:
        ratio = min(ratio, 1.0)
    new_w, new_h = max(round(old_w * ratio), 1), max(round(old_h * ratio), 1)
    pad_x, pad_y = width_px - new_w, height_px - new_h
    if auto:
        pad_x, pad_y = pad_x % stride, pad_y % stride
    half_x, half_y = pad_x / 2, pad_y / 2
    if (new_w, new_h) != (old_w, old_h):
        image = cv2.resize(image, (new_w, new_h), interpolation=cv2.INTER_LINEAR)
    if pad_x or pad_y:
        # An odd padding puts the extra pixel on the right and at the bottom.
        top, bottom = round(half_y - 0.1), round(half_y + 0.1)
        left, right = round(half_x - 0.1), round(half_x + 0.1)
        image = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(FILL,) * 4)
    return Letterboxed(with_axis(image), ratio, (half_x, half_y))


def unletterbox(
    boxes_xyxy_px: Boxes,
    original_hw: tuple[int, int],
    ratio: float,
    pad_xy_px: tuple[float, float],
    *,
    clip: bool = True,
) -> Boxes:
    """Map boxes on a letterboxed image back to the original image.

    Args:
        boxes_xyxy_px: (..., 4) corners on the letterboxed image.
        original_hw: Height and width of the original image.
        ratio: Letterboxed / original size.
        pad_xy_px: Left and top border of the letterboxed image.
        clip: Move corners outside the original image onto its border.

    Returns:
        (..., 4) corners on the original image, a new array or tensor.
    """
    result: Any = boxes_xyxy_px + 0.0
    result[..., 0::2] -= pad_xy_px[0]
    result[..., 1::2] -= pad_xy_px[1]
    result /= ratio
    return clip_boxes(result, original_hw[1], original_hw[0]) if clip else result


def from_pillow(image: Image.Image, *, name: str = "image", alpha: bool = False) -> np.ndarray:
    """A Pillow image of any mode as (H, W, 3) uint8 RGB, or with `alpha` as (H, W, 4), upright.

    Raises:
        ImageReadError: If its pixels cannot be read or scaled.
    """
    try:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith(("I", "F")):
            return _to_uint8(np.asarray(upright), name)
        if alpha and upright.mode == "RGBX":  # a fourth channel that is not called alpha, as in TIFF
            return np.asarray(upright)
        return np.asarray(upright.convert("RGBA" if alpha else "RGB"))
    except (OSError, SyntaxError) as error:  # Pillow reports broken PNG chunks as SyntaxError
        raise ImageReadError(f"{name}: cannot be decoded as an image: {error}") from error


def _has_its_end(encoded: np.ndarray) -> bool:
    """Whether a JPEG or PNG is whole; true of other formats.

    OpenCV 4 fills the missing part of a truncated JPEG with grey and says nothing to the caller, and libpng prints on
    the terminal; Pillow raises.
    """
    start, end = encoded[:4].tobytes(), encoded[-8:].tobytes()
    if start.startswith(_JPEG_START):
        return end.endswith(_JPEG_END)
    return start != _PNG_START or end == _PNG_END


def open_image(file: str | Path | IO[bytes]) -> Image.Image:
    """Pillow's image, of which no pixel is decoded yet.

    ultralytics, once imported, has put another function in the place of Pillow's, which asks for a package for HEIF
    files where it recognises nothing; what it raises is told as Pillow tells it.

    Raises:
        PIL.UnidentifiedImageError: If it is no image of a known format.
    """
    try:
        return Image.open(file)
    except ImportError as error:
        raise Image.UnidentifiedImageError(str(error)) from error


def _decode_with_pillow(encoded: np.ndarray, name: str, *, alpha: bool) -> np.ndarray:
    """Decode with Pillow: alpha, and formats and defects that OpenCV does not handle."""
    import io

    try:
        with open_image(io.BytesIO(encoded.tobytes())) as image:
            return from_pillow(image, name=name, alpha=alpha)
    except ImageReadError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageReadError(f"{name}: {error}") from error
    except Image.UnidentifiedImageError as error:
        raise ImageReadError(f"{name}: is no image of a known format") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageReadError(f"{name}: cannot be decoded as an image: {error}") from error


def _to_uint8(samples: np.ndarray, name: str) -> np.ndarray:
    """Scale a single channel of 16-bit, 32-bit or floating samples to (H, W, 3) uint8."""
    low, high = float(samples.min()), float(samples.max())
    if np.issubdtype(samples.dtype, np.floating) and low >= 0 and high <= 1:
        grey = samples * 255
    elif low >= 0 and high <= 65535:
        grey = samples / 257
    else:
        raise ImageReadError(f"{name}: samples span {low} to {high}; expected 0 to 1 or 0 to 65535")
    return np.repeat(np.round(grey).astype(np.uint8)[..., None], 3, axis=2)
