"""Puts something in front of the objects that are to be partly hidden: leaves, a post, a vehicle."""

from collections.abc import Callable

import numpy as np

from data.synth.paint import roadside
from data.synth.paint.canvas import Canvas
from data.synth.paint.ground import Ground
from data.synth.paint.vehicles import draw_vehicle, draw_vehicle_kind
from data.synth.scene.layout import Layout, Painted, Placed
from data.synth.world.atmosphere import Atmosphere
from data.synth.world.colour import linear

Rng = np.random.Generator
Item = tuple[float, Callable[[Canvas], None]]
LEAVES_PX = 55.0  # largest radius at 640 px width
HIDDEN_FROM = 0.1  # objects that allow more than this are meant to be hidden


def hide_some(layout: Layout, air: Atmosphere, rng: Rng, ground: Ground) -> list[Item]:
    """One occluder for each object that allows it, where there is room."""
    items: list[Item] = []
    for placed in layout.placed:
        if placed.class_id is not None and placed.may_hide > HIDDEN_FROM and placed.ahead > 3:
            own = np.random.default_rng(int(rng.integers(2**31)))
            items += (_leaves if rng.random() < 0.6 else _post)(layout, air, own, placed)
    for arrow in layout.arrows:
        if arrow.may_hide > HIDDEN_FROM:
            items += _vehicle(layout, air, rng, ground, arrow)
    return items


def _leaves(layout: Layout, air: Atmosphere, rng: Rng, placed: Placed) -> list[Item]:
    """A small tree or a branch that reaches over one side."""
    ahead = placed.ahead * 0.94 - 0.2
    nearer = ahead / placed.ahead
    largest = LEAVES_PX * layout.px_at_640 / layout.camera.scale(placed.lateral, ahead)
    radius = min(max(placed.width_m, placed.height_m) * rng.uniform(0.75, 1.2), largest)
    side = float(rng.choice([-1, 1]))
    reach = placed.may_hide * placed.width_m * 1.15
    axis = layout.camera.lateral_m
    lateral = axis + (placed.lateral + side * (placed.width_m / 2 - reach) - axis) * nearer + side * radius * 0.85
    eye = layout.camera.eye_m
    up = eye + (placed.up + rng.uniform(-0.2, 0.3) * placed.height_m - eye) * nearer
    box = layout.upright_box(lateral, ahead, up, 2 * radius, 2 * radius)
    if box is None or layout.hides(box, ahead, besides=placed):
        return []
    return [(ahead, lambda canvas: roadside.draw_bush(canvas, layout.camera, air, rng, lateral, ahead, up, radius))]


def _post(layout: Layout, air: Atmosphere, rng: Rng, placed: Placed) -> list[Item]:
    """A lamp post or a trunk that crosses it."""
    ahead = placed.ahead * rng.uniform(0.75, 0.92)
    nearer = ahead / placed.ahead
    radius = float(np.clip(placed.may_hide * placed.width_m * nearer / 2, 0.04, 0.22))
    axis = layout.camera.lateral_m
    lateral = axis + (placed.lateral + rng.uniform(-0.4, 0.4) * placed.width_m - axis) * nearer
    box = layout.upright_box(lateral, ahead, 3.5, 2 * radius, 7.0)
    kerbs = layout.street.kerbs
    if box is None or kerbs[0] < lateral < kerbs[1] or layout.hides(box, ahead, besides=placed):
        return []
    tone = linear([(112, 114, 116), (78, 66, 54)][rng.integers(2)])
    shade = air.lit(tone, ahead, 0.4, lateral - axis)
    return [(ahead, lambda canvas: roadside.post(canvas, layout.camera, lateral, ahead, 0, 7.0, radius, shade))]


def _vehicle(layout: Layout, air: Atmosphere, rng: Rng, ground: Ground, arrow: Painted) -> list[Item]:
    """A vehicle standing on the far part of an arrow."""
    for share in (1 - arrow.may_hide, 1 - arrow.may_hide / 2, 1.0):
        ahead = arrow.ahead + arrow.length_m * share
        vehicle = draw_vehicle_kind(rng, arrow.lateral + float(rng.normal(0, 0.2)), ahead, True)
        points = vehicle.outline_px(layout.camera)
        if len(points) < 8 or layout.hides(np.concatenate([points.min(0), points.max(0)]), ahead):
            continue
        ground.add_shadow(vehicle.footprint(), contact=True)
        return [(ahead, lambda canvas, vehicle=vehicle: draw_vehicle(canvas, layout.camera, air, vehicle))]
    return []
