"""Paint on the road: arrows, lines, zebras, signs of other kinds. Outlines are (lateral, ahead) in metres."""

from dataclasses import dataclass

import cv2
import numpy as np

from data.synth.world.street import FAR_M, Street, strip

WHITE, YELLOW = 0, 1


@dataclass
class Mark:
    """One painted shape of one or more outlines."""

    outlines: list[np.ndarray]
    colour: int = WHITE
    opacity: float = 1.0
    class_id: int | None = None  # set for the arrows that are labelled
    core: np.ndarray | None = None  # outline of the arrow's head, without which it cannot be told from others


# Outlines in units of the arrow's width and length, pointing ahead; (across, along), origin at the middle of its foot.
_STRAIGHT = np.array(
    [[-0.15, 0], [0.15, 0], [0.15, 0.55], [0.5, 0.5], [0, 1.0], [-0.5, 0.5], [-0.15, 0.55]],
)
_STRAIGHT_PLAIN = np.array(
    [[-0.13, 0], [0.13, 0], [0.13, 0.62], [0.44, 0.62], [0, 1.0], [-0.44, 0.62], [-0.13, 0.62]],
)
_LEFT = np.array(
    [
        [0.16, 0], [0.44, 0], [0.44, 0.58], [0.41, 0.7], [0.33, 0.79], [0.2, 0.83], [-0.06, 0.83], [-0.06, 1.0],
        [-0.55, 0.7], [-0.06, 0.4], [-0.06, 0.57], [0.12, 0.57], [0.16, 0.53],
    ],
)  # fmt: skip
_LEFT_SQUARE = np.array(
    [
        [0.22, 0], [0.47, 0], [0.47, 0.86], [-0.1, 0.86], [-0.1, 1.02], [-0.5, 0.74], [-0.1, 0.46], [-0.1, 0.62],
        [0.22, 0.62],
    ],
)  # fmt: skip
_U_TURN = np.array(
    [
        [0.2, 0], [0.45, 0], [0.45, 0.75], [0.3, 0.95], [-0.12, 0.95], [-0.27, 0.75], [-0.27, 0.55], [-0.5, 0.55],
        [-0.15, 0.28], [0.2, 0.55], [-0.02, 0.55], [-0.02, 0.7], [0.03, 0.77], [0.15, 0.77], [0.2, 0.7],
    ],
)  # fmt: skip


def arrow(kind: str, lateral: float, ahead: float, width_m: float, length_m: float, variant: int = 0) -> np.ndarray:
    """The outline of a painted arrow: kind is straight, left, right, u_turn or towards (straight, for oncoming)."""
    if kind in ("straight", "towards"):
        shape = (_STRAIGHT, _STRAIGHT_PLAIN)[variant % 2].copy()
    elif kind in ("left", "right"):
        shape = (_LEFT, _LEFT_SQUARE)[variant % 2].copy()
    else:
        shape = _U_TURN.copy()
    if kind == "right":
        shape[:, 0] *= -1
    if kind == "towards":
        shape[:, 1] = 1 - shape[:, 1]
    return shape * (width_m, length_m) + (lateral, ahead)


def arrow_head(kind: str, outline: np.ndarray) -> np.ndarray:
    """The triangle of a straight or left arrow's outline: its tip and the two barbs."""
    tip = 4 if kind == "straight" else int(np.argmin(outline[:, 0]))
    barbs = (3, 5) if kind == "straight" else (tip - 1, tip + 1)
    return outline[[tip, *barbs]]


def diamond(lateral: float, ahead: float) -> list[np.ndarray]:
    """A hollow diamond (pedestrian crossing ahead), as an outer ring of four bars."""
    outer = np.array([[0, 0], [0.75, 2.5], [0, 5], [-0.75, 2.5]])
    inner = (outer - (0, 2.5)) * 0.66 + (0, 2.5)
    bars = [np.array([outer[i], outer[(i + 1) % 4], inner[(i + 1) % 4], inner[i]]) for i in range(4)]
    return [bar + np.array([lateral, ahead]) for bar in bars]


