"""Sky with clouds, and the far skyline."""

import cv2
import numpy as np

from data.synth.paint import noise
from data.synth.paint.canvas import Canvas
from data.synth.world.atmosphere import Atmosphere
from data.synth.world.camera import Camera
from data.synth.world.colour import linear, tinted


def draw_sky(canvas: Canvas, camera: Camera, air: Atmosphere, rng: np.random.Generator) -> None:
    """Fill the frame down to below the horizon with sky."""
    height, width = canvas.rgb.shape[:2]
    slack = int(abs(np.tan(camera.roll)) * width / 2) + 2
    bottom = int(np.clip(camera.horizon_px + slack, 1, height))
    up = (np.maximum(camera.horizon_px - np.arange(bottom, dtype=np.float32), 0) / np.float32(camera.focal_px))[:, None]
    blend = 1 - np.exp(-up * np.float32(3.2))
    across = (np.arange(width, dtype=np.float32)[None] - width / 2) / np.float32(camera.focal_px)
    distance = 1 / (up + np.float32(0.09))
    x = (across * distance + np.float32(rng.uniform(0, 9))) * 55
    y = np.repeat((distance + np.float32(rng.uniform(0, 9))) * 42, width, axis=1)
    form = noise.sample(noise.tile(1.7), x.astype(np.float32), y.astype(np.float32))
    cover = np.clip((form + np.float32(air.clouds * 3.4 - 1.9)) * np.float32(0.55), 0, 1)
    cover *= np.clip(up * 14, 0, 1)
    lit = air.sky * np.float32(1.15) + air.sun * np.float32(0.5)
    if air.night:
        lit = air.zenith * 1.7 + air.horizon * 0.25
    shade = np.clip(np.float32(0.86) + form * np.float32(0.07), 0.6, 1.1)
    cover *= np.float32(0.85)
    clear = air.horizon + blend * (air.zenith - air.horizon)  # (bottom, 3)
    planes = [(1 - cover) * clear[:, c : c + 1] + cover * shade * lit[c] for c in range(3)]
    sky = cv2.merge([plane.astype(np.float32) for plane in planes])
    _glow(sky, camera, air)
    canvas.rgb[:bottom] = sky


def _glow(sky: np.ndarray, camera: Camera, air: Atmosphere) -> None:
    """Brighten the sky around a low sun ahead."""
    if air.time == "night" or air.sun_from[1] <= 0.2 or not air.sun.any():
        return
    height, width = sky.shape[:2]
    x = width / 2 + camera.focal_px * air.sun_from[0] / air.sun_from[1]
    y = camera.horizon_px - camera.focal_px * air.sun_from[2] / air.sun_from[1]
    columns = ((np.arange(width) - x) / (0.5 * camera.focal_px)).astype(np.float32)
    rows = ((np.arange(height) - y) / (0.4 * camera.focal_px)).astype(np.float32)
    glow = np.exp(-np.sqrt(rows[:, None] ** 2 + columns[None] ** 2) * 2.5)
    sky += tinted(glow, air.sun * np.float32(0.8))


def draw_skyline(canvas: Canvas, camera: Camera, air: Atmosphere, town: float, rng: np.random.Generator) -> None:
    """Hills, woods or far houses along the horizon."""
    width = camera.width_px
    for distance in (900.0, 420.0):
        x = np.linspace(-0.1 * width, 1.1 * width, 90)
        if town >= 0.5 and rng.random() < 0.8:
            rise = np.repeat(rng.gamma(2.0, 9.0, 30), 3) + 4
            x[2::3] = [*x[3::3].tolist(), x[-1]]  # upright walls
        else:
            smooth = cv2.GaussianBlur(rng.normal(0, 1, (1, 90)), (0, 0), 6)[0]
            rise = 16 + smooth * 30 * (distance / 500) + np.abs(rng.normal(0, 1.2, 90))
        top = camera.horizon_px - np.maximum(rise, 2) * camera.focal_px / distance
        outline = np.concatenate(
            [np.stack([x, top], 1), [[x[-1], camera.horizon_px + 3], [x[0], camera.horizon_px + 3]]]
        )
        centre = np.array([camera.width_px / 2, camera.height_px / 2])
        cos, sin = np.cos(camera.roll), np.sin(camera.roll)
        outline = (outline - centre) @ np.array([[cos, sin], [-sin, cos]]) + centre
        albedo = linear((88, 98, 84) if town < 0.5 else (120, 118, 118)) * np.float32(rng.uniform(0.7, 1.2))
        canvas.polygon(outline, air.lit(albedo, distance, 0.4))
