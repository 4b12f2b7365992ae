"""From light in the scene to the pixels a camera stores: glow, rain, lens, exposure, sensor noise."""

import cv2
import numpy as np

from data.synth import difficulty, noise
from data.synth.atmosphere import Atmosphere
from data.synth.camera import Camera

Rng = np.random.Generator


def wet_ground(rgb: np.ndarray, camera: Camera, air: Atmosphere, ground: np.ndarray, rng: Rng) -> None:
    """Let a wet road mirror what stands behind it; `ground` (h, w) is its visible coverage. In place."""
    height, width = rgb.shape[:2]
    top = int(np.clip(camera.horizon_px, 1, height - 1))
    rows = np.clip(2 * camera.horizon_px - np.arange(top, height) - 8 * height / 540, 0, height - 1)
    mirrored = rgb[rows.astype(int)]
    mirrored = cv2.GaussianBlur(mirrored, (0, 0), sigmaX=width / 640, sigmaY=width / 110)
    depth = np.arange(top, height, dtype=np.float32) - np.float32(camera.horizon_px)
    grazing = np.exp(-depth / np.float32(0.35 * height))[:, None]
    puddles = np.clip(0.75 + 0.35 * noise.patch(1.6, height - top, width, rng), 0.25, 1.3)
    share = np.float32(0.55 * air.rain) * grazing * puddles * ground[top:]
    rgb[top:] += share[..., None] * (mirrored - rgb[top:] * np.float32(0.6))


def develop(rgb: np.ndarray, air: Atmosphere, rng: Rng) -> np.ndarray:
    """Linear light (h, w, 3) to an sRGB picture, uint8."""
    height, width = rgb.shape[:2]
    unit = width / 640
    rgb = _bloom(rgb, air, unit)
    rgb *= np.float32(_exposure(air, rng)) * _vignette(height, width)
    rgb = np.sqrt(np.maximum(rgb * (1 + rgb / np.float32(3.2)) / (1 + rgb), 0))
    if air.rain:
        _rain(rgb, air, rng)
    rgb = _lens(rgb, unit, rng)
    if air.rain and rng.random() < 0.6:
        rgb = _drops(rgb, rng)
    gain = 1 + rng.normal(0, difficulty.COLOUR_CAST, 3)
    rgb = rgb * gain.astype(np.float32)
    rgb += _grain(height, width, air, rng)
    return np.clip(rgb * 255 + 0.5, 0, 255).astype(np.uint8)


def _exposure(air: Atmosphere, rng: Rng) -> float:
    base = {"day": 1.5, "dusk": 2.1, "night": 2.8}[air.time]
    stops = float(np.clip(rng.normal(0, difficulty.EXPOSURE_STOPS), -1.0, 0.9))
    return base * 2**stops


def _vignette(height: int, width: int) -> np.ndarray:
    y = (np.arange(height, dtype=np.float32) / height - 0.5)[:, None]
    x = (np.arange(width, dtype=np.float32) / width - 0.5)[None]
    return (1.02 - 0.5 * (x**2 + 0.6 * y**2))[..., None]


def _bloom(rgb: np.ndarray, air: Atmosphere, unit: float) -> np.ndarray:
    """Spread a little of what is too bright over its surroundings."""
    height, width = rgb.shape[:2]
    bright = np.minimum(np.maximum(rgb - np.float32(0.75), 0), 6)
    small = cv2.resize(bright, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    near = cv2.GaussianBlur(small, (0, 0), 1.1 * unit)
    wide = cv2.GaussianBlur(small, (0, 0), 6.0 * unit)
    strength = {"day": (0.12, 0.02), "dusk": (0.35, 0.22), "night": (0.5, 0.4)}[air.time]
    strength = [s * (1 + 0.8 * air.rain) for s in strength]
    glow = near * np.float32(strength[0]) + wide * np.float32(strength[1])
    return rgb + cv2.resize(glow, (width, height), interpolation=cv2.INTER_LINEAR)


def _lens(rgb: np.ndarray, unit: float, rng: Rng) -> np.ndarray:
    """The lens's own softness, and now and then defocus or motion blur."""
    deviation = 0.42 * unit
    if rng.random() < difficulty.DEFOCUS_SHARE:
        deviation = rng.uniform(*difficulty.DEFOCUS_PX) * unit
    rgb = cv2.GaussianBlur(rgb, (0, 0), max(deviation, 0.3))
    if rng.random() < difficulty.MOTION_BLUR_SHARE:
        length = rng.uniform(*difficulty.MOTION_BLUR_PX) * unit
        angle = rng.normal(0, 0.5) + (np.pi / 2 if rng.random() < 0.3 else 0)
        rgb = cv2.filter2D(rgb, -1, _streak(length, angle))
    return rgb


def _streak(length: float, angle: float) -> np.ndarray:
    """A normalised line-shaped kernel."""
    size = 2 * int(np.ceil(length / 2)) + 3
    kernel = np.zeros((size * 8, size * 8), np.uint8)
    middle = np.array([size * 4, size * 4])
    way = np.array([np.cos(angle), np.sin(angle)]) * length * 4
    a, b = np.round(middle - way).astype(int), np.round(middle + way).astype(int)
    cv2.line(kernel, (int(a[0]), int(a[1])), (int(b[0]), int(b[1])), 255, 8)
    small = cv2.resize(kernel, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
    return small / small.sum()


def _rain(rgb: np.ndarray, air: Atmosphere, rng: Rng) -> None:
    """Thin streaks of falling rain."""
    height, width = rgb.shape[:2]
    drops = noise.patch(0.0, height, width, rng)
    drops = np.clip(drops - np.float32(2.75 - 0.5 * air.rain), 0, 1)
    length = rng.uniform(9, 22) * width / 640
    streaks = cv2.filter2D(drops, -1, _streak(length, np.pi / 2 + rng.normal(0, 0.15)) * np.float32(length))
    strength = {"day": 0.16, "dusk": 0.14, "night": 0.1}[air.time]
    rgb += (np.minimum(streaks, 1.2) * np.float32(strength * air.rain))[..., None]


def _drops(rgb: np.ndarray, rng: Rng) -> np.ndarray:
    """Drops on the windscreen: small lenses that blur and bend what is behind them."""
    height, width = rgb.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(6, 45))):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        r = rng.gamma(2.0, 1.6) * width / 640 + 1
        cv2.ellipse(mask, (x, y), (max(1, int(r)), max(1, int(r * rng.uniform(1, 1.5)))), 0, 0, 360, 255, -1)
    alpha = cv2.GaussianBlur(mask, (0, 0), 1.0).astype(np.float32)[..., None] / 255
    small = cv2.resize(rgb, (width // 8, height // 8), interpolation=cv2.INTER_AREA)
    behind = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    edge = cv2.Sobel(mask, cv2.CV_32F, 0, 1, ksize=3)[..., None] / 1020
    return rgb + alpha * np.float32(0.7) * (behind - rgb) + np.clip(edge, -0.3, 0.3) * np.float32(-0.25)


def _grain(height: int, width: int, air: Atmosphere, rng: Rng) -> np.ndarray:
    """Sensor noise, partly shared by the channels and a little coarse, as after a camera's own processing."""
    deviation = rng.uniform(*difficulty.NOISE) * {"day": 1.0, "dusk": 1.4, "night": 2.0}[air.time]
    grey = noise.patch(0.25, height, width, rng)[..., None]
    colour = np.dstack([noise.patch(0.4, height, width, rng) for _ in range(3)])
    return (grey * np.float32(0.8) + colour * np.float32(0.6)) * np.float32(deviation)