def lettering(text: str, lateral: float, ahead: float, width_m: float, length_m: float) -> list[np.ndarray]:
    """Painted letters or figures, stretched along the road; outlines of their strokes."""
    font, scale, thick = cv2.FONT_HERSHEY_SIMPLEX, 4.0, 14
    (width, height), base = cv2.getTextSize(text, font, scale, thick)
    mask = np.zeros((height + base + 30, width + 30), np.uint8)
    cv2.putText(mask, text, (15, height + 15), font, scale, 255, thick)
    contours, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_TC89_L1)
    outlines = []
    for contour, links in zip(contours, np.asarray(tree).reshape(-1, 4), strict=True):
        points = contour[:, 0].astype(float) / (mask.shape[1], mask.shape[0])
        points = np.stack([(points[:, 0] - 0.5) * width_m + lateral, (1 - points[:, 1]) * length_m + ahead], 1)
        if links[3] < 0:
            outlines.append(points)
        else:  # a hole: walk into its parent's outline and back, so that even-odd filling leaves it open
            outlines[-1] = np.concatenate([outlines[-1], outlines[-1][:1], points, points[:1], outlines[-1][:1]])
    return outlines


def zebra(kerbs: tuple[float, float], start: float, stop: float, bar_m: float = 0.5) -> list[np.ndarray]:
    """Bars across the road from kerb to kerb."""
    lefts = np.arange(kerbs[0] + 0.4, kerbs[1] - bar_m, 2 * bar_m)
    return [strip(left, left + bar_m, start, stop) for left in lefts]


def lane_lines(street: Street, rng: np.random.Generator) -> list[Mark]:
    """Centre, lane and edge lines, stop line and zebra of a street."""
    marks = []
    margin = 6.5 if street.junction else 0.0
    opacity = float(rng.uniform(0.7, 1))
    dash, gap, half = rng.uniform(2, 4), rng.uniform(3, 6), rng.uniform(0.05, 0.08)
    offset = rng.uniform(0, dash + gap)
    for span in street.free_spans(0.5, FAR_M, margin):
        for lanes, side in ((street.lanes_own, street.side), (street.lanes_oncoming, -street.side)):
            for lane in range(1, lanes):
                lateral = side * lane * street.lane_m
                marks.append(Mark(_dashes(lateral, half, span, dash, gap, offset), WHITE, opacity))
        marks += _edges_and_centre(street, span, rng, opacity)
    if street.junction:
        marks += _junction_marks(street, rng)
    return marks


def _dashes(lateral: float, half: float, span: tuple[float, float], dash: float, gap: float, offset: float) -> list:
    starts = np.arange(offset - (dash + gap), min(span[1], 110), dash + gap)
    pieces = [(max(start, span[0]), min(start + dash, span[1])) for start in starts]
    return [strip(lateral - half, lateral + half, a, b) for a, b in pieces if b - a > 0.3]


def _edges_and_centre(street: Street, span: tuple[float, float], rng: np.random.Generator, opacity: float) -> list:
    marks = []
    if rng.random() < 0.6:
        for kerb, inward in ((street.kerbs[0], 0.3), (street.kerbs[1], -0.3)):
            marks.append(Mark([strip(kerb + inward - 0.06, kerb + inward + 0.06, *span)], WHITE, opacity))
    if street.lanes_oncoming:
        style = rng.random()
        colour = YELLOW if rng.random() < 0.5 else WHITE
        if style < 0.4:
            lines = [strip(c - 0.06, c + 0.06, *span) for c in (-0.15, 0.15)]
        elif style < 0.7:
            lines = [strip(-0.07, 0.07, *span)]
        else:
            lines = _dashes(0.0, 0.07, span, 3.0, 3.5, 1.0)
        marks.append(Mark(lines, colour, opacity))
    return marks


def _junction_marks(street: Street, rng: np.random.Generator) -> list[Mark]:
    """The zebra and the stop line before the crossing road, and often another zebra behind it."""
    assert street.junction is not None
    near, far = street.junction
    marks = []
    opacity = float(rng.uniform(0.65, 1))
    edge = street.side * street.lanes_own * street.lane_m
    own = (min(0.15 * street.side, edge), max(0.15 * street.side, edge))
    marks.append(Mark([strip(*own, near - 6.2, near - 5.8)], WHITE, opacity))
    if rng.random() < 0.75:
        marks.append(Mark(zebra(street.kerbs, near - 4.8, near - 1.2, rng.uniform(0.4, 0.6)), WHITE, opacity))
    if rng.random() < 0.6:
        marks.append(Mark(zebra(street.kerbs, far + 1.2, far + 4.5, rng.uniform(0.4, 0.6)), WHITE, opacity))
    return marks
