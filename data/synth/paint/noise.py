"""Tileable fractal noise, made once per process from fixed seeds, and ways to look it up."""

from functools import lru_cache

import cv2
import numpy as np

TILE = 512  # px


@lru_cache(maxsize=16)
def tile(slope: float, seed: int = 0) -> np.ndarray:
    """(TILE, TILE) float32 noise of mean 0 and deviation 1 that repeats without a seam.

    Args:
        slope: Fall of amplitude with frequency; 0 is white, 1 rough, 2 cloudy.
        seed: One of several unrelated tiles.
    """
    rng = np.random.default_rng([77, seed])
    frequency = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None])
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.standard_normal((TILE, TILE))) / frequency**slope
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, (TILE, TILE))
    return (noise / noise.std()).astype(np.float32)


def sample(noise: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Noise at float coordinates in tile pixels; repeats outside. `x` and `y` are float32 (h, w)."""
    return cv2.remap(noise, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def patch(slope: float, height: int, width: int, rng: np.random.Generator, zoom: float = 1.0) -> np.ndarray:
    """A random (height, width) piece of a tile, stretched by `zoom`."""
    noise = tile(slope)
    rows, columns = int(np.ceil(height / zoom)) + 1, int(np.ceil(width / zoom)) + 1
    y, x = rng.integers(TILE, size=2)
    piece = noise.take(np.arange(y, y + rows) % TILE, axis=0).take(np.arange(x, x + columns) % TILE, axis=1)
    if zoom == 1.0:
        return piece[:height, :width]
    size = (int(columns * zoom), int(rows * zoom))
    return cv2.resize(piece, size, interpolation=cv2.INTER_LINEAR)[:height, :width]
