"""Vehicles as small meshes: body, windows, wheels and lamps, seen from behind or from the front."""

import math
from dataclasses import dataclass

import numpy as np

from data.synth.paint.canvas import Canvas
from data.synth.world.atmosphere import Atmosphere
from data.synth.world.camera import Camera, clip_near
from data.synth.world.colour import linear
from data.synth.world.street import strip

PAINTS = (
    (226, 226, 224), (200, 202, 204), (150, 154, 158), (96, 100, 106), (34, 36, 40), (24, 24, 28), (150, 26, 28),
    (30, 58, 118), (64, 92, 120), (120, 108, 88), (40, 74, 56), (210, 170, 60),
)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """Side view: heights in metres, positions along the vehicle as shares of its length from the rear."""

    length: float
    width: float
    belt: float  # height of the window line
    roof: float
    rear_foot: float  # where the rear window starts
    rear_top: float
    front_top: float
    front_foot: float
    boxy: bool = False


SHAPES = {
    "sedan": Shape(4.6, 1.8, 0.92, 1.44, 0.13, 0.27, 0.6, 0.74),
    "hatch": Shape(4.0, 1.75, 0.95, 1.52, 0.01, 0.1, 0.6, 0.77),
    "suv": Shape(4.6, 1.88, 1.08, 1.72, 0.01, 0.08, 0.62, 0.76),
    "van": Shape(5.2, 2.0, 1.2, 2.3, 0.0, 0.02, 0.78, 0.9, True),
    "truck": Shape(7.5, 2.3, 1.2, 3.2, 0.0, 0.0, 0.98, 1.0, True),
    "bus": Shape(11.0, 2.5, 1.15, 3.1, 0.0, 0.01, 0.98, 1.0, True),
}
TURN = [(math.cos(t), math.sin(t)) for t in np.linspace(0, 2 * math.pi, 13)[:-1]]
DETAIL_PX_PER_M = 9  # at 640 px width; smaller vehicles are drawn simpler
SHARES = {"sedan": 0.32, "hatch": 0.24, "suv": 0.22, "van": 0.11, "truck": 0.07, "bus": 0.04}


@dataclass(frozen=True)
class Vehicle:
    """A vehicle on the road; `ahead` is its end nearer to the camera; `away` when it drives our way."""

    kind: str
    lateral: float
    ahead: float
    away: bool
    paint: tuple[float, float, float]
    braking: bool

    @property
    def shape(self) -> Shape:
        """The vehicle's measures."""
        return SHAPES[self.kind]

    def footprint(self) -> np.ndarray:
        """The ground it covers, an outline (n, 2) of lateral, ahead."""
        half = self.shape.width / 2
        return strip(self.lateral - half, self.lateral + half, self.ahead - 0.15, self.ahead + self.shape.length)

    def outline_px(self, camera: Camera) -> np.ndarray:
        """Corners of the box around it, in pixels."""
        shape = self.shape
        corners = [
            (self.lateral + x * shape.width / 2, self.ahead + z * shape.length, y * shape.roof)
            for x in (-1, 1)
            for y in (0.1, 1)
            for z in (0, 1)
        ]
        points = camera.to_camera(np.array(corners))
        return camera.to_pixels(points[points[:, 1] > 0.4])


def draw_vehicle_kind(rng: np.random.Generator, lateral: float, ahead: float, away: bool) -> Vehicle:
    """A random vehicle at a place."""
    kind = str(rng.choice(list(SHARES), p=list(SHARES.values())))
    paint = np.array(PAINTS[rng.integers(len(PAINTS))]) * rng.uniform(0.85, 1.08) + rng.normal(0, 3, 3)
    return Vehicle(kind, lateral, ahead, away, tuple(np.clip(paint, 5, 250)), bool(rng.random() < 0.4))


