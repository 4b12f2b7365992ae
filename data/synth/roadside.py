"""What stands beside the road: houses, trees, lamp posts, wires, bollards, walkers."""

from functools import lru_cache

import cv2
import numpy as np

from data.synth import noise
from data.synth.atmosphere import Atmosphere
from data.synth.camera import Camera
from data.synth.canvas import Canvas, linear, linear_image

TREE_SPRITES = 8


def draw_house(
    canvas: Canvas,
    camera: Camera,
    air: Atmosphere,
    rng: np.random.Generator,
    front_m: float,
    side: int,
    start: float,
    stop: float,
    height_m: float,
) -> None:
    """One house: the facade along the road at lateral `front_m`, and its end wall towards the camera."""
    colour = _wall_colour(rng)
    deep = front_m + side * 14.0
    end = np.array([[front_m, start, height_m], [deep, start, height_m], [deep, start, 0], [front_m, start, 0]])
    quad = camera.project(end)
    if len(quad) == 4:
        shade = air.lit(linear(colour), start, air.facing(0, -1, 0) + 0.1)
        canvas.polygon(quad, np.stack([shade, shade * 0.8]))
    near, far = (start, stop)
    corners = [[front_m, near, height_m], [front_m, far, height_m], [front_m, far, 0], [front_m, near, 0]]
    quad = camera.project(np.array(corners))
    if len(quad) != 4:
        points = camera.project(np.array(corners))
        if len(points) >= 3:
            canvas.polygon(points, air.lit(linear(colour), max(near, 2), air.facing(-side, 0, 0)))
        return
    if side > 0:
        quad = quad[[1, 0, 3, 2]]
    size = np.abs(quad.max(0) - quad.min(0))
    if size[0] < 1.5:
        return
    face, glow = _facade(rng, colour, stop - start, height_m, air.night)
    depth = max(2.0, (start + stop) / 2)
    radiance = air.lit(linear_image(face), depth, air.facing(-side, 0, 0), aside_m=front_m - camera.lateral_m)
    rgba = np.concatenate([radiance, np.ones((*face.shape[:2], 1), np.float32)], 2)
    canvas.sprite(rgba, quad, emission=linear_image(glow) * np.float32(0.55) if glow is not None else None)


def _wall_colour(rng: np.random.Generator) -> np.ndarray:
    base = [(168, 158, 142), (150, 104, 84), (186, 178, 166), (120, 116, 114), (176, 150, 116), (140, 146, 150)]
    return np.clip(np.array(base[rng.integers(len(base))]) * rng.uniform(0.75, 1.12) + rng.normal(0, 6, 3), 20, 235)


