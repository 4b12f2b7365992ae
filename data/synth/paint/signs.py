"""Faces of road signs, as pictures with transparency.

The two labelled faces are `no_driving` (white disc, red ring) and `no_parking` (blue disc, red ring, one red diagonal
from upper left to lower right). Every other face is a distractor; those in LOOKALIKES differ from a labelled face only
inside the ring (figures, pictures, a second diagonal).
"""

from collections.abc import Callable

import cv2
import numpy as np

from data.synth.paint import noise
from data.synth.world import difficulty
from data.synth.world.colour import tinted, triple

Rng = np.random.Generator
Colour = tuple[int, int, int]
SIZE = 160  # px of a finished face
FINE = 2  # drawn at this multiple
PX = SIZE * FINE

RED, BLUE, WHITE, BLACK, YELLOW = (186, 24, 36), (22, 62, 150), (238, 238, 236), (22, 22, 24), (246, 196, 30)


class _Face:
    """A square picture being drawn; coordinates run from 0 to 1."""

    def __init__(self) -> None:
        self.rgb = np.zeros((PX, PX, 3), np.uint8)
        self.alpha = np.zeros((PX, PX), np.uint8)

    def disc(self, radius: float, colour: Colour, x: float = 0.5, y: float = 0.5, shape: bool = False) -> None:
        """A filled circle; with `shape` it is part of the sheet itself."""
        place = (round(x * PX * 16), round(y * PX * 16)), round(radius * PX * 16)
        cv2.circle(self.rgb, *place, colour, -1, cv2.LINE_8, 4)
        if shape:
            cv2.circle(self.alpha, *place, 255, -1, cv2.LINE_8, 4)

    def polygon(self, points: list, colour: Colour, shape: bool = False) -> None:
        """A filled polygon; with `shape` it is part of the sheet itself."""
        fixed = [np.round(np.array(points) * PX * 16).astype(np.int32)]
        cv2.fillPoly(self.rgb, fixed, colour, cv2.LINE_8, 4)
        if shape:
            cv2.fillPoly(self.alpha, fixed, 255, cv2.LINE_8, 4)

    def bar(self, a: tuple[float, float], b: tuple[float, float], width: float, colour: Colour) -> None:
        """A straight bar with square ends."""
        way = np.subtract(b, a) / max(float(np.hypot(*np.subtract(b, a))), 1e-6)
        side = np.array([-way[1], way[0]]) * width / 2
        self.polygon([a + side, b + side, b - side, a - side], colour)

    def text(self, text: str, height: float, colour: Colour, y: float = 0.5, bold: float = 0.2) -> None:
        """Centred figures or letters."""
        thick = max(1, round(height * PX * bold))
        scale = cv2.getFontScaleFromHeight(cv2.FONT_HERSHEY_DUPLEX, round(height * PX), thick)
        (width, tall), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, thick)
        place = round(PX / 2 - width / 2), round(y * PX + tall / 2)
        cv2.putText(self.rgb, text, place, cv2.FONT_HERSHEY_DUPLEX, scale, colour, thick, cv2.LINE_AA)

    def ring(self, inner: Colour, ring: Colour, width: float) -> None:
        """A round sheet with a ring."""
        self.disc(0.485, WHITE, shape=True)
        self.disc(0.475, ring)
        self.disc(0.475 - width, inner)


def no_driving(face: _Face, rng: Rng) -> None:
    """Closed to all vehicles: nothing inside the red ring."""
    face.ring(WHITE, RED, rng.uniform(0.085, 0.125))


def no_parking(face: _Face, rng: Rng) -> None:
    """No parking: one red diagonal over blue, from upper left to lower right."""
    width = rng.uniform(0.075, 0.1)
    face.ring(BLUE, RED, width)
    face.bar((0.19, 0.19), (0.81, 0.81), width * 0.95, RED)


def _no_stopping(face: _Face, rng: Rng) -> None:
    no_parking(face, rng)
    face.bar((0.81, 0.19), (0.19, 0.81), 0.082, RED)


def _speed(face: _Face, rng: Rng) -> None:
    face.ring(WHITE, RED, rng.uniform(0.08, 0.11))
    face.text(str(rng.choice(["20", "30", "40", "50", "60", "70", "80"])), 0.34, BLACK)


def _weight(face: _Face, rng: Rng) -> None:
    face.ring(WHITE, RED, 0.09)
    face.text(str(rng.choice(["5t", "3.5t", "2m", "3.8m", "10t"])), 0.22, BLACK)


