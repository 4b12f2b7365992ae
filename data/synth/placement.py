"""Where the objects of a scene stand: sizes are drawn first, then a distance and a place that show them that large."""

from dataclasses import dataclass, field, replace

import numpy as np

from data.synth import difficulty
from data.synth.camera import Camera
from data.synth.markings import Mark, arrow
from data.synth.options import CLASS_NAMES
from data.synth.street import Street, draw_street

Rng = np.random.Generator
RED_TL, ARR_S, ARR_L, NO_DRIVING, NO_PARKING = range(len(CLASS_NAMES))
FRAME_MARGIN = 0.012  # of the width: objects are placed whole inside this; traffic and trees may still hide them


@dataclass
class Placed:
    """A sign or a traffic light in the scene."""

    kind: str  # a face of signs.FACES, or "head"
    class_id: int | None
    lateral: float
    ahead: float
    up: float  # of its middle
    width_m: float
    height_m: float
    box_px: np.ndarray  # predicted x1, y1, x2, y2
    may_hide: float  # share of it that other things may cover
    state: str = ""
    group: int = 0  # heads of one junction share a mast


@dataclass
class Layout:
    """Everything about a scene that is decided before drawing."""

    camera: Camera
    street: Street
    marks: list[Mark] = field(default_factory=list)
    mark_boxes: list[tuple[np.ndarray, float, float]] = field(default_factory=list)  # box, ahead, may_hide
    placed: list[Placed] = field(default_factory=list)

    @property
    def px_at_640(self) -> float:
        """Image pixels per pixel of the same image at 640 px width."""
        return self.camera.width_px / 640

    def free(self, box: np.ndarray, gap: float = 0.1) -> bool:
        """True when no sign, light or labelled arrow is predicted near `box`."""
        boxes = [p.box_px for p in self.placed] + [b for b, _, _ in self.mark_boxes]
        pad = gap * np.array([-1, -1, 1, 1]) * np.repeat(box[2:] - box[:2], 2).reshape(2, 2).T.ravel()
        return all(overlap(box + pad, other) <= 0 for other in boxes)

    def hides(self, box: np.ndarray, depth: float) -> bool:
        """True when something that fills `box` at `depth` would hide more of an object than that allows."""
        seen = [(p.box_px, p.ahead, p.may_hide) for p in self.placed if p.class_id is not None] + self.mark_boxes
        for other, ahead, allowed in seen:
            area = float(np.prod(other[2:] - other[:2]))
            if ahead > depth and overlap(box, other) > allowed * area:
                return True
        return False


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Area shared by two boxes x1, y1, x2, y2."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    return float(sides.prod()) if (sides > 0).all() else 0.0


def draw_layout(rng: Rng, counts: tuple[int, ...], image_px: tuple[int, int]) -> Layout:
    """Decide camera, street and the place of each planned object and of the look-alikes."""
    arrows = counts[ARR_S] + counts[ARR_L]
    street = draw_street(rng, min(max(arrows, 1), 4), None)
    layout = Layout(_draw_camera(rng, street, counts, image_px), street)
    _place_arrows(layout, rng, counts)
    _place_lights(layout, rng, counts[RED_TL])
    _place_signs(layout, rng, counts)
    return layout


def _draw_camera(rng: Rng, street: Street, counts: tuple[int, ...], image_px: tuple[int, int]) -> Camera:
    width, height = image_px
    focal = width * float(np.exp(rng.uniform(np.log(0.62), np.log(1.45))))
    if counts[RED_TL] and not (counts[ARR_S] or counts[ARR_L]):
        horizon = rng.uniform(0.52, 0.78)
    elif counts[ARR_S] or counts[ARR_L]:
        horizon = rng.uniform(0.36, 0.56)
    else:
        horizon = rng.uniform(0.42, 0.66)
    lane = street.own_lanes()[int(rng.integers(street.lanes_own))]
    return Camera(
        width_px=width,
        height_px=height,
        focal_px=focal,
        horizon_px=horizon * height,
        eye_m=float(rng.choice([rng.uniform(1.15, 1.6), rng.uniform(1.8, 2.6)], p=[0.75, 0.25])),
        lateral_m=lane + float(rng.normal(0, 0.25)),
        yaw=float(np.clip(rng.normal(0, 0.06), -0.16, 0.16)),
        roll=float(np.clip(rng.normal(0, 0.018), -0.05, 0.05)),
        bend=0.0 if rng.random() < 0.6 else float(rng.choice([-1, 1]) / rng.uniform(180, 900)),
    )