class _Mesh:
    """Collects faces in the vehicle's own frame (x right, z from its near end, y up) and draws them far to near."""

    def __init__(self, canvas: Canvas, camera: Camera, air: Atmosphere, vehicle: Vehicle) -> None:
        self.canvas, self.camera, self.air, self.vehicle = canvas, camera, air, vehicle

    def face(
        self, points: list, colour: object, normal: tuple[float, float, float], glow: object = None, sheen: float = 0.0
    ) -> None:
        """Draw a face when it is turned to the camera."""
        vehicle = self.vehicle
        world = np.array([[vehicle.lateral + x, vehicle.ahead + z, y] for x, z, y in points])
        seen = self.camera.to_camera(world)
        right, depth, up = seen.mean(0).tolist()
        cos, sin = math.cos(self.camera.yaw), math.sin(self.camera.yaw)
        turned = normal[0] * cos - normal[1] * sin, normal[0] * sin + normal[1] * cos, normal[2]
        if right * turned[0] + depth * turned[1] + up * turned[2] >= 0:
            return
        outline = self.camera.to_pixels(clip_near(seen))
        if len(outline) < 3:
            return
        air, depth = self.air, max(depth, 0.5)
        light = air.lit(linear(colour), depth, air.facing(*normal), vehicle.lateral - self.camera.lateral_m)
        both = np.array([light * 1.06, light * 0.86])
        if sheen:
            both += np.array([air.horizon * sheen, air.horizon * sheen * 0.25])
        if glow is not None:
            both = both + air.through_air(np.asarray(glow, np.float32), depth)
        self.canvas.polygon(outline, both)


def draw_vehicle(canvas: Canvas, camera: Camera, air: Atmosphere, vehicle: Vehicle) -> None:
    """Draw the mesh of one vehicle."""
    mesh = _Mesh(canvas, camera, air, vehicle)
    shape = vehicle.shape
    length, half = shape.length, shape.width / 2
    side = -1 if vehicle.lateral + float(camera.bend_m(np.float64(vehicle.ahead))) > camera.lateral_m else 1
    at = (lambda share: share * length) if vehicle.away else (lambda share: (1 - share) * length)
    paint = np.array(vehicle.paint)
    _sides(mesh, shape, half, side, at, paint)
    narrow = half - (0.03 if shape.boxy else 0.16)
    tops = sorted([at(shape.rear_top), at(shape.front_top)])
    feet = sorted([at(shape.rear_foot), at(shape.front_foot)])
    if shape.belt < camera.eye_m:
        mesh.face(_level(half, 0, length, shape.belt), paint, (0, 0, 1), sheen=0.12)
    _greenhouse(mesh, shape, half, narrow, side, feet, tops, paint)
    if shape.roof < camera.eye_m:
        mesh.face(_level(narrow, tops[0], tops[1], shape.roof), paint, (0, 0, 1), sheen=0.15)
    _near_end(mesh, shape, half, narrow, feet[0], tops[0], paint)


def _level(half: float, near: float, far: float, up: float) -> list:
    return [(-half, near, up), (half, near, up), (half, far, up), (-half, far, up)]


def _sides(mesh: _Mesh, shape: Shape, half: float, side: int, at: object, paint: np.ndarray) -> None:
    """The visible flank with its wheels; underneath is dark."""
    length = shape.length
    x = side * half
    dark = (18, 18, 20)
    mesh.face([(x, 0, 0.14), (x, length, 0.14), (x, length, 0.5), (x, 0, 0.5)], dark, (side, 0, 0))
    top = shape.roof if shape.boxy else shape.belt
    mesh.face([(x, 0.02, 0.3), (x, length, 0.3), (x, length, top), (x, 0.02, top)], paint, (side, 0, 0), sheen=0.05)
    radius = 0.34 if shape.roof < 2 else 0.46
    rings = ((radius * 1.15, dark), (radius, (28, 28, 30)), (radius * 0.6, (128, 130, 132)))
    if mesh.camera.scale(mesh.vehicle.lateral, mesh.vehicle.ahead) < DETAIL_PX_PER_M * mesh.camera.width_px / 640:
        rings = rings[1:2]
    for share in (0.18, 0.82):
        for r, colour in rings:
            wheel = [(x + side * 0.01, share * length + r * c, max(radius + r * s, 0.02)) for c, s in TURN]
            mesh.face(wheel, colour, (side, 0, 0))