def _no_turn(face: _Face, rng: Rng) -> None:
    face.ring(WHITE, RED, 0.085)
    way = rng.choice([-1, 1])
    face.polygon([(0.46, 0.75), (0.56, 0.75), (0.56, 0.42), (0.46, 0.42)], BLACK)
    face.polygon([(0.5 + way * 0.27, 0.42), (0.5 + way * 0.1, 0.28), (0.5 + way * 0.1, 0.56)], BLACK)
    face.polygon(
        [(0.5 - way * 0.04, 0.37), (0.5 + way * 0.14, 0.37), (0.5 + way * 0.14, 0.47), (0.5 - way * 0.04, 0.47)], BLACK
    )
    face.bar((0.2, 0.2), (0.8, 0.8), 0.07, RED)


def _no_overtaking(face: _Face, rng: Rng) -> None:
    face.ring(WHITE, RED, 0.085)
    for x, colour in ((0.34, RED), (0.64, BLACK)):
        face.polygon([(x - 0.11, 0.62), (x + 0.11, 0.62), (x + 0.11, 0.5), (x - 0.11, 0.5)], colour)
        face.polygon([(x - 0.08, 0.5), (x + 0.08, 0.5), (x + 0.06, 0.4), (x - 0.06, 0.4)], colour)
    del rng


def _no_lorries(face: _Face, rng: Rng) -> None:
    face.ring(WHITE, RED, 0.09)
    face.polygon([(0.22, 0.34), (0.58, 0.34), (0.58, 0.6), (0.22, 0.6)], BLACK)
    face.polygon([(0.6, 0.42), (0.7, 0.42), (0.77, 0.52), (0.77, 0.6), (0.6, 0.6)], BLACK)
    face.disc(0.055, BLACK, 0.34, 0.63)
    face.disc(0.055, BLACK, 0.67, 0.63)
    if rng.random() < 0.5:
        face.bar((0.2, 0.2), (0.8, 0.8), 0.06, RED)


def _no_entry(face: _Face, rng: Rng) -> None:
    face.disc(0.485, WHITE, shape=True)
    face.disc(0.47, RED)
    face.polygon([(0.15, 0.42), (0.85, 0.42), (0.85, 0.58), (0.15, 0.58)], WHITE)
    del rng


def _must(face: _Face, rng: Rng) -> None:
    """Blue disc with a white arrow."""
    face.disc(0.485, WHITE, shape=True)
    face.disc(0.47, BLUE)
    shaft = np.array(
        [(-0.055, 0.3), (0.055, 0.3), (0.055, -0.05), (0.18, -0.05), (0, -0.32), (-0.18, -0.05), (-0.055, -0.05)]
    )
    turn = np.radians(rng.choice([0, 90, -90, 135, -135]))
    spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    face.polygon(list(shaft @ spin + 0.5), WHITE)


