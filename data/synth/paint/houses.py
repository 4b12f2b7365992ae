"""Houses along the road: facades with windows, shops and roofs, drawn as flat pictures in perspective."""

from dataclasses import dataclass

import cv2
import numpy as np

from data.synth.paint import noise
from data.synth.paint.canvas import Canvas
from data.synth.world.atmosphere import Atmosphere
from data.synth.world.camera import Camera
from data.synth.world.colour import ints, linear, through

Rng = np.random.Generator
DEPTH_M = 13.0
WALLS = (
    (168, 158, 142), (146, 108, 90), (186, 178, 166), (120, 116, 114), (172, 150, 120), (140, 146, 150),
    (204, 198, 186), (132, 96, 82), (96, 98, 102),
)  # fmt: skip


@dataclass(frozen=True)
class House:
    """A house whose front stands at lateral `front_m`, from `start_m` to `stop_m` ahead; side -1 left, +1 right."""

    front_m: float
    side: int
    start_m: float
    stop_m: float
    height_m: float
    pitched: bool


@dataclass(frozen=True)
class _Style:
    """What a house's walls share."""

    wall: np.ndarray  # sRGB
    frame: np.ndarray
    glass: np.ndarray
    bay_m: float
    wide: float  # of a bay
    tall: float  # of a floor
    bands: bool
    balconies: bool
    shops: bool
    lit: float  # share of windows at night


def _draw_style(rng: Rng) -> _Style:
    wall = np.array(WALLS[rng.integers(len(WALLS))]) * rng.uniform(0.75, 1.1) + rng.normal(0, 5, 3)
    return _Style(
        wall=np.clip(wall, 20, 235),
        frame=np.clip(wall * rng.choice([0.6, 1.3]), 10, 245),
        glass=np.array([58, 70, 84]) * rng.uniform(0.5, 1.25),
        bay_m=rng.uniform(2.2, 4.0),
        wide=rng.uniform(0.34, 0.8),
        tall=rng.uniform(0.4, 0.68),
        bands=bool(rng.random() < 0.4),
        balconies=bool(rng.random() < 0.22),
        shops=bool(rng.random() < 0.6),
        lit=rng.uniform(0.05, 0.4),
    )


def draw_house(canvas: Canvas, camera: Camera, air: Atmosphere, rng: Rng, house: House) -> None:
    """The end wall towards the camera, the roof and the front along the road."""
    style = _draw_style(rng)
    front, side, near, far, tall = house.front_m, house.side, house.start_m, house.stop_m, house.height_m
    deep = front + side * DEPTH_M
    aside = front - camera.lateral_m
    if house.pitched:
        _roof(canvas, camera, air, rng, house)
    end = np.array([[front, near, tall], [deep, near, tall], [deep, near, 0], [front, near, 0]])
    windows = rng.random() < 0.55
    _wall(canvas, camera, air, rng, end, style, near, air.facing(0, -1, 0), aside, side > 0, windows)
    street = np.array([[front, near, tall], [front, far, tall], [front, far, 0], [front, near, 0]])
    if len(camera.project(street)) == 4:
        depth = (near * 2 + far) / 3
        _wall(
            canvas, camera, air, rng, street, style, depth, air.facing(-side, 0, 0), aside, side < 0, True, front=True
        )


def _roof(canvas: Canvas, camera: Camera, air: Atmosphere, rng: Rng, house: House) -> None:
    front, near, far, tall = house.front_m, house.start_m, house.stop_m, house.height_m
    ridge, rise = front + house.side * DEPTH_M / 2, rng.uniform(2, 3.5)
    deep = front + house.side * DEPTH_M
    tiles = linear(np.array([(112, 66, 54), (84, 80, 80), (70, 62, 58)][rng.integers(3)]) * rng.uniform(0.8, 1.2))
    gable = [[front, near, tall], [ridge, near, tall + rise], [deep, near, tall]]
    plane = [[front, near, tall], [front, far, tall], [ridge, far, tall + rise], [ridge, near, tall + rise]]
    canvas.polygon(camera.project(np.array(plane)), air.lit(tiles, near, air.facing(-house.side * 0.5, 0, 0.8)))
    canvas.polygon(camera.project(np.array(gable)), air.lit(tiles * 1.4, near, air.facing(0, -1, 0)))


def _wall(
    canvas: Canvas, camera: Camera, air: Atmosphere, rng: Rng, corners: np.ndarray, style: _Style, depth: float,
    facing: float, aside: float, as_seen: bool, windows: bool, front: bool = False,
) -> None:  # fmt: skip
    """One wall; its corners run top-near, top-far, bottom-far, bottom-near."""
    quad = camera.project(corners)
    if len(quad) < 3:
        return
    low, high = quad.min(0), quad.max(0)
    if high[0] < 0 or low[0] > camera.width_px or high[0] - low[0] < 0.7:
        return
    if len(quad) != 4 or not windows or high[0] - low[0] < 3:
        shade = air.lit(linear(style.wall), depth, facing, aside)
        canvas.polygon(quad, np.stack([shade, shade * np.float32(0.82)]))
        return
    if not as_seen:
        quad = quad[[1, 0, 3, 2]]
    length, tall = float(np.abs(corners[0] - corners[1]).sum()), float(corners[0, 2])
    need = max(high[0] - low[0], 8) / length * 1.3, max(high[1] - low[1], 8) / tall * 1.1
    scale = float(np.clip(need[0], 1.2, 15)), float(np.clip(need[1], 1.2, 15))
    face, glow = _facade(rng, style, length, tall, scale, air.night, front)
    ones = np.ones(face.shape[:2], np.float32)
    table = air.table(max(depth, 2.0), facing, aside)
    light = None if glow is None else through(glow, np.repeat(linear(np.arange(256))[:, None] * np.float32(0.5), 3, 1))
    canvas.sprite(through(face, table), ones, quad, emission=light)


