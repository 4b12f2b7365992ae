"""Traffic light heads, as pictures with transparency and their own light.

A head is labelled red_tl when its red lamp is lit, whatever the lens shows (disc, arrow, standing figure). Green, amber
and dark heads and heads seen from behind are distractors.
"""

from typing import NamedTuple

import cv2
import numpy as np

from data.synth.world.colour import ints, tinted

Rng = np.random.Generator
CELL = 56  # px per lamp of a finished picture
FINE = 2

LIT = {"red": (2.6, 0.10, 0.06), "amber": (2.3, 0.85, 0.04), "green": (0.10, 1.9, 0.85)}  # radiance of a lit lens
DARK = {"red": (70, 18, 18), "amber": (78, 54, 16), "green": (16, 58, 46)}  # sRGB of an unlit lens
LAMPS = {3: ("red", "amber", "green"), 2: ("red", "green")}


class Head(NamedTuple):
    """A drawn head."""

    rgb: np.ndarray  # (h, w, 3) uint8 sRGB
    alpha: np.ndarray  # (h, w) coverage 0..1
    emission: np.ndarray  # (h, w, 3) radiance of the lit lamp
    width_m: float
    height_m: float


def draw_head(
    rng: Rng, state: str, lamps: int = 3, lens: str = "disc", upright: bool = True, lamp_m: float = 0.3
) -> Head:
    """A traffic light head.

    Args:
        rng: Source of its colours, hoods and plate.
        state: red, amber, green, dark, or back (seen from behind).
        lamps: 3, or 2 (red and green).
        lens: disc, arrow or figure.
        upright: Lamps above one another; else side by side, red at the left or the right.
        lamp_m: Diameter of a lens.
    """
    cell = CELL * FINE
    pad = round(cell * rng.uniform(0.0, 0.28)) if rng.random() < 0.35 else 0
    rows = cell * lamps + cell // 4
    picture = np.zeros((rows + 2 * pad, cell + cell // 5 + 2 * pad, 3), np.uint8)
    alpha = np.zeros(picture.shape[:2], np.uint8)
    glow = np.zeros((*picture.shape[:2], 3), np.float32)
    body = _housing_colour(rng)
    _housing(picture, alpha, body, pad, rng)
    order = list(LAMPS[lamps])
    if not upright and rng.random() < 0.5:
        order.reverse()
    centre_x = picture.shape[1] / 2
    for place, name in enumerate(order):
        centre = (centre_x, pad + cell / 8 + cell * (place + 0.5))
        if state == "back":
            _dome(picture, centre, cell, body)
        else:
            _lamp(picture, glow, centre, cell, name, name == state, lens, upright, body, rng)
    if not upright:
        picture, alpha, glow = (np.ascontiguousarray(np.rot90(part)) for part in (picture, alpha, glow))
    height, width = alpha.shape[0] // FINE, alpha.shape[1] // FINE
    small = [cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA) for part in (picture, alpha, glow)]
    coverage = small[1].astype(np.float32) / 255
    metres = lamp_m / (CELL * 0.8)
    return Head(small[0], coverage, small[2], width * metres, height * metres)


def _housing_colour(rng: Rng) -> np.ndarray:
    options = [(26, 27, 28), (34, 36, 36), (30, 44, 38), (92, 94, 94), (176, 136, 32)]
    return np.array(options[rng.choice(5, p=[0.4, 0.25, 0.1, 0.15, 0.1])]) * rng.uniform(0.8, 1.2)


def _housing(picture: np.ndarray, alpha: np.ndarray, body: np.ndarray, pad: int, rng: Rng) -> None:
    """The box with rounded ends, and around it a plate when there is padding."""
    height, width = alpha.shape
    if pad:
        cv2.rectangle(alpha, (0, 0), (width - 1, height - 1), 255, -1)
        picture[:] = (14, 14, 15)
        edge = [(214, 214, 208), (196, 160, 40), (30, 30, 30)][rng.integers(3)]
        cv2.rectangle(picture, (0, 0), (width - 1, height - 1), edge, max(2, pad // 4))
    radius = round((width - 2 * pad) * rng.uniform(0.08, 0.3))
    x1, y1, x2, y2 = pad, pad, width - pad - 1, height - pad - 1
    shade = ints(body)
    for mask, value in ((alpha, 255), (picture, shade)):
        cv2.rectangle(mask, (x1 + radius, y1), (x2 - radius, y2), value, -1)
        cv2.rectangle(mask, (x1, y1 + radius), (x2, y2 - radius), value, -1)
        for x in (x1 + radius, x2 - radius):
            for y in (y1 + radius, y2 - radius):
                cv2.circle(mask, (x, y), radius, value, -1)
    cv2.line(picture, (x1 + 2, y1 + radius), (x1 + 2, y2 - radius), ints(body * 1.5 + 12), 3)


def _dome(picture: np.ndarray, centre: tuple[float, float], cell: int, body: np.ndarray) -> None:
    place = (round(centre[0]), round(centre[1]))
    cv2.circle(picture, place, round(cell * 0.34), ints(body * 0.8), -1)
    cv2.circle(picture, place, round(cell * 0.34), ints(body * 1.25 + 8), 2)


def _lamp(
    picture: np.ndarray, glow: np.ndarray, centre: tuple[float, float], cell: int, name: str, lit: bool, lens: str,
    upright: bool, body: np.ndarray, rng: Rng,
) -> None:  # fmt: skip
    """One lens under its hood."""
    place = (round(centre[0]), round(centre[1]))
    radius = round(cell * 0.4)
    cv2.circle(picture, place, round(cell * 0.45), ints(body * 0.55), -1)
    cv2.circle(picture, place, radius, ints(np.array(DARK[name]) * rng.uniform(0.7, 1.1)), -1)
    if lit:
        shape = _lens_shape(glow.shape[:2], place, radius, lens, upright, name, rng)
        y, x = np.mgrid[: glow.shape[0], : glow.shape[1]].astype(np.float32)
        fall = 1.1 - 0.5 * np.clip(np.hypot(x - place[0], y - place[1]) / radius, 0, 1.2) ** 2
        glow += tinted(shape.astype(np.float32) / 255 * fall, np.array(LIT[name]))
        picture[shape > 0] = ints(np.array(LIT[name]) * 80)
    # The hood hangs over the top of the lens and shades it; a head lying on its side has its hoods turned with it.
    start, stop = (180, 360) if upright else (270, 450)  # lying: turned a quarter later, the right becomes the top
    hood = round(cell * 0.44)
    cv2.ellipse(picture, place, (hood, hood), 0, start, stop, ints(body * 0.7), max(3, round(cell * 0.075)))
    if not lit:
        spark = (round(place[0] - radius * 0.3), round(place[1] + radius * 0.25))
        cv2.circle(picture, spark, max(1, round(cell * 0.05)), ints(np.array(DARK[name]) * 1.6 + 16), -1)


def _lens_shape(
    shape_hw: tuple[int, int], place: tuple[int, int], radius: int, lens: str, upright: bool, name: str, rng: Rng
) -> np.ndarray:
    """Mask of what shines in a lens."""
    mask = np.zeros(shape_hw, np.uint8)
    if lens == "disc":
        cv2.circle(mask, place, round(radius * 0.96), 255, -1)
        return mask
    if lens == "arrow":
        points = np.array(
            [(-0.75, 0), (-0.05, -0.65), (-0.05, -0.2), (0.75, -0.2), (0.75, 0.2), (-0.05, 0.2), (-0.05, 0.65)]
        )
        turn = np.radians(float(rng.choice([0, 90, 180])))
    else:
        walk = name == "green"
        leg = 0.35 if walk else 0.12
        points = np.array(
            [(-0.22, -0.35), (0.22, -0.35), (0.3, 0.2), (0.2, 0.2), (leg, 0.85), (leg - 0.18, 0.85), (0, 0.35),
             (0.18 - leg, 0.85), (-leg, 0.85), (-0.2, 0.2), (-0.3, 0.2)]
        )  # fmt: skip
        turn = 0.0
    if not upright:
        turn += np.pi / 2
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    cv2.fillPoly(mask, [np.round(points @ spin.T * radius + place).astype(np.int32)], 255)
    if lens == "figure":
        head = np.array([0, -0.6]) @ spin.T * radius + place
        cv2.circle(mask, (round(head[0]), round(head[1])), round(radius * 0.2), 255, -1)
    return mask