def draw_size(rng: Rng, what: str) -> float:
    """A target size in pixels at 640 px width."""
    low, high = difficulty.SIZE_PX[what]
    return low * (high / low) ** (rng.random() ** difficulty.SIZE_BIAS[what])


def draw_allowance(rng: Rng) -> float:
    """How much of an object may be hidden."""
    return float(rng.uniform(0.2, 0.5)) if rng.random() < difficulty.OCCLUDED_SHARE else 0.03


# --- arrows -----------------------------------------------------------------------------------------------------------


def _place_arrows(layout: Layout, rng: Rng, counts: tuple[int, ...]) -> None:
    street = layout.street
    kinds = ["straight"] * counts[ARR_S] + ["left"] * counts[ARR_L]
    lanes = sorted(street.own_lanes())
    width, length = rng.uniform(0.95, 1.45), rng.uniform(3.0, 5.5)
    variant, opacity = int(rng.integers(2)), float(rng.uniform(0.7, 1.0))
    target = draw_size(rng, "arrow")
    first = _arrow_distance(layout, target, length)
    spots = [(lane, first + row * (length + 9)) for row in range(4) for lane in lanes]
    taken: list[tuple[float, float]] = []
    left_lanes = lanes[: max(1, (len(lanes) + 1) // 2)]
    for kind in reversed(kinds):
        order = sorted(
            spots, key=lambda spot: (spot[1], (spot[0] not in left_lanes) if kind == "left" else 0, rng.random())
        )
        for lateral, ahead in order:
            mark = Mark([arrow(kind, lateral, ahead, width, length, variant)], opacity=opacity)
            box = _mark_box(layout, mark)
            if (lateral, ahead) not in taken and box is not None and _arrow_fits(layout, box):
                mark.class_id = ARR_S if kind == "straight" else ARR_L
                layout.mark_boxes.append((box, ahead, draw_allowance(rng)))
                layout.marks.append(mark)
                taken.append((lateral, ahead))
                break
    for _ in range(rng.poisson(difficulty.OTHER_MARKINGS)):
        _place_other_mark(layout, rng, spots, taken, width, length)


def _arrow_distance(layout: Layout, height_640: float, length: float) -> float:
    """Ahead of an arrow's foot so that it looks `height_640` high, and no nearer than the frame shows."""
    camera = layout.camera
    reach = camera.focal_px * camera.eye_m
    ahead = (-length + np.sqrt(length**2 + 4 * reach * length / (height_640 * layout.px_at_640))) / 2
    lowest = camera.height_px * 0.95 - camera.horizon_px
    return float(max(ahead, reach / lowest))


def _mark_box(layout: Layout, mark: Mark) -> np.ndarray | None:
    points = layout.camera.project(np.concatenate([np.c_[o, np.zeros(len(o))] for o in mark.outlines]))
    if len(points) < 3:
        return None
    return np.concatenate([points.min(0), points.max(0)])


def _arrow_fits(layout: Layout, box: np.ndarray) -> bool:
    """Inside the frame, tall enough, and clear of other arrows."""
    camera, unit = layout.camera, layout.px_at_640
    inside = box[0] >= 0 and box[2] <= camera.width_px and box[3] <= camera.height_px
    return bool(inside and box[3] - box[1] >= 4.6 * unit and layout.free(box, 0.02))


def _place_other_mark(
    layout: Layout,
    rng: Rng,
    spots: list[tuple[float, float]],
    taken: list[tuple[float, float]],
    width: float,
    length: float,
) -> None:
    """A right arrow, a turning arrow, an arrow for oncoming traffic, a diamond or letters."""
    from data.synth.markings import YELLOW, diamond, lettering

    kind = str(rng.choice(["right", "right", "right", "towards", "u_turn", "diamond", "letters", "letters"]))
    lanes = layout.street.oncoming_lanes() if kind == "towards" else []
    choices = [spot for spot in spots if spot not in taken]
    if lanes:
        choices = [(lane, ahead) for lane in lanes for _, ahead in spots]
    if not choices or (kind == "towards" and not lanes):
        return
    lateral, ahead = choices[int(rng.integers(min(len(choices), 6)))]
    colour, opacity = 0, float(rng.uniform(0.6, 1.0))
    if kind == "diamond":
        outlines = diamond(lateral, ahead)
    elif kind == "letters":
        text = str(rng.choice(["BUS", "SLOW", "40", "50", "30", "STOP", "TAXI", "60"]))
        outlines = lettering(text, lateral, ahead, min(2.2, 0.75 * len(text)), rng.uniform(2.0, 4.0))
        colour = YELLOW if rng.random() < 0.3 else 0
    else:
        outlines = [arrow(kind, lateral, ahead, width, length, int(rng.integers(2)))]
    mark = Mark(outlines, colour, opacity)
    box = _mark_box(layout, mark)
    if box is not None and layout.free(box, 0.05):
        layout.marks.append(mark)
        taken.append((lateral, ahead))


# --- traffic lights ---------------------------------------------------------------------------------------------------


def _place_lights(layout: Layout, rng: Rng, red: int) -> None:
    """The labelled heads, look-alikes, and the junction that they stand at."""
    arrows_end = max((ahead + 6.0 for _, ahead, _ in layout.mark_boxes), default=0.0)
    ahead = None
    if red:
        ahead = _place_group(layout, rng, ["red"] * red, group=1)
    others = int(rng.poisson(difficulty.OTHER_LIGHTS))
    states = [str(rng.choice(["green", "amber", "dark", "back"], p=[0.5, 0.26, 0.12, 0.12])) for _ in range(others)]
    if states and not red:
        states = [states[0] if s in ("green", "amber") else s for s in states]
    if states:
        found = _place_group(layout, rng, states, group=2, near=ahead)
        ahead = ahead or found
    junction = None
    if ahead is not None:
        start = ahead - rng.uniform(13, 18) if ahead > 24 else ahead + rng.uniform(1.5, 4)
        junction = max(start, arrows_end + 8.0, 8.0)
    elif rng.random() < 0.25:
        junction = max(rng.uniform(18, 80), arrows_end + 8.0)
    if junction is not None:
        layout.street = replace(layout.street, junction=(junction, junction + rng.uniform(8, 14)))


def _place_group(layout: Layout, rng: Rng, states: list[str], group: int, near: float | None = None) -> float | None:
    """Heads at one distance, over the lanes and beside the road; returns the distance."""
    camera, street = layout.camera, layout.street
    target = draw_size(rng, "light")
    lamp_m = float(rng.choice([0.2, 0.3, 0.4], p=[0.25, 0.5, 0.25]))
    tall = lamp_m * 3.9
    for _ in range(24):
        scale = target * layout.px_at_640 / tall
        ahead = camera.focal_px / scale
        if near is not None and rng.random() < 0.7:
            ahead = near + rng.uniform(0, 3)
            scale = camera.focal_px / ahead
        ceiling = camera.eye_m + (camera.horizon_px - camera.height_px * 0.02) / scale - tall / 2
        if ceiling >= 1.9 and ahead < 150:
            break
        target *= 0.86
    else:
        return None
    up = float(min(ceiling, rng.uniform(4.6, 6.0) if ahead > 14 else rng.uniform(2.4, 5.0)))
    laterals = [*street.own_lanes(), street.kerbs[0] - 0.6, street.kerbs[1] + 0.6, *street.oncoming_lanes()[:1]]
    laterals += [lane + street.side * 1.6 for lane in street.own_lanes()]
    reach = (camera.width_px * 0.49) / scale
    found = 0
    for state in states:
        for _ in range(10):
            lateral = float(laterals[int(rng.integers(len(laterals)))] + rng.normal(0, 0.25))
            if rng.random() < 0.3:
                lateral = float(camera.lateral_m + camera.yaw * ahead + rng.uniform(-reach, reach) * 0.9)
            height = up + float(rng.choice([0, 0, -0.1, -1.6])) if ahead > 18 else up + float(rng.normal(0, 0.1))
            head = _head_at(layout, rng, lateral, ahead, max(height, 1.9), lamp_m, state, group)
            if head is not None:
                layout.placed.append(head)
                found += 1
                break
    return ahead if found else None


def _head_at(
    layout: Layout, rng: Rng, lateral: float, ahead: float, up: float, lamp_m: float, state: str, group: int
) -> Placed | None:
    long, short = lamp_m * 3.95, lamp_m * 1.55
    box = _upright_box(layout, lateral, ahead, up, short, long)
    if not _inside(layout, box) or not layout.free(box, 0.15):
        return None
    class_id = RED_TL if state == "red" else None
    return Placed(
        "head",
        class_id,
        lateral,
        ahead,
        up,
        short,
        long,
        box,
        draw_allowance(rng),
        state=f"{state}:{lamp_m}",
        group=group,
    )


def _upright_box(layout: Layout, lateral: float, ahead: float, up: float, width: float, height: float) -> np.ndarray:
    corners = [[lateral + x * width / 2, ahead, up + y * height / 2] for x in (-1, 1) for y in (-1, 1)]
    points = layout.camera.project(np.array(corners))
    if len(points) < 4:
        return np.full(4, -1e6)
    return np.concatenate([points.min(0), points.max(0)])


def _inside(layout: Layout, box: np.ndarray) -> bool:
    camera = layout.camera
    margin = FRAME_MARGIN * camera.width_px
    low, high = box[:2].min(), np.array([camera.width_px, camera.height_px]) - box[2:]
    return bool(low >= -margin * 0 + 1 and (high >= 1).all())


# --- signs ------------------------------------------------------------------------------------------------------------


def _place_signs(layout: Layout, rng: Rng, counts: tuple[int, ...]) -> None:
    from data.synth.signs import LOOKALIKES, OTHERS

    wanted = ["no_driving"] * counts[NO_DRIVING] + ["no_parking"] * counts[NO_PARKING]
    for kind in wanted:
        _place_sign(layout, rng, kind, {"no_driving": NO_DRIVING, "no_parking": NO_PARKING}[kind], 0.0)
    weights = np.array(list(OTHERS.values()))
    for kind in rng.choice(list(OTHERS), int(rng.poisson(difficulty.OTHER_SIGNS)), p=weights / weights.sum()):
        least = difficulty.LOOKALIKE_MIN_PX if kind in LOOKALIKES else 0.0
        _place_sign(layout, rng, str(kind), None, least)


def _place_sign(layout: Layout, rng: Rng, kind: str, class_id: int | None, least_640: float) -> None:
    camera, street = layout.camera, layout.street
    target = max(draw_size(rng, "sign"), least_640 * 1.15)
    size = float(rng.choice([0.6, 0.75, 0.9], p=[0.5, 0.3, 0.2]))
    below = [p for p in layout.placed if p.kind != "head" and abs(p.width_m - size) < 0.2]
    if below and rng.random() < 0.35:
        host = below[int(rng.integers(len(below)))]
        if _try_sign(
            layout, rng, kind, class_id, host.lateral, host.ahead, host.up - host.height_m / 2 - size / 2 - 0.06, size
        ):
            return
    for attempt in range(40):
        scale = target * layout.px_at_640 / size
        ahead = camera.focal_px / scale
        side = 1 if rng.random() < 0.5 else -1
        kerb = street.kerbs[1] if side > 0 else street.kerbs[0]
        lateral = kerb + side * rng.uniform(0.35, 1.4)
        if attempt > 8 and rng.random() < 0.6:  # on a stand at the edge of the road, as at road works
            lateral = kerb - side * rng.uniform(-0.4, 1.2)
        up = rng.uniform(1.9, 2.9) if attempt < 12 else rng.uniform(0.9, 2.4)
        if ahead < 160 and _try_sign(layout, rng, kind, class_id, float(lateral), float(ahead), float(up), size):
            return
        if attempt % 3 == 2:
            target = max(target * 0.9, difficulty.SIZE_PX["sign"][0], least_640)


def _try_sign(
    layout: Layout, rng: Rng, kind: str, class_id: int | None, lateral: float, ahead: float, up: float, size: float
) -> bool:
    junction = layout.street.junction
    if up < 0.5 or (junction and junction[0] - 0.5 < ahead < junction[1] + 0.5):
        return False
    box = _upright_box(layout, lateral, ahead, up, size, size)
    if not _inside(layout, box) or not layout.free(box, 0.04):
        return False
    layout.placed.append(Placed(kind, class_id, lateral, ahead, up, size, size, box, draw_allowance(rng)))
    return True
