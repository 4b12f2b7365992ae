"""Places the arrows, and the painted marks that look like them, in the lanes."""

import numpy as np

from data.synth.paint.markings import WHITE, YELLOW, Mark, arrow, arrow_head, diamond, lettering
from data.synth.scene.layout import ARR_L, ARR_S, Layout, Painted, draw_allowance, draw_size
from data.synth.world import difficulty

Rng = np.random.Generator
Spot = tuple[float, float]  # lateral, ahead
MIN_HEIGHT_PX = 4.8  # at 640 px width; a flatter arrow is moved nearer
WORDS = ("BUS", "SLOW", "40", "50", "30", "STOP", "TAXI", "60")
OTHER_KINDS = ("right", "right", "right", "right", "towards", "u_turn", "diamond", "words", "words")


def place_marks(layout: Layout, rng: Rng, counts: tuple[int, ...]) -> None:
    """Put the planned arrows into the own lanes, side by side where there are lanes, then other marks."""
    lanes = sorted(layout.street.own_lanes())
    size = rng.uniform(1.0, 1.5), rng.uniform(3.2, 5.5)  # metres across and along, the same for all
    variant, opacity = int(rng.integers(2)), float(rng.uniform(0.7, 1.0))
    first = _distance(layout, draw_size(rng, "arrow"), size[1])
    spots = [(lane, first + row * (size[1] + 9)) for row in range(4) for lane in lanes]
    taken: list[Spot] = []
    for kind in ["left"] * counts[ARR_L] + ["straight"] * counts[ARR_S]:
        # Nearest row first; left arrows in the leftmost lane that is free, straight ones anywhere.
        for spot in sorted(spots, key=lambda s: (s[1], s[0] if kind == "left" else rng.random())):
            mark = Mark([arrow(kind, *spot, *size, variant)], WHITE, opacity)
            box = mark_box(layout, mark)
            if spot not in taken and box is not None and _fits(layout, box):
                mark.core = arrow_head(kind, mark.outlines[0])
                mark.class_id = ARR_S if kind == "straight" else ARR_L
                layout.arrows.append(Painted(box, *spot, size[1], draw_allowance(rng) * 0.6))
                layout.marks.append(mark)
                taken.append(spot)
                break
    for _ in range(rng.poisson(difficulty.OTHER_MARKINGS)):
        _place_other(layout, rng, spots, taken, size)


def _distance(layout: Layout, height_640: float, length: float) -> float:
    """Ahead of an arrow's foot so that it looks `height_640` high, and no nearer than the frame shows."""
    camera = layout.camera
    reach = camera.focal_px * camera.eye_m
    ahead = (-length + np.sqrt(length**2 + 4 * reach * length / (height_640 * layout.px_at_640))) / 2
    lowest = camera.height_px * (0.975 - layout.hood) - camera.horizon_px
    return float(max(ahead, reach / lowest))


def mark_box(layout: Layout, mark: Mark) -> np.ndarray | None:
    """Predicted box of a mark in pixels; None when it is behind the camera."""
    points = layout.camera.project(np.concatenate([np.c_[o, np.zeros(len(o))] for o in mark.outlines]))
    return np.concatenate([points.min(0), points.max(0)]) if len(points) >= 3 else None


def _fits(layout: Layout, box: np.ndarray) -> bool:
    """Inside the frame, tall enough, and clear of other arrows."""
    return bool(
        layout.inside(box, 0.02) and box[3] - box[1] >= MIN_HEIGHT_PX * layout.px_at_640 and layout.free(box, 0.02)
    )


def _place_other(layout: Layout, rng: Rng, spots: list[Spot], taken: list[Spot], size: tuple[float, float]) -> None:
    """A right arrow, a turning arrow, an arrow for oncoming traffic, a diamond or letters."""
    kind = str(rng.choice(OTHER_KINDS))
    if kind == "towards":
        choices = [(lane, ahead) for lane in layout.street.oncoming_lanes() for _, ahead in spots]
    else:
        choices = [spot for spot in spots if spot not in taken]
    if not choices:
        return
    spot = choices[int(rng.integers(min(len(choices), 6)))]
    colour = WHITE
    if kind == "diamond":
        outlines = diamond(*spot)
    elif kind == "words":
        word = str(rng.choice(WORDS))
        outlines = lettering(word, *spot, min(2.2, 0.75 * len(word)), rng.uniform(2.0, 4.0))
        colour = YELLOW if rng.random() < 0.3 else WHITE
    else:
        outlines = [arrow(kind, *spot, *size, int(rng.integers(2)))]
    mark = Mark(outlines, colour, float(rng.uniform(0.6, 1.0)))
    box = mark_box(layout, mark)
    if box is not None and layout.free(box, 0.05):
        layout.marks.append(mark)
        taken.append(spot)
