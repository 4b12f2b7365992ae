"""Places traffic light heads, and the junction that they stand at."""

from dataclasses import replace

import numpy as np

from data.synth.scene.layout import RED_TL, Layout, Placed, draw_allowance, draw_size
from data.synth.world import difficulty

Rng = np.random.Generator
UPRIGHT_SHARE = 0.68  # of junctions have heads with their lamps above one another
LOWEST_M = 1.9  # the middle of a head
OVERHEAD_FROM_M = 13.0  # nearer heads stand on a post of their own, never hang over a lane


def place_lights(layout: Layout, rng: Rng, red: int) -> None:
    """Put the labelled heads and look-alikes in, then a junction that fits them."""
    arrows_end = max((arrow.ahead + arrow.length_m for arrow in layout.arrows), default=0.0)
    ahead = _place_group(layout, rng, ["red"] * red, group=1) if red else None
    states = _other_states(rng, bool(red))
    if states:
        other = _place_group(layout, rng, states, group=2, near=ahead)
        ahead = ahead or other
    junction = None
    if ahead is not None:
        start = ahead - rng.uniform(13, 18) if ahead > 24 else ahead + rng.uniform(1.5, 4)
        junction = max(start, arrows_end + 7.5, 8.0)
    elif rng.random() < 0.25:
        junction = max(rng.uniform(18, 80), arrows_end + 7.5)
    if junction is not None:
        layout.street = replace(layout.street, junction=(junction, junction + rng.uniform(8, 14)))


def _other_states(rng: Rng, red: bool) -> list[str]:
    """What the look-alikes show. Without a red one they all face us and agree; beside red ones they are others'."""
    count = int(rng.poisson(difficulty.OTHER_LIGHTS * (0.6 if red else 1.4)))
    states = [str(s) for s in rng.choice(["green", "amber", "dark", "back"], count, p=[0.5, 0.26, 0.12, 0.12])]
    if states and not red:
        states = [states[0] if state in ("green", "amber") else state for state in states]
    return states


def _place_group(layout: Layout, rng: Rng, states: list[str], group: int, near: float | None = None) -> float | None:
    """Heads at one distance, over the lanes and beside the road; returns the distance."""
    camera = layout.camera
    lamp_m = float(rng.choice([0.2, 0.3, 0.4], p=[0.2, 0.5, 0.3]))
    tall = lamp_m * 3.95
    target = draw_size(rng, "light")
    beside = near is not None and rng.random() < 0.7
    for _ in range(26):
        scale = target * layout.px_at_640 / tall
        ahead = near + float(rng.uniform(0, 3)) if near is not None and beside else camera.focal_px / scale
        scale = camera.focal_px / ahead
        ceiling = camera.eye_m + (camera.horizon_px - camera.height_px * 0.02) / scale - tall / 2
        if ceiling >= LOWEST_M and ahead < 150:
            break
        target *= 0.87
        beside = False
    else:
        return None
    up = float(min(ceiling, rng.uniform(4.6, 6.0) if ahead > OVERHEAD_FROM_M else rng.uniform(2.2, 4.6)))
    found = [_place_head(layout, rng, state, ahead, up, lamp_m, group) for state in states]
    return ahead if any(found) else None


def _place_head(layout: Layout, rng: Rng, state: str, ahead: float, up: float, lamp_m: float, group: int) -> bool:
    """Find a free place for one head at about `ahead` and `up`."""
    camera = layout.camera
    reach = camera.width_px * 0.49 / camera.scale(camera.lateral_m, ahead)
    axis = camera.lateral_m + np.tan(camera.yaw) * ahead - float(camera.bend_m(np.float64(ahead)))
    laterals = _laterals(layout, ahead)
    allowance = draw_allowance(rng)
    cut = 0.35 if rng.random() < difficulty.CUT_SHARE else 0.0
    mates = [p for p in layout.placed if p.group == group and p.ahead == ahead and ahead < OVERHEAD_FROM_M]
    for attempt in range(16):
        lateral, post_at = laterals[int(rng.integers(len(laterals)))] + float(rng.normal(0, 0.2)), None
        if mates and attempt < 4:  # two heads on one post
            mate = mates[int(rng.integers(len(mates)))]
            post_at = mate.lateral
            apart = lamp_m * (4.4 if _lies(group, ahead) else 2.1)
            lateral = mate.lateral + float(rng.choice([-1, 1])) * apart
        elif attempt > 6:
            lateral = float(axis + rng.uniform(-reach, reach) * 0.95)
        below = float(rng.choice([0, 0, 0.1, 1.6]) if ahead > 18 else abs(rng.normal(0, 0.15)))
        height = max(up - (below if post_at is None else 0.0), LOWEST_M)
        size = (lamp_m * 3.95, lamp_m * 1.6) if _lies(group, ahead) else (lamp_m * 1.6, lamp_m * 3.95)
        box = layout.upright_box(lateral, ahead, height, *size)
        left, right = layout.street.fronts
        if box is None or not left + 0.4 < lateral < right - 0.4:
            continue
        if not layout.inside(box, cut) or not layout.free(box, 0.12):
            continue
        class_id = RED_TL if state == "red" else None
        layout.placed.append(
            Placed("head", class_id, lateral, ahead, height, *size, box, allowance, state, lamp_m, group, post_at)
        )
        return True
    return False


def group_rng(group: int, ahead: float) -> Rng:
    """Random numbers that the heads of one junction share."""
    return np.random.default_rng([group, round(ahead * 100)])


def _lies(group: int, ahead: float) -> bool:
    """True when the heads of a group have their lamps side by side."""
    return bool(group_rng(group, ahead).random() > UPRIGHT_SHARE)


def _laterals(layout: Layout, ahead: float) -> list[float]:
    """Where heads usually stand: beside the road, and from some distance on also over the lanes."""
    street = layout.street
    sides = [street.kerbs[0] - 0.6, street.kerbs[1] + 0.6]
    if ahead < OVERHEAD_FROM_M:
        return [*sides, 0.0] if street.lanes_oncoming else sides
    lanes = street.own_lanes()
    return [*sides, *lanes, *[lane + street.side * 1.6 for lane in lanes], *street.oncoming_lanes()[:1]]
