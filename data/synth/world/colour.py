"""Between sRGB values and linear light, and arithmetic on pictures that NumPy's broadcasting is slow at."""

import cv2
import numpy as np


def linear(srgb: object) -> np.ndarray:
    """Turn sRGB values 0..255 into linear light 0..1 (float32)."""
    value = np.asarray(srgb, dtype=np.float32) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)


LINEAR = linear(np.arange(256))  # (256,)


def through(picture_u8: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Look a uint8 picture (h, w, 3) up in a float32 table (256, 3)."""
    return cv2.LUT(picture_u8, table.reshape(1, 256, 3))


def triple(plane: np.ndarray) -> np.ndarray:
    """(h, w) -> (h, w, 3) with equal channels, contiguous."""
    return cv2.merge((plane, plane, plane))


def tinted(plane: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """(h, w) times a colour (3,) -> (h, w, 3)."""
    r, g, b = (np.float32(v) for v in colour)
    return cv2.merge((plane * r, plane * g, plane * b))


def ints(colour: object) -> tuple[int, int, int]:
    """A colour as OpenCV's drawing functions take it."""
    r, g, b = colour  # type: ignore[misc]
    return int(min(max(r, 0), 255)), int(min(max(g, 0), 255)), int(min(max(b, 0), 255))
