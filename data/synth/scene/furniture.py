"""Signs on their posts, traffic lights on their masts, and the own bonnet."""

from dataclasses import replace

import numpy as np

from data.synth.paint.canvas import Canvas, Sighting, Track, polygon_area, warp
from data.synth.paint.lights import draw_head
from data.synth.paint.roadside import bar, post
from data.synth.paint.signs import ROUND, draw_face
from data.synth.scene.layout import Layout, Placed
from data.synth.scene.place_lights import OVERHEAD_FROM_M, group_rng
from data.synth.world import difficulty
from data.synth.world.atmosphere import Atmosphere
from data.synth.world.colour import linear, through, triple

Rng = np.random.Generator


def draw_placed(
    canvas: Canvas, layout: Layout, air: Atmosphere, rng: Rng, placed: Placed, sighting: Sighting | None
) -> None:
    """Draw a sign or a head."""
    track, core = (sighting.whole, sighting.core) if sighting else (None, None)
    if placed.kind == "head":
        _draw_light(canvas, layout, air, rng, placed, track, core)
    else:
        _draw_sign(canvas, layout, air, rng, placed, track)


def plate_quad(layout: Layout, placed: Placed, width: float, height: float, turn: float, tilt: float) -> np.ndarray:
    """Corners in pixels (top-left, clockwise) of a plate turned about its post and tilted in its plane (radians)."""
    corners = np.array([(-width, height), (width, height), (width, -height), (-width, -height)]) / 2
    spin = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    across, up = (corners @ spin.T).T
    points = np.stack(
        [placed.lateral + across * np.cos(turn), placed.ahead + across * np.sin(turn), placed.up + up], axis=1
    )
    return layout.camera.project(points)


def _draw_sign(canvas: Canvas, layout: Layout, air: Atmosphere, rng: Rng, placed: Placed, track: Track | None) -> None:
    camera = layout.camera
    aside = placed.lateral - camera.lateral_m
    turn = np.radians(rng.uniform(-1, 1) * difficulty.SIGN_TURN_DEG * rng.random() ** 0.6)
    tilt = np.radians(rng.normal(0, difficulty.SIGN_TILT_DEG / 2.5))
    if rng.random() < 0.12 and placed.kind in ROUND:
        board = plate_quad(layout, placed, placed.width_m * 1.16, placed.height_m * 1.16, turn, tilt)
        colour = linear([(232, 232, 228), (120, 124, 128), (214, 190, 60)][rng.integers(3)])
        canvas.polygon(board, air.lit(colour, placed.ahead, 0.5, aside, retro=1.0))
    face, coverage = draw_face(placed.kind, rng)
    facing = max(air.facing(-np.sin(turn), -np.cos(turn), 0.05), 0.12)
    quad = plate_quad(layout, placed, placed.width_m, placed.height_m, turn, tilt)
    canvas.sprite(through(face, air.table(placed.ahead, facing, aside, retro=2.2)), coverage, quad, track)
    if rng.random() < 0.2:
        plate = replace(placed, up=placed.up - placed.height_m / 2 - 0.14)
        free = layout.free(placed.box_px + np.array([0, 1.05, 0, 0.4]) * (placed.box_px[3] - placed.box_px[1]), 0)
        if free:
            canvas.polygon(
                plate_quad(layout, plate, placed.width_m * 0.8, 0.2, turn, tilt),
                air.lit(linear((226, 226, 222)), placed.ahead, facing, aside, retro=1.0),
            )


def _draw_light(
    canvas: Canvas, layout: Layout, air: Atmosphere, rng: Rng, placed: Placed, track: Track | None, core: Track | None
) -> None:
    camera = layout.camera
    upright = placed.height_m > placed.width_m
    lens = "arrow" if rng.random() < 0.14 else "disc"
    lamps = 3
    if rng.random() < 0.12:
        lamps, lens = 2, "figure" if rng.random() < 0.6 and upright else "disc"
    head = draw_head(rng, placed.state, lamps, lens, upright, placed.lamp_m)
    aside = placed.lateral - camera.lateral_m
    turn = np.radians(rng.normal(0, 9))
    quad = plate_quad(layout, placed, head.width_m, head.height_m, turn, np.radians(rng.normal(0, 1.5)))
    clear = np.float32(np.exp(-placed.ahead / air.haze_m / 1.6))
    gain = air.lamp * rng.uniform(0.55, 1.15) * clear
    rgb = through(head.rgb, air.table(placed.ahead, 0.35, aside))
    canvas.sprite(rgb, head.alpha, quad, track, emission=head.emission * np.float32(gain))
    if core is not None:
        lens = (head.emission.max(axis=2) > 0.3).astype(np.float32)
        x, y, seen = warp(triple(lens), quad, canvas.rgb.shape[:2])
        core.add(x, y, np.ascontiguousarray(seen[..., 0]), polygon_area(quad) * float(lens.mean()))


def draw_holder(canvas: Canvas, layout: Layout, air: Atmosphere, placed: Placed) -> None:
    """The post of a sign; the post of a head, or a mast at the kerb with an arm over the lanes."""
    camera, kerbs = layout.camera, layout.street.kerbs
    shade = np.float32(group_rng(placed.group, placed.ahead).uniform(0.5, 1.1))
    steel = air.lit(linear((130, 133, 135)) * shade, placed.ahead, 0.4, placed.lateral - camera.lateral_m)
    behind = placed.ahead + 0.06
    on_road = kerbs[0] + 0.2 < placed.lateral < kerbs[1] - 0.2
    if placed.kind != "head":
        post(canvas, camera, placed.lateral, behind, 0, placed.up + placed.height_m * 0.45, 0.035, steel)
        if on_road:
            post(canvas, camera, placed.lateral, behind - 0.02, 0, 0.12, 0.28, steel * np.float32(0.5))
        return
    top = placed.up + placed.height_m * 0.3
    if placed.post_at is not None:
        for up in (placed.up - placed.height_m * 0.3, top):
            bar(canvas, camera, (placed.post_at, behind, up), (placed.lateral, behind, up), 0.03, steel)
    elif not on_road or placed.ahead < OVERHEAD_FROM_M:
        post(canvas, camera, placed.lateral, behind, 0, top, 0.06, steel)
    else:
        foot = kerbs[1] + 0.7 if placed.lateral > (kerbs[0] + kerbs[1]) / 2 else kerbs[0] - 0.7
        post(canvas, camera, foot, behind, 0, top + 0.3, 0.1, steel)
        bar(canvas, camera, (foot, behind, top), (placed.lateral, behind, top), 0.05, steel)


def draw_hood(canvas: Canvas, layout: Layout, air: Atmosphere, rng: Rng) -> None:
    """The own bonnet along the bottom edge, mirroring a little sky."""
    width, height = layout.camera.width_px, layout.camera.height_px
    x = np.linspace(-0.02, 1.02, 24)
    rise = layout.hood * height * (1 - 0.75 * (2 * x - 1 + rng.normal(0, 0.08)) ** 4)
    top = np.stack([x * width, height - rise], 1)
    outline = np.concatenate([top, [[1.1 * width, height + 9], [-0.1 * width, height + 9]]])
    paint = linear(rng.uniform(14, 60) + rng.normal(0, 4, 3))
    body = air.lit(paint, 1.0, air.facing(0, 0, 1), aside_m=9.0)
    canvas.polygon(outline, np.stack([body + air.horizon * np.float32(0.16), body * np.float32(0.8)]))
