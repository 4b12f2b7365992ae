"""What stands beside the road: trees, lamp posts, wires, walkers."""

from functools import lru_cache

import cv2
import numpy as np

from data.synth.paint import noise
from data.synth.paint.canvas import Canvas
from data.synth.world.atmosphere import Atmosphere
from data.synth.world.camera import Camera
from data.synth.world.colour import linear

TREE_SPRITES = 8


@lru_cache(maxsize=TREE_SPRITES)
def _crown(which: int) -> tuple[np.ndarray, np.ndarray]:
    """Leaves, (192, 192): shading around 1, and coverage."""
    rng = np.random.default_rng([191, which])
    size = 192
    y, x = np.mgrid[:size, :size].astype(np.float32) / size - 0.5
    body = np.zeros((size, size), np.float32)
    shade = np.zeros((size, size), np.float32)
    for _ in range(46):
        angle, reach = rng.uniform(0, 2 * np.pi), 0.33 * np.sqrt(rng.random())
        cx, cy, r = reach * np.cos(angle), reach * np.sin(angle) * 0.9, rng.uniform(0.07, 0.14)
        near = np.clip(1.2 - np.hypot(x - cx, y - cy) / r, 0, 1)
        upper = np.clip(0.95 - (y - cy) / r * 0.35 - cy * 0.9, 0.3, 1.6)
        shade = np.where(near > 0.25, upper, shade)
        body = np.maximum(body, near)
    leaves = noise.patch(0.5, size, size, rng)
    clumps = noise.patch(1.1, size, size, rng)
    alpha = np.clip((body * 1.9 - 0.55 + (leaves * 0.24 + clumps * 0.12) * np.minimum(body * 2, 1)) * 4, 0, 1)
    shade = np.maximum(shade, 0.4) * (1 + 0.24 * leaves + 0.16 * clumps)
    return shade.astype(np.float32), alpha.astype(np.float32)


@lru_cache(maxsize=TREE_SPRITES * 4)
def _crown_at(which: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The crown at a lower resolution."""
    shade, alpha = _crown(which)
    small = [cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA) for part in (shade, alpha)]
    return small[0], small[1]


def draw_tree(
    canvas: Canvas, camera: Camera, air: Atmosphere, rng: np.random.Generator, lateral: float, ahead: float
) -> None:
    """A tree on the pavement or the verge."""
    tall, crown = rng.uniform(5, 9), rng.uniform(3, 5.5)
    stem = rng.uniform(0.1, 0.2)
    aside = lateral - camera.lateral_m
    bark = air.lit(linear((74, 62, 50)), ahead, 0.3, aside)
    post(canvas, camera, lateral, ahead, 0, tall - crown * 0.4, stem, bark)
    leaf = np.array([62, 84, 42]) * rng.uniform(0.7, 1.15) + rng.normal(0, 7, 3)
    if rng.random() < 0.12:
        leaf = np.array([140, 102, 52]) * rng.uniform(0.8, 1.1)
    light = air.lit(linear(np.clip(leaf, 10, 220)), ahead, 0.6 * air.facing(0, 0, 1) + 0.2, aside)
    half = crown * 0.62
    _leaves(canvas, camera, rng, light, (lateral, ahead, tall - crown * 0.45), (half, half * rng.uniform(0.85, 1.1)))


def draw_bush(
    canvas: Canvas, camera: Camera, air: Atmosphere, rng: np.random.Generator, lateral: float, ahead: float, up: float,
    radius: float,
) -> None:  # fmt: skip
    """Leaves with their middle at height `up`, on a thin stem."""
    aside = lateral - camera.lateral_m
    post(canvas, camera, lateral, ahead, 0, up, 0.04, air.lit(linear((70, 60, 50)), ahead, 0.3, aside))
    leaf = np.array([60, 84, 40]) * rng.uniform(0.7, 1.2) + rng.normal(0, 6, 3)
    light = air.lit(linear(np.clip(leaf, 10, 220)), ahead, 0.6 * air.facing(0, 0, 1) + 0.2, aside)
    _leaves(canvas, camera, rng, light, (lateral, ahead, up), (radius * 1.15, radius * 1.15))


def _leaves(
    canvas: Canvas, camera: Camera, rng: np.random.Generator, light: np.ndarray, place: tuple[float, float, float],
    half: tuple[float, float],
) -> None:  # fmt: skip
    """A crown of leaves lit with `light`."""
    size = 192
    while size > 24 and camera.scale(*place[:2]) * half[0] * 2 < size * 0.6:
        size //= 2
    shade, alpha = _crown_at(int(rng.integers(TREE_SPRITES)), size)
    if rng.random() < 0.5:
        shade, alpha = shade[:, ::-1], alpha[:, ::-1]
    picture = cv2.merge([shade * light[c] for c in range(3)])
    canvas.sprite(picture, np.ascontiguousarray(alpha), upright_quad(camera, *place, *half))


def upright_quad(camera: Camera, lateral: float, ahead: float, up: float, half_w: float, half_h: float) -> np.ndarray:
    """Corners in pixels of a rectangle that stands upright and faces back along the road."""
    corners = [(-half_w, half_h), (half_w, half_h), (half_w, -half_h), (-half_w, -half_h)]
    return camera.project(np.array([[lateral + x, ahead, up + y] for x, y in corners]))


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
    lit = np.array([3.0, 2.3, 1.4], np.float32) * np.float32(1.3) if air.night else colour
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
