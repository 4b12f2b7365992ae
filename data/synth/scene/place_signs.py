"""Places road signs on posts beside the road, on stands and on islands."""

import numpy as np

from data.synth.paint.signs import LOOKALIKES, OTHERS
from data.synth.scene.layout import NO_DRIVING, NO_PARKING, Layout, Placed, draw_allowance, draw_size
from data.synth.world import difficulty

Rng = np.random.Generator
DIAMETERS_M = (0.6, 0.75, 0.9, 1.1)


def place_signs(layout: Layout, rng: Rng, counts: tuple[int, ...]) -> None:
    """Put the planned signs in, then look-alikes and other signs."""
    for kind, class_id in (("no_driving", NO_DRIVING), ("no_parking", NO_PARKING)):
        for _ in range(counts[class_id]):
            _place_sign(layout, rng, kind, class_id, 0.0)
    weights = np.array(list(OTHERS.values()))
    for kind in rng.choice(list(OTHERS), int(rng.poisson(difficulty.OTHER_SIGNS)), p=weights / weights.sum()):
        least = difficulty.LOOKALIKE_MIN_PX if kind in LOOKALIKES else 0.0
        _place_sign(layout, rng, str(kind), None, least)


def _place_sign(layout: Layout, rng: Rng, kind: str, class_id: int | None, least_640: float) -> None:
    """Try places for a sign of a drawn size; when none is in view, make it smaller (further away)."""
    camera = layout.camera
    target = max(draw_size(rng, "sign"), least_640 * 1.1)
    large = target > 70
    size = float(rng.choice(DIAMETERS_M, p=(0.15, 0.25, 0.3, 0.3) if large else (0.45, 0.3, 0.2, 0.05)))
    cut = 0.3 if rng.random() < difficulty.CUT_SHARE else 0.0
    allowance = draw_allowance(rng)
    if _below_another(layout, rng, kind, class_id, size, least_640):
        return
    for attempt in range(48):
        ahead = camera.focal_px / (target * layout.px_at_640 / size)
        low = attempt % 4 == 3
        up = float(rng.uniform(0.8, 1.9) if low else rng.uniform(1.9, 2.9))
        lateral = _lateral(layout, rng, ahead, attempt, low)
        if lateral is not None and ahead < 160 and _clear(layout, ahead):
            box = layout.upright_box(lateral, ahead, up, size, size)
            if box is not None and layout.inside(box, cut) and layout.free(box, 0.04):
                layout.placed.append(Placed(kind, class_id, lateral, ahead, up, size, size, box, allowance))
                return
        if attempt % 6 == 5:
            target = max(target * 0.88, difficulty.SIZE_PX["sign"][0], least_640)


def _lateral(layout: Layout, rng: Rng, ahead: float, attempt: int, low: bool) -> float | None:
    """Beside a kerb; later, when that is out of view, anywhere in view that is not our own path."""
    camera, street = layout.camera, layout.street
    if attempt < 6 or (ahead > 16 and not low):
        side = 1 if rng.random() < 0.5 else -1
        kerb = street.kerbs[1] if side > 0 else street.kerbs[0]
        return float(kerb + side * rng.uniform(0.35, 1.4))
    reach = camera.width_px * 0.5 / camera.scale(camera.lateral_m, ahead)
    axis = camera.lateral_m + np.tan(camera.yaw) * ahead - float(camera.bend_m(np.float64(ahead)))
    lateral = float(axis + rng.uniform(-reach, reach))
    left, right = street.fronts
    in_path = abs(lateral - camera.lateral_m) < (1.0 if ahead < 20 else 1.6)
    return lateral if not in_path and left + 0.5 < lateral < right - 0.5 else None


def _below_another(layout: Layout, rng: Rng, kind: str, class_id: int | None, size: float, least_640: float) -> bool:
    """Now and then hang the sign below one that is there already."""
    hosts = [p for p in layout.placed if p.kind != "head" and abs(p.width_m - size) < 0.2]
    if not hosts or rng.random() > 0.3:
        return False
    host = hosts[int(rng.integers(len(hosts)))]
    up = host.up - (host.height_m + size) / 2 - 0.06
    box = layout.upright_box(host.lateral, host.ahead, up, size, size)
    if box is None or up < 0.6 or not layout.inside(box) or not layout.free(box, 0.01):
        return False
    if box[2] - box[0] < least_640 * layout.px_at_640:
        return False
    layout.placed.append(Placed(kind, class_id, host.lateral, host.ahead, up, size, size, box, draw_allowance(rng)))
    return True


def _clear(layout: Layout, ahead: float) -> bool:
    """Not in the middle of the crossing road."""
    junction = layout.street.junction
    return junction is None or not junction[0] - 0.5 < ahead < junction[1] + 0.5
