"""What is seen of an image's file and pixels: format, EXIF rotation, hashes, brightness, contrast, sharpness."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from tqdm import tqdm

from data.images import ImageReadError, open_image, read_image
from data.near_duplicates import fingerprint
from files.cores import usable_cores

_HEAD_BYTES = 4096  # EXIF stands at the beginning
_STARTS = {b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"BM": "BMP", b"GIF8": "GIF", b"II*\0": "TIFF", b"MM\0*": "TIFF"}
_STARTS |= {b"PF\n": "PFM", b"Pf\n": "PFM"}
_ORIENTATION = 0x0112
_SIDE_PX = 256  # longer side at which brightness and sharpness are measured, so that they mean the same for all sizes


@dataclass(frozen=True)
class Pixels:
    """What is seen of the pixels."""

    fingerprint: np.ndarray  # (2,) uint64, see data.near_duplicates
    colours: np.ndarray  # (128,) uint8, a and b of CIELAB of the picture shrunk to 8 x 8
    dark: float  # 1st percentile of the brightness, 0 to 1
    light: float  # 99th percentile
    sharpness: float  # standard deviation of the Laplacian over that of the image


@dataclass(frozen=True)
class Picture:
    """One image; without pixels where it cannot be read."""

    kind: str  # format by the file's first bytes; "" where they are of none that is known
    orientation: int  # EXIF, 1 is upright
    digest: bytes = b""  # of the file
    pixels: Pixels | None = None


def look_at(images: Sequence[str], title: str, progress: bool) -> list[Picture]:
    """Look at every image."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the images are looked at side by side
    try:
        with ThreadPoolExecutor(min(8, usable_cores())) as pool:
            found = pool.map(look, images)
            return list(tqdm(found, title, len(images), leave=False, disable=None if progress else True))
    finally:
        cv2.setNumThreads(threads)


def look(path: str) -> Picture:
    """Look at one image; never raises for what is wrong with it."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return Picture("", 1)
    kind, orientation = _kind(content), _orientation(path, content[:_HEAD_BYTES])
    digest = hashlib.blake2b(content, digest_size=16).digest()
    try:
        rgb = read_image(path)
    except ImageReadError:
        return Picture(kind, orientation, digest)
    return Picture(kind, orientation, digest, pixels_of(rgb))


def pixels_of(rgb: np.ndarray) -> Pixels:
    """Look at an image, (H, W, 3) uint8 RGB."""
    small = cv2.resize(rgb, (8, 8), interpolation=cv2.INTER_AREA)
    colours = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)[..., 1:].ravel()
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    scale = _SIDE_PX / max(grey.shape)
    if scale < 1:
        size = max(round(grey.shape[1] * scale), 1), max(round(grey.shape[0] * scale), 1)
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    dark, light = (np.percentile(grey, (1, 99)) / 255).tolist()
    edges = float(cv2.Laplacian(grey, cv2.CV_32F).std())
    return Pixels(fingerprint(rgb), colours, dark, light, edges / max(float(grey.std()), 1.0))


def kind_of(path: str) -> str:
    """The format by the first bytes of a file; "" for one that is not known, or is not there."""
    try:
        with open(path, "rb") as file:
            return _kind(file.read(16))
    except OSError:
        return ""


def _kind(content: bytes) -> str:
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    if content[4:8] == b"ftyp":
        return "HEIF"
    return next((kind for start, kind in _STARTS.items() if content.startswith(start)), "")


def _orientation(path: str, head: bytes) -> int:
    if b"Exif" not in head and b"eXIf" not in head:
        return 1
    try:
        with open_image(path) as image:
            return int(image.getexif().get(_ORIENTATION, 1))
    except (OSError, SyntaxError, ValueError, TypeError):
        return 1
