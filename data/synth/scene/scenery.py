"""Houses, trees, lamps, wires, walkers and vehicles around a layout, kept clear of what must be seen."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np

from data.synth.paint import houses, roadside
from data.synth.paint.canvas import Canvas
from data.synth.paint.ground import Ground
from data.synth.paint.vehicles import Vehicle, draw_vehicle, draw_vehicle_kind
from data.synth.scene.hiding import hide_some
from data.synth.scene.layout import Layout
from data.synth.world import difficulty
from data.synth.world.atmosphere import Atmosphere
from data.synth.world.camera import Camera
from data.synth.world.colour import linear
from data.synth.world.street import strip

Rng = np.random.Generator
Item = tuple[float, Callable[[Canvas], None]]  # distance, what draws it


def plan_scenery(layout: Layout, air: Atmosphere, rng: Rng, ground: Ground) -> list[Item]:
    """Everything upright except signs and lights, and its shadows."""
    items: list[Item] = []
    items += _houses(layout, air, rng, ground)
    items += _greenery(layout, air, rng, ground)
    items += _lamps(layout, air, rng, ground)
    items += _walkers(layout, air, rng, ground)
    items += _traffic(layout, air, rng, ground)
    items += hide_some(layout, air, rng, ground)
    return items


def _box(layout: Layout, lateral: float, ahead: float, half: float, low: float, high: float) -> np.ndarray:
    corners = [[lateral + x * half, ahead, y] for x in (-1, 1) for y in (low, high)]
    points = layout.camera.project(np.array(corners))
    return np.concatenate([points.min(0), points.max(0)]) if len(points) >= 2 else np.zeros(4)


def _houses(layout: Layout, air: Atmosphere, rng: Rng, ground: Ground) -> list[Item]:
    camera, street = layout.camera, layout.street
    items: list[Item] = []
    for side in (-1, 1):
        kerb = street.kerbs[1] if side > 0 else street.kerbs[0]
        front = kerb + side * street.setback_m[1 if side > 0 else 0]
        density = {0.0: 0.12, 0.5: 0.7, 1.0: 0.95}[street.town]
        ahead = rng.uniform(1.5, 6)
        while ahead < 170:
            length = rng.uniform(8, 20) * (1 + ahead / 120)
            spans = street.free_spans(ahead, ahead + length, 5.0)
            if rng.random() < density and spans == [(ahead, ahead + length)]:
                tall = rng.uniform(5, 10) if street.town < 1 else rng.uniform(8, 30)
                own = front + side * abs(rng.normal(0, 0.6))
                seed = int(rng.integers(2**31))
                pitched = street.town < 1 and tall < 8.5
                house = houses.House(own, side, ahead, ahead + length, tall, pitched)
                far_end = ahead + length  # what stands along the house is drawn after it
                items.append((far_end, _house(camera, air, seed, house)))
                if air.sun.any() and air.sun_from[0] * side > 0.1:
                    reach = min(tall * air.sun_from[0] * side / max(air.sun_from[2], 0.1), 25)
                    ground.add_shadow(strip(own, own - side * reach, ahead, ahead + length))
            ahead += length + (rng.uniform(0, 3) if rng.random() < 0.6 else rng.uniform(3, 14))
    return items


def _house(camera: Camera, air: Atmosphere, seed: int, house: houses.House) -> Callable[[Canvas], None]:
    rng = np.random.default_rng(seed)
    return lambda canvas: houses.draw_house(canvas, camera, air, rng, house)


def _greenery(layout: Layout, air: Atmosphere, rng: Rng, ground: Ground) -> list[Item]:
    street = layout.street
    items: list[Item] = []
    planted = rng.random() < (0.55 if street.town else 0.9)
    for side in (-1, 1):
        if not planted or rng.random() < 0.3:
            continue
        kerb = street.kerbs[1] if side > 0 else street.kerbs[0]
        step = rng.uniform(6, 14)
        ahead = rng.uniform(4, 12)
        while ahead < 130:
            lateral = kerb + side * (rng.uniform(0.8, 1.6) if street.town else rng.uniform(1.5, 9))
            box = _box(layout, lateral, ahead, 2.6, 2.2, 8)
            stem = _box(layout, lateral, ahead, 0.15, 0, 3)
            clear = street.free_spans(ahead, ahead + 0.6, 1.0) == [(ahead, ahead + 0.6)]
            if clear and not layout.hides(box, ahead) and not layout.hides(stem, ahead):
                items.append((ahead, _seeded(roadside.draw_tree, layout, air, rng, lateral, ahead)))
                _shadow(ground, air, lateral, ahead, 2.4, 5.0)
            ahead += step * rng.uniform(0.7, 1.4)
    return items


def _seeded(draw: Callable, layout: Layout, air: Atmosphere, rng: Rng, *place: object) -> Callable[[Canvas], None]:
    own = np.random.default_rng(int(rng.integers(2**31)))
    return lambda canvas: draw(canvas, layout.camera, air, own, *place)


def _shadow(ground: Ground, air: Atmosphere, lateral: float, ahead: float, radius: float, up: float) -> None:
    """The round shadow of a crown at height `up`."""
    if not air.sun.any():
        return
    away = -np.array(air.sun_from[:2]) / max(air.sun_from[2], 0.12) * up
    turn = np.linspace(0, 2 * np.pi, 18)
    rough = radius * (1 + 0.18 * np.sin(5 * turn + lateral) + 0.1 * np.sin(9 * turn))
    centre = np.array([lateral, ahead]) + np.clip(away, -14, 14)
    ground.add_shadow(centre + rough[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1))


def _lamps(layout: Layout, air: Atmosphere, rng: Rng, ground: Ground) -> list[Item]:
    street, items = layout.street, []
    if rng.random() < 0.25:
        return items
    side = int(rng.choice([-1, 1]))
    kerb = street.kerbs[1] if side > 0 else street.kerbs[0]
    lateral = kerb + side * 0.5
    start, step = rng.uniform(4, 20), rng.uniform(18, 30)
    posts = []
    ground.lamps = lateral - side * 1.6, start, step
    for ahead in np.arange(start, 170, step):
        if not layout.hides(_box(layout, lateral, float(ahead), 0.1, 0, 8), float(ahead)):
            items.append((float(ahead), _seeded(roadside.draw_lamp, layout, air, rng, lateral, float(ahead), -side)))
            posts.append(float(ahead))
    if rng.random() < 0.35 and len(posts) > 1:
        colour = air.lit(linear((40, 40, 42)), 30, 0.3)
        for up in (6.2, 6.5):
            for a, b in pairwise(posts):
                items.append((b, _wire(layout, lateral, a, b, up, colour)))
    return items


def _wire(
    layout: Layout, lateral: float, near: float, far: float, up: float, colour: np.ndarray
) -> Callable[[Canvas], None]:
    middle = (near + far) / 2

    def draw(canvas: Canvas) -> None:
        for a, b in (
            ((lateral, near, up), (lateral, middle, up - 0.3)),
            ((lateral, middle, up - 0.3), (lateral, far, up)),
        ):
            roadside.bar(canvas, layout.camera, a, b, 0.015, colour)

    return draw


def _walkers(layout: Layout, air: Atmosphere, rng: Rng, ground: Ground) -> list[Item]:
    street, items = layout.street, []
    for _ in range(rng.poisson(1.6 if street.town else 0.3)):
        side = int(rng.choice([-1, 1]))
        kerb = street.kerbs[1] if side > 0 else street.kerbs[0]
        ahead = float(rng.uniform(7, 60))
        lateral = kerb + side * rng.uniform(0.5, 2.0)
        if street.junction and rng.random() < 0.35:
            ahead = max(street.junction[0] - 3, 6.0)
            lateral = rng.uniform(*street.kerbs)
        if not layout.hides(_box(layout, lateral, ahead, 0.4, 0, 1.8), ahead):
            items.append((ahead, _seeded(roadside.draw_walker, layout, air, rng, lateral, ahead)))
            ground.add_shadow(strip(lateral - 0.25, lateral + 0.25, ahead - 0.1, ahead + 0.25), contact=True)
    return items


def _traffic(layout: Layout, air: Atmosphere, rng: Rng, ground: Ground) -> list[Item]:
    camera, items = layout.camera, []
    taken: list[tuple[float, float, float]] = []
    for _ in range(rng.poisson(difficulty.VEHICLES)):
        for _ in range(4):
            vehicle = _somewhere(layout, rng)
            span = vehicle.lateral, vehicle.ahead - 2, vehicle.ahead + vehicle.shape.length + 2
            if any(abs(span[0] - t[0]) < 2.2 and span[1] < t[2] and t[1] < span[2] for t in taken):
                continue
            points = vehicle.outline_px(camera)
            if len(points) < 8:
                continue
            if layout.hides(np.concatenate([points.min(0), points.max(0)]), vehicle.ahead):
                continue
            taken.append(span)
            items.append((vehicle.ahead, _vehicle(layout, air, vehicle)))
            _vehicle_shadow(ground, air, vehicle)
            break
    return items


def _vehicle_shadow(ground: Ground, air: Atmosphere, vehicle: Vehicle) -> None:
    """Dark right underneath, and in the sun a shadow to one side."""
    ground.add_shadow(vehicle.footprint(), contact=True)
    if air.sun.any():
        away = -np.array(air.sun_from[:2]) / max(air.sun_from[2], 0.15) * vehicle.shape.roof * 0.8
        for share in (1.0, 0.5):
            ground.add_shadow(vehicle.footprint() + np.clip(away, -4, 4) * share)


def _vehicle(layout: Layout, air: Atmosphere, vehicle: Vehicle) -> Callable[[Canvas], None]:
    return lambda canvas: draw_vehicle(canvas, layout.camera, air, vehicle)


def _somewhere(layout: Layout, rng: Rng) -> Vehicle:
    """A vehicle in an own lane, an oncoming lane or parked at a kerb."""
    street, camera = layout.street, layout.camera
    choice = rng.random()
    ahead = float(np.exp(rng.uniform(np.log(5), np.log(75))))
    if choice < 0.45 or (choice < 0.75 and not street.lanes_oncoming):
        lanes = street.own_lanes()
        lateral = lanes[int(rng.integers(len(lanes)))]
        if abs(lateral - camera.lateral_m) < 1.5:
            ahead = max(ahead, 7.0)
        return draw_vehicle_kind(rng, lateral + rng.normal(0, 0.15), ahead, True)
    if choice < 0.75:
        lanes = street.oncoming_lanes()
        return draw_vehicle_kind(rng, lanes[int(rng.integers(len(lanes)))] + rng.normal(0, 0.15), ahead, False)
    side = int(rng.choice([-1, 1]))
    kerb = street.kerbs[1] if side > 0 else street.kerbs[0]
    away = side == street.side or not street.lanes_oncoming
    vehicle = draw_vehicle_kind(rng, 0.0, ahead, away)
    room = abs(street.fronts[1 if side > 0 else 0] - kerb) - vehicle.shape.width / 2 - 0.3
    return replace(vehicle, lateral=kerb + side * min(rng.uniform(-0.9, 0.9), room))