def _facade(
    rng: np.random.Generator, colour: np.ndarray, length_m: float, height_m: float, night: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """sRGB picture of a facade, and the light from its windows."""
    scale = 14.0 if length_m * height_m < 260 else 9.0  # px per metre
    width, height = int(length_m * scale) + 4, int(height_m * scale) + 4
    face = np.empty((height, width, 3), np.uint8)
    face[:] = colour
    glow = np.zeros_like(face) if night else None
    floors = max(1, int(height_m / 3.1))
    bay = rng.uniform(2.2, 3.8)
    bays = max(1, int(length_m / bay))
    wide, tall = rng.uniform(0.35, 0.75), rng.uniform(0.4, 0.66)
    glass = np.array([62, 74, 88]) * rng.uniform(0.5, 1.2)
    frame = tuple(int(v) for v in np.clip(colour * rng.choice([0.7, 1.25]), 0, 255))
    lit_share = rng.uniform(0.05, 0.45)
    for floor in range(floors):
        shop = floor == 0 and rng.random() < 0.55
        y1 = height - (floor + 1) * height / floors
        if shop:
            _shop(face, glow, rng, int(y1), height)
            continue
        for k in range(bays):
            cx, cw, ch = (k + 0.5) * width / bays, width / bays * wide / 2, height / floors * tall / 2
            cy = y1 + height / floors * 0.48
            box = (int(cx - cw), int(cy - ch)), (int(cx + cw), int(cy + ch))
            pane = np.clip(glass * rng.uniform(0.6, 1.5), 0, 255)
            cv2.rectangle(face, *box, tuple(int(v) for v in pane), -1)
            cv2.rectangle(face, *box, frame, 1)
            if glow is not None and rng.random() < lit_share:
                warm = np.array([235, 190, 120]) * rng.uniform(0.45, 1)
                cv2.rectangle(glow, *box, tuple(int(v) for v in warm), -1)
    grain = noise.patch(1.2, height, width, rng) * np.float32(0.05) + 1
    face = np.clip(face * grain[..., None], 0, 255).astype(np.uint8)
    return face, glow


def _shop(face: np.ndarray, glow: np.ndarray | None, rng: np.random.Generator, top: int, bottom: int) -> None:
    """A ground floor of shop windows under coloured boards."""
    width, x = face.shape[1], 0
    board = max(2, int((bottom - top) * 0.24))
    while x < width:
        stop = x + int(rng.uniform(40, 110))
        hue = np.clip(rng.uniform(30, 215, 3), 0, 255)
        cv2.rectangle(face, (x, top), (stop - 2, top + board), tuple(int(v) for v in hue), -1)
        dark = tuple(int(v) for v in rng.uniform(25, 75, 3))
        cv2.rectangle(face, (x + 3, top + board + 2), (stop - 5, bottom - 3), dark, -1)
        for _ in range(4):
            gx, gy = (
                int(rng.integers(x + 3, max(stop - 8, x + 4))),
                int(rng.integers(top + board, max(bottom - 6, top + board + 1))),
            )
            tint = tuple(int(v) for v in rng.uniform(40, 190, 3))
            cv2.rectangle(face, (gx, gy), (gx + int(rng.integers(3, 12)), gy + int(rng.integers(3, 14))), tint, -1)
        text = "".join(rng.choice(list("ABCEHIKLMNORSTU"), int(rng.integers(3, 8))))
        ink = (240, 240, 240) if hue.mean() < 120 else (30, 30, 30)
        cv2.putText(face, text, (x + 5, top + board - 3), cv2.FONT_HERSHEY_SIMPLEX, board / 34, ink, 1, cv2.LINE_AA)
        if glow is not None and rng.random() < 0.7:
            cv2.rectangle(glow, (x + 3, top + board + 2), (stop - 5, bottom - 3), (190, 170, 130), -1)
            cv2.rectangle(glow, (x, top), (stop - 2, top + board), tuple(int(v * 0.8) for v in hue), -1)
        x = stop


@lru_cache(maxsize=TREE_SPRITES)
def _crown(which: int) -> np.ndarray:
    """(192, 192, 4) leaves: grey shading around 1 in RGB, coverage in the last channel."""
    rng = np.random.default_rng([191, which])
    size = 192
    y, x = np.mgrid[:size, :size].astype(np.float32) / size - 0.5
    body = np.zeros((size, size), np.float32)
    shade = np.zeros((size, size), np.float32)
    for _ in range(42):
        angle, reach = rng.uniform(0, 2 * np.pi), 0.33 * np.sqrt(rng.random())
        cx, cy, r = reach * np.cos(angle), reach * np.sin(angle) * 0.9, rng.uniform(0.07, 0.14)
        near = np.clip(1.2 - np.hypot(x - cx, y - cy) / r, 0, 1)
        upper = np.clip(0.95 - (y - cy) / r * 0.35 - cy * 0.9, 0.3, 1.6)
        shade = np.where(near > 0.25, upper, shade)
        body = np.maximum(body, near)
    leaves = noise.patch(0.5, size, size, rng)
    clumps = noise.patch(1.1, size, size, rng)
    alpha = np.clip((body * 1.5 - 0.38 + leaves * 0.22 + clumps * 0.1) * 4, 0, 1)
    shade = np.maximum(shade, 0.4) * (1 + 0.24 * leaves + 0.16 * clumps)
    return np.dstack([shade] * 3 + [alpha]).astype(np.float32)


def draw_tree(
    canvas: Canvas, camera: Camera, air: Atmosphere, rng: np.random.Generator, lateral: float, ahead: float
) -> None:
    """A tree on the pavement or the verge."""
    tall, crown = rng.uniform(5, 9), rng.uniform(3, 5.5)
    stem = rng.uniform(0.1, 0.2)
    bark = air.lit(linear((74, 62, 50)), ahead, 0.3, lateral - camera.lateral_m)
    post(canvas, camera, lateral, ahead, 0, tall - crown * 0.4, stem, bark)
    centre = tall - crown * 0.45
    leaf = np.array([66, 92, 40]) * rng.uniform(0.7, 1.2) + rng.normal(0, 8, 3)
    if rng.random() < 0.12:
        leaf = np.array([150, 104, 46]) * rng.uniform(0.8, 1.1)
    sprite = _crown(int(rng.integers(TREE_SPRITES)))
    if rng.random() < 0.5:
        sprite = sprite[:, ::-1]
    light = air.lit(linear(np.clip(leaf, 10, 220)), ahead, 0.6 * air.facing(0, 0, 1) + 0.2, lateral - camera.lateral_m)
    rgba = np.concatenate([sprite[..., :3] * light, sprite[..., 3:]], 2)
    half = crown * 0.62
    draw_upright(canvas, camera, rgba, lateral, ahead, centre, half, half * rng.uniform(0.85, 1.1))


def draw_upright(
    canvas: Canvas,
    camera: Camera,
    rgba: np.ndarray,
    lateral: float,
    ahead: float,
    up: float,
    half_w: float,
    half_h: float,
) -> None:
    """A picture standing upright, facing back along the road."""
    corners = [(-half_w, half_h), (half_w, half_h), (half_w, -half_h), (-half_w, -half_h)]
    quad = camera.project(np.array([[lateral + x, ahead, up + y] for x, y in corners]))
    if len(quad) == 4:
        canvas.sprite(rgba, quad)


def post(
    canvas: Canvas,
    camera: Camera,
    lateral: float,
    ahead: float,
    low: float,
    high: float,
    radius: float,
    colour: np.ndarray,
) -> None:
    """A round upright post, lighter in the middle."""
    for share, gain in ((1.0, 0.72), (0.5, 1.12)):
        r = radius * share
        quad = [
            [lateral - r, ahead, high],
            [lateral + r, ahead, high],
            [lateral + r, ahead, low],
            [lateral - r, ahead, low],
        ]
        canvas.polygon(camera.project(np.array(quad)), colour * np.float32(gain))


def bar(canvas: Canvas, camera: Camera, a: tuple, b: tuple, radius: float, colour: np.ndarray) -> None:
    """A straight bar or wire between two world points, at least a third of a pixel thick."""
    ends = camera.project(np.array([a, b], float))
    if len(ends) != 2:
        return
    way = ends[1] - ends[0]
    normal = np.array([-way[1], way[0]]) / max(float(np.hypot(*way)), 1e-6)
    r = np.array([radius * camera.scale(p[0], p[1]) for p in (a, b)])
    faint = float(np.clip(r.max() / 0.35, 0.15, 1))
    r = np.maximum(r, 0.35)[:, None] * normal
    outline = np.concatenate([ends + r, (ends - r)[::-1]])
    canvas.polygon(outline, colour, opacity=faint)


def draw_lamp(
    canvas: Canvas, camera: Camera, air: Atmosphere, rng: np.random.Generator, lateral: float, ahead: float, inward: int
) -> None:
    """A street lamp; lit when it is dark."""
    tall = rng.uniform(6.5, 9)
    colour = air.lit(linear((110, 114, 116)), ahead, 0.4, lateral - camera.lateral_m)
    post(canvas, camera, lateral, ahead, 0, tall, 0.08, colour)
    tip = lateral + inward * rng.uniform(1.0, 2.2)
    bar(canvas, camera, (lateral, ahead, tall - 0.1), (tip, ahead, tall), 0.05, colour)
    head = [
        [tip - 0.35, ahead, tall + 0.06],
        [tip + 0.35, ahead, tall + 0.06],
        [tip + 0.3, ahead, tall - 0.08],
        [tip - 0.3, ahead, tall - 0.08],
    ]
    lit = np.float32([3.0, 2.3, 1.4]) * np.float32(1.3) if air.night else colour
    canvas.polygon(camera.project(np.array(head)), air.through_air(lit, ahead))


def draw_walker(
    canvas: Canvas, camera: Camera, air: Atmosphere, rng: np.random.Generator, lateral: float, ahead: float
) -> None:
    """A person, as a handful of rounded shapes."""
    tall = rng.uniform(1.5, 1.85)
    stride = rng.uniform(0.05, 0.28)
    coat, legs = rng.uniform(25, 190, 3), rng.uniform(20, 90, 3)
    parts = [
        (_capsule((-0.05, 0.82), (-stride / 2 - 0.04, 0.05), 0.075), legs),
        (_capsule((0.05, 0.82), (stride / 2 + 0.04, 0.05), 0.075), legs * 0.85),
        (_capsule((0, 1.3), (0, 0.85), 0.2), coat),
        (_capsule((0.2, 1.32), (0.22 + stride / 3, 0.85), 0.06), coat * 0.85),
        (_capsule((-0.2, 1.32), (-0.22 - stride / 3, 0.85), 0.06), coat * 0.9),
        (_capsule((0.01, 1.62), (0, 1.58), 0.105), np.array([188, 150, 126])),
        (_capsule((0, 1.68), (-0.02, 1.66), 0.11), rng.uniform(20, 90, 3)),
    ]
    for outline, colour in parts:
        points = np.stack([lateral + outline[:, 0], np.full(len(outline), ahead), outline[:, 1] * tall / 1.75], 1)
        canvas.polygon(camera.project(points), air.lit(linear(colour), ahead, 0.4, lateral - camera.lateral_m))


def _capsule(a: tuple[float, float], b: tuple[float, float], radius: float) -> np.ndarray:
    """A thick line with round ends (n, 2)."""
    way = np.arctan2(b[1] - a[1], b[0] - a[0])
    turn = np.linspace(-np.pi / 2, np.pi / 2, 6)
    first = np.array(b) + radius * np.stack([np.cos(way + turn), np.sin(way + turn)], 1)
    second = np.array(a) + radius * np.stack([np.cos(way + np.pi + turn), np.sin(way + np.pi + turn)], 1)
    return np.concatenate([first, second])