def _end_of_limit(face: _Face, rng: Rng) -> None:
    face.disc(0.485, (150, 150, 150), shape=True)
    face.disc(0.465, WHITE)
    for shift in (-0.09, 0.0, 0.09) if rng.random() < 0.6 else (0.0,):
        face.bar((0.82 + shift, 0.18 + shift), (0.18 + shift, 0.82 + shift), 0.035, BLACK)
    face.alpha[:] = 0
    cv2.circle(face.alpha, (PX // 2, PX // 2), round(0.485 * PX), 255, -1)


def _stop(face: _Face, rng: Rng) -> None:
    turn = np.radians(22.5 + 45 * np.arange(8))
    rim = np.stack([np.cos(turn), np.sin(turn)], 1)
    face.polygon(list(rim * 0.5 + 0.5), WHITE, shape=True)
    face.polygon(list(rim * 0.475 + 0.5), RED)
    face.text("STOP", 0.22, WHITE, bold=0.22)
    del rng


def _give_way(face: _Face, rng: Rng) -> None:
    face.polygon([(0.01, 0.06), (0.99, 0.06), (0.5, 0.93)], RED, shape=True)
    face.polygon([(0.18, 0.16), (0.82, 0.16), (0.5, 0.73)], WHITE)
    del rng


def _warning(face: _Face, rng: Rng) -> None:
    yellow = rng.random() < 0.4
    face.polygon([(0.01, 0.93), (0.99, 0.93), (0.5, 0.06)], BLACK if yellow else RED, shape=True)
    face.polygon([(0.15, 0.85), (0.85, 0.85), (0.5, 0.22)], YELLOW if yellow else WHITE)
    if rng.random() < 0.5:
        face.text("!", 0.36, BLACK, 0.63)
    else:
        bend = rng.choice([-1, 1]) * 0.06
        face.bar((0.5 - bend, 0.8), (0.5 + bend, 0.62), 0.07, BLACK)
        face.bar((0.5 + bend, 0.64), (0.5 - bend, 0.44), 0.07, BLACK)


def _priority(face: _Face, rng: Rng) -> None:
    for reach, colour in ((0.49, WHITE), (0.47, BLACK), (0.45, WHITE), (0.31, YELLOW)):
        diamond = [(0.5, 0.5 - reach), (0.5 + reach, 0.5), (0.5, 0.5 + reach), (0.5 - reach, 0.5)]
        face.polygon(diamond, colour, shape=reach == 0.49)
    del rng


def _board(face: _Face, rng: Rng) -> None:
    """Blue or green board: parking, directions."""
    colour = (BLUE, (20, 104, 66))[rng.integers(2)]
    face.polygon([(0.02, 0.04), (0.98, 0.04), (0.98, 0.96), (0.02, 0.96)], WHITE, shape=True)
    face.polygon([(0.05, 0.07), (0.95, 0.07), (0.95, 0.93), (0.05, 0.93)], colour)
    if rng.random() < 0.45:
        face.text("P", 0.5, WHITE)
        return
    for y in (0.25, 0.5, 0.75):
        length = rng.uniform(0.3, 0.6)
        face.bar((0.15, y), (0.15 + length, y), 0.08, WHITE)
        face.polygon([(0.8, y - 0.08), (0.9, y), (0.8, y + 0.08)], WHITE)


def _advert(face: _Face, rng: Rng) -> None:
    """A round shop sign: any colours, a letter or a simple figure, never an empty white disc in red."""
    outer, inner, ink = (_any_colour(rng) for _ in range(3))
    face.disc(0.49, outer, shape=True)
    face.disc(rng.uniform(0.3, 0.43), inner)
    if rng.random() < 0.6:
        face.text(str(rng.choice(list("ABEGKMRSQ8"))), 0.4, ink)
    else:
        face.disc(0.16, ink, 0.5, 0.5)
        face.bar((0.15, 0.68), (0.85, 0.68), 0.1, ink)


def _any_colour(rng: Rng) -> Colour:
    red, green, blue = rng.uniform(20, 235, 3).astype(int).tolist()
    return red, green, blue


def _back(face: _Face, rng: Rng) -> None:
    """A sign seen from behind: bare metal."""
    grey = int(rng.uniform(120, 170))
    face.disc(0.485, (grey, grey, grey + 4), shape=True)
    face.bar((0.0, 0.4), (1.0, 0.4), 0.05, (grey - 40, grey - 40, grey - 38))
    face.bar((0.0, 0.62), (1.0, 0.62), 0.05, (grey - 40, grey - 40, grey - 38))


FACES: dict[str, Callable[[_Face, Rng], None]] = {
    "no_driving": no_driving,
    "no_parking": no_parking,
    "no_stopping": _no_stopping,
    "speed": _speed,
    "weight": _weight,
    "no_turn": _no_turn,
    "no_overtaking": _no_overtaking,
    "no_lorries": _no_lorries,
    "no_entry": _no_entry,
    "must": _must,
    "end_of_limit": _end_of_limit,
    "stop": _stop,
    "give_way": _give_way,
    "warning": _warning,
    "priority": _priority,
    "board": _board,
    "advert": _advert,
    "back": _back,
}
LABELLED = {"no_driving": 3, "no_parking": 4}
LOOKALIKES = ("no_stopping", "speed", "weight", "no_turn", "no_overtaking", "no_lorries", "advert", "end_of_limit")
ROUND = (*LABELLED, *LOOKALIKES, "no_entry", "must")  # these may hang on a board
OTHERS = {  # how often each is drawn, relative to the others
    "speed": 4.0, "no_stopping": 3.0, "no_entry": 2.0, "must": 2.5, "no_turn": 1.5, "no_overtaking": 1.0, "weight": 1.0,
    "no_lorries": 1.2, "end_of_limit": 0.8, "stop": 0.8, "give_way": 1.0, "warning": 1.5, "priority": 0.6, "board": 2.0,
    "advert": 2.0, "back": 1.0,
}  # fmt: skip


def draw_face(kind: str, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """A sign's face with fading and dirt: sRGB (SIZE, SIZE, 3) uint8, and coverage (SIZE, SIZE) 0..1."""
    face = _Face()
    FACES[kind](face, rng)
    rgb = cv2.resize(face.rgb, (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(np.float32)
    alpha = cv2.resize(face.alpha, (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    fade = np.float32(rng.uniform(*difficulty.SIGN_FADE) * rng.random())
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    rgb = rgb * (1 - fade) + triple(grey * (fade * np.float32(0.6)) + fade * np.float32(76))
    dirt = np.clip(noise.patch(1.4, SIZE, SIZE, rng) * np.float32(0.5) - 0.2, 0, 1) * np.float32(rng.uniform(0, 0.5))
    rgb = rgb * triple(1 - dirt) + tinted(dirt, np.array([96, 84, 70]))
    if rng.random() < 0.08:  # a sticker
        x, y = rng.integers(SIZE // 5, SIZE * 2 // 3, 2)
        rgb[y : y + SIZE // 10, x : x + SIZE // 7] = rng.uniform(60, 220, 3)
    return cv2.convertScaleAbs(rgb), alpha
