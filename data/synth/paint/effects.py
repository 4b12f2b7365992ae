"""From light in the scene to the pixels a camera stores: glow, rain, lens, exposure, sensor noise."""

from functools import lru_cache

import cv2
import numpy as np

from data.synth.paint import noise
from data.synth.world import difficulty
from data.synth.world.atmosphere import Atmosphere
from data.synth.world.camera import Camera
from data.synth.world.colour import triple

Rng = np.random.Generator


def wet_ground(rgb: np.ndarray, camera: Camera, air: Atmosphere, ground: np.ndarray, rng: Rng) -> None:
    """Let a wet road mirror what stands behind it; `ground` (h, w) is its visible coverage. In place."""
    height, width = rgb.shape[:2]
    top = int(np.clip(camera.horizon_px, 1, height - 1))
    rows = np.clip(2 * camera.horizon_px - np.arange(top, height) - 8 * height / 540, 0, height - 1)
    mirrored = rgb[rows.astype(int)]
    small = cv2.resize(mirrored, (width // 2, max((height - top) // 4, 1)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigmaX=width / 1280, sigmaY=width / 440)
    mirrored = cv2.resize(small, (width, height - top), interpolation=cv2.INTER_LINEAR)
    depth = np.arange(top, height, dtype=np.float32) - np.float32(camera.horizon_px)
    grazing = np.exp(-depth / np.float32(0.35 * height))[:, None]
    puddles = np.clip(0.75 + 0.35 * noise.patch(1.6, height - top, width, rng), 0.25, 1.3)
    share = triple(np.float32(0.55 * air.rain) * grazing * puddles * ground[top:])
    rgb[top:] += share * (mirrored - rgb[top:] * np.float32(0.6))


def develop(rgb: np.ndarray, air: Atmosphere, rng: Rng) -> np.ndarray:
    """Linear light (h, w, 3) to an sRGB picture, uint8."""
    height, width = rgb.shape[:2]
    unit = width / 640
    light = _bloom(rgb, air, unit)
    light *= _vignette(height, width)
    light *= np.float32(_exposure(air, rng))
    tone = light * np.float32(1 / 3.2)
    tone += 1
    tone *= light
    light += 1
    tone /= light
    np.sqrt(np.maximum(tone, 0, out=tone), out=tone)
    picture = cv2.convertScaleAbs(tone, alpha=255)
    if air.rain:
        picture = _rain(picture, air, rng)
    picture = _lens(picture, unit, rng)
    if air.rain and rng.random() < 0.6:
        picture = _drops(picture, rng)
    return _sensor(picture, air, rng)


def _exposure(air: Atmosphere, rng: Rng) -> float:
    base = {"day": 1.65, "dusk": 2.1, "night": 2.8}[air.time]
    stops = float(np.clip(rng.normal(0, difficulty.EXPOSURE_STOPS), -1.0, 0.9))
    return base * 2**stops


@lru_cache(maxsize=4)
def _vignette(height: int, width: int) -> np.ndarray:
    y = (np.arange(height, dtype=np.float32) / height - 0.5)[:, None]
    x = (np.arange(width, dtype=np.float32) / width - 0.5)[None]
    return triple(np.float32(1.02) - np.float32(0.5) * (x**2 + np.float32(0.6) * y**2))


def _bloom(rgb: np.ndarray, air: Atmosphere, unit: float) -> np.ndarray:
    """Spread a little of what is too bright over its surroundings."""
    height, width = rgb.shape[:2]
    bright = cv2.threshold(rgb, 0.9, 0, cv2.THRESH_TOZERO)[1]
    small = np.minimum(cv2.resize(bright, (width // 4, height // 4), interpolation=cv2.INTER_AREA), 6)
    near = cv2.GaussianBlur(small, (0, 0), 1.1 * unit)
    wide = cv2.GaussianBlur(small, (0, 0), 6.0 * unit)
    strength = {"day": (0.1, 0.02), "dusk": (0.3, 0.2), "night": (0.45, 0.35)}[air.time]
    rainy = 1 + 0.8 * air.rain
    glow = near * np.float32(strength[0] * rainy) + wide * np.float32(strength[1] * rainy)
    glow = cv2.resize(glow, (width, height), interpolation=cv2.INTER_LINEAR)
    glow += rgb
    return glow


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


def _rain(picture: np.ndarray, air: Atmosphere, rng: Rng) -> np.ndarray:
    """Thin streaks of falling rain."""
    height, width = picture.shape[:2]
    drops = noise.patch(0.0, height, width, rng)
    drops = np.clip(drops - np.float32(2.75 - 0.5 * air.rain), 0, 1)
    length = rng.uniform(9, 22) * width / 640
    streaks = cv2.filter2D(drops, -1, _streak(length, np.pi / 2 + rng.normal(0, 0.15)) * np.float32(length))
    strength = {"day": 40, "dusk": 36, "night": 26}[air.time]
    return cv2.add(picture, triple(cv2.convertScaleAbs(np.minimum(streaks, 1.2), alpha=strength * air.rain)))


def _drops(picture: np.ndarray, rng: Rng) -> np.ndarray:
    """Drops on the windscreen: small lenses that blur and lighten what is behind them."""
    height, width = picture.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(6, 45))):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        r = rng.gamma(2.0, 1.6) * width / 640 + 1
        cv2.ellipse(mask, (x, y), (max(1, int(r)), max(1, int(r * rng.uniform(1, 1.5)))), 0, 0, 360, 180, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), 1.0)
    small = cv2.resize(picture, (width // 8, height // 8), interpolation=cv2.INTER_AREA)
    behind = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    alpha = mask.astype(np.float32) / 255
    edge = cv2.Sobel(alpha, cv2.CV_32F, 0, 1, ksize=3) * np.float32(-16)
    return cv2.convertScaleAbs(picture * triple(1 - alpha) + behind * triple(alpha) + triple(edge))


@lru_cache(maxsize=2)
def _grain(height: int, width: int) -> np.ndarray:
    """A sheet (height + TILE, width + TILE, 3) int16 of noise, deviation 64, partly shared by the channels."""
    grey = noise.tile(0.25, 7)
    own = noise.tile(0.4, 8)
    planes = [grey * np.float32(0.8) + np.roll(own, 151 * c, (0, 1)) * np.float32(0.6) for c in range(3)]
    sheet = np.clip(cv2.merge(planes) * 64, -32000, 32000).astype(np.int16)
    down, across = -(-height // noise.TILE) + 1, -(-width // noise.TILE) + 1
    return np.tile(sheet, (down, across, 1))[: height + noise.TILE, : width + noise.TILE]


def _sensor(picture: np.ndarray, air: Atmosphere, rng: Rng) -> np.ndarray:
    """Sensor noise and the white balance's error."""
    height, width = picture.shape[:2]
    deviation = rng.uniform(*difficulty.NOISE) * {"day": 1.0, "dusk": 1.4, "night": 2.0}[air.time]
    y, x = (int(v) for v in rng.integers(noise.TILE, size=2))
    grain = _grain(height, width)[y : y + height, x : x + width]
    noisy = cv2.addWeighted(picture, 1.0, grain, deviation * 255 / 64, 0.0, dtype=cv2.CV_8U)
    gains = np.clip(1 + rng.normal(0, difficulty.COLOUR_CAST, 3), 0.8, 1.2)
    table = np.clip(np.arange(256)[:, None] * gains, 0, 255).round().astype(np.uint8)
    return cv2.LUT(noisy, table.reshape(1, 256, 3))