def _greenhouse(
    mesh: _Mesh, shape: Shape, half: float, narrow: float, side: int, feet: list, tops: list, paint: np.ndarray
) -> None:
    """Side windows and the pillars around them."""
    x, inner = side * half, side * narrow
    belt, roof = shape.belt, shape.roof
    frame = [(x, feet[0], belt), (x, feet[1], belt), (inner, tops[1], roof), (inner, tops[0], roof)]
    if not shape.boxy:
        mesh.face(frame, paint * 0.92, (side, 0, 0.3))
    low, high = belt + 0.06 * (roof - belt), roof - (0.14 if not shape.boxy else 0.3) * (roof - belt)

    def inset(share: float, up: float) -> tuple[float, float, float]:
        t = (up - belt) / (roof - belt)
        z = (feet[0] + (tops[0] - feet[0]) * t) * (1 - share) + (feet[1] + (tops[1] - feet[1]) * t) * share
        return x + (inner - x) * t, z, up

    panes = (
        ((0.06, 0.47), (0.52, 0.93))
        if shape.length < 6
        else tuple((0.03 + 0.16 * k, 0.17 + 0.16 * k) for k in range(6))
    )
    if shape.boxy and mesh.vehicle.kind != "bus":
        panes = ((0.76, 0.94),) if mesh.vehicle.away else ((0.06, 0.24),)
    for a, b in panes:
        pane = [inset(a, low), inset(b, low), inset(b, high), inset(a, high)]
        mesh.face(pane, (26, 30, 36), (side, 0, 0.3), sheen=0.22)


def _near_end(
    mesh: _Mesh, shape: Shape, half: float, narrow: float, foot: float, top: float, paint: np.ndarray
) -> None:
    """The end turned to the camera: rear or front."""
    belt, roof, vehicle = shape.belt, shape.roof, mesh.vehicle
    back = (0.0, -1.0, 0.0)
    upper = [(-half, foot, belt), (half, foot, belt), (narrow, top, roof), (-narrow, top, roof)]
    mesh.face(upper, paint * 0.95, (0, -1, 0.4))
    pane = 0.84 if not (vehicle.away and vehicle.kind == "truck") else 0.0
    if pane:
        t1, t2 = 0.1, 0.86 if not shape.boxy else 0.72
        corners = []
        for s, t in ((-1, t1), (1, t1), (1, t2), (-1, t2)):
            wide = (half + (narrow - half) * t) * (pane + 0.06)
            corners.append((s * wide, foot + (top - foot) * t - 0.01, belt + (roof - belt) * t))
        mesh.face(corners, (24, 28, 34), (0, -1, 0.4), sheen=0.3)
    mesh.face([(-half, 0, 0.16), (half, 0, 0.16), (half, 0, 0.45), (-half, 0, 0.45)], (20, 20, 22), back)
    mesh.face(
        [(-half, 0, 0.3), (half, 0, 0.3), (half * 0.98, 0, belt), (-half * 0.98, 0, belt)], paint, back, sheen=0.06
    )
    _details(mesh, shape, half)


def _details(mesh: _Mesh, shape: Shape, half: float) -> None:
    """Lamps, bumper, plate and grille of the near end."""
    vehicle, air = mesh.vehicle, mesh.air
    back = (0.0, -1.0, 0.0)
    low = 0.55 if shape.boxy else shape.belt - 0.32
    z = -0.01

    def box(x1: float, x2: float, y1: float, y2: float, colour: object, glow: object = None) -> None:
        mesh.face([(x1, z, y1), (x2, z, y1), (x2, z, y2), (x1, z, y2)], colour, back, glow)

    box(-half, half, 0.3, 0.44, (30, 30, 32))
    box(-0.27, 0.27, 0.46, 0.6, (216, 216, 206))
    wide = 0.3 if not shape.boxy else 0.14
    tall = 0.2 if not shape.boxy else 0.45
    lit = 0.0
    if vehicle.away:
        lit = (0.9 if vehicle.braking else 0.35) * (
            1 if air.time == "day" and vehicle.braking else 1.3 if air.night else 0.0
        )
        colour, glow = (132, 14, 16), np.array([1.9, 0.05, 0.04]) * lit
    else:
        lit = 3.0 if air.night else 0.0
        colour, glow = (214, 218, 222), np.array([1.6, 1.5, 1.3]) * lit
        box(-half * 0.5, half * 0.5, 0.5, low + 0.16, (26, 26, 28))
    for s in (-1, 1):
        inner, outer = s * (half - wide), s * (half - 0.03)
        box(min(inner, outer), max(inner, outer), low, low + tall, colour, glow if lit else None)