def _facade(
    rng: Rng, style: _Style, length_m: float, height_m: float, scale: tuple[float, float], night: bool, front: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Draw a wall at `scale` px per metre across and up, in sRGB, and the light from its windows."""
    width, height = int(length_m * scale[0]) + 3, int(height_m * scale[1]) + 3
    tone = np.linspace(1.05, 0.8, height, dtype=np.float32)[:, None] ** 1.0
    grain = (noise.patch(1.2, height, width, rng) * np.float32(0.045) + 1) * tone
    face = cv2.merge([np.clip(grain * np.float32(c), 0, 255).astype(np.uint8) for c in style.wall])
    glow = np.zeros_like(face) if night else None
    floors = max(1, int(height_m / 3.1))
    storey = height / floors
    for floor in range(floors):
        top = height - (floor + 1) * storey
        if floor == 0 and front and style.shops and scale[0] > 2.5:
            _shop(face, glow, rng, int(top), height, scale[0])
            continue
        if style.bands:
            cv2.line(face, (0, int(top)), (width, int(top)), ints(style.frame), max(1, int(storey * 0.06)))
        _windows(face, glow, rng, style, top, storey, max(1, int(length_m / style.bay_m)))
    return face, glow


def _windows(
    face: np.ndarray, glow: np.ndarray | None, rng: Rng, style: _Style, top: float, storey: float, bays: int
) -> None:
    """One floor's row of windows."""
    bay = face.shape[1] / bays
    half_w, half_h, y = bay * style.wide / 2, storey * style.tall / 2, top + storey * 0.48
    glass = (style.glass * rng.uniform(0.55, 1.5, (bays, 1))).astype(int)
    panes, heads = glass.tolist(), (glass * 0.55).astype(int).tolist()
    lit, lights = rng.random(bays) < style.lit, (np.array([235, 190, 120]) * rng.uniform(0.3, 0.95, (bays, 1))).tolist()
    frame, sill = ints(style.frame), ints(style.wall * 1.2)
    for k in range(bays):
        x = (k + 0.5) * bay
        x1, y1, x2, y2 = int(x - half_w), int(y - half_h), int(x + half_w), int(y + half_h)
        cv2.rectangle(face, (x1, y1), (x2, y2), panes[k], -1)
        if half_w > 2.5:
            cv2.rectangle(face, (x1, y1), (x2, y1 + max(1, int(half_h * 0.3))), heads[k], -1)
            cv2.rectangle(face, (x1, y1), (x2, y2), frame, 1)
            cv2.line(face, (int(x), y1), (int(x), y2), frame, 1)
            cv2.line(face, (x1 - 1, y2 + 1), (x2 + 1, y2 + 1), sill, 1)
        if style.balconies and k % 2 == 0:
            cv2.rectangle(face, (x1 - int(half_w * 0.5), int(y)), (x2 + int(half_w * 0.5), y2 + 1), frame, -1)
        if glow is not None and lit[k]:
            cv2.rectangle(glow, (x1, y1), (x2, y2), lights[k], -1)


def _shop(face: np.ndarray, glow: np.ndarray | None, rng: Rng, top: int, bottom: int, scale: float) -> None:
    """A ground floor of shop windows under coloured boards."""
    width, x = face.shape[1], 0
    board = max(2, int((bottom - top) * 0.24))
    while x < width:
        stop = x + int(rng.uniform(3, 8) * scale) + 2
        hue = rng.uniform(30, 200, 3)
        hue = hue * 0.55 + hue.mean() * 0.45
        cv2.rectangle(face, (x, top), (stop - 2, top + board), ints(hue), -1)
        cv2.rectangle(face, (x + 1, top + board + 1), (stop - 3, bottom - 2), ints(rng.uniform(25, 75, 3)), -1)
        open_late = glow is not None and rng.random() < 0.6
        shine = np.array([184, 166, 132]) * rng.uniform(0.35, 0.8)
        if glow is not None and open_late:
            cv2.rectangle(glow, (x + 1, top + board + 1), (stop - 3, bottom - 2), ints(shine), -1)
            cv2.rectangle(glow, (x, top), (stop - 2, top + board), ints(hue * 0.7), -1)
        for gx, gy, tone in rng.random((5, 3)):
            place = int(x + 2 + gx * (stop - x - 6)), int(top + board + gy * (bottom - top - board) * 0.8)
            size = (int(rng.uniform(0.2, 0.9) * scale), int(rng.uniform(0.2, 1.0) * scale))
            tint = rng.uniform(40, 170, 3) * (0.4 + 0.6 * tone)
            corner = place[0] + size[0], place[1] + size[1]
            cv2.rectangle(face, place, corner, ints(tint), -1)
            if glow is not None and open_late:
                cv2.rectangle(glow, place, corner, ints(shine * tint / 255), -1)
        text = "".join(rng.choice(list("ABCEHIKLMNORSTU"), int(rng.integers(3, 8))))
        ink = (236, 236, 236) if hue.mean() < 110 else (30, 30, 30)
        cv2.putText(face, text, (x + 3, top + board - 2), cv2.FONT_HERSHEY_SIMPLEX, board / 34, ink, 1, cv2.LINE_AA)
        x = stop
