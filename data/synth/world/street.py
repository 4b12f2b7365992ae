"""The layout of a street: lanes, kerbs, pavements and a crossing road, in metres along and across the road."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

FAR_M = 260.0  # the road is drawn up to here
Span = tuple[float, float]


@dataclass(frozen=True)
class Street:
    """Lateral 0 parts the directions; own lanes lie on the side that the country drives on."""

    right_hand: bool
    lane_m: float
    lanes_own: int
    lanes_oncoming: int
    pavement_m: tuple[float, float]  # left, right
    setback_m: tuple[float, float]  # from the kerb to the house fronts
    town: float  # 0 countryside, 1 city
    junction: Span | None  # ahead from, to

    @property
    def side(self) -> int:
        """+1 when own lanes are right of lateral 0, else -1."""
        return 1 if self.right_hand else -1

    @property
    def kerbs(self) -> Span:
        """Lateral of the left and the right kerb."""
        own, oncoming = self.lanes_own * self.lane_m + 0.4, self.lanes_oncoming * self.lane_m + 0.4
        return (-oncoming, own) if self.right_hand else (-own, oncoming)

    @property
    def fronts(self) -> Span:
        """Lateral of the house fronts; what stands beyond is hidden by them."""
        left, right = self.kerbs
        return left - self.setback_m[0], right + self.setback_m[1]

    def own_lanes(self) -> list[float]:
        """Lateral of the middles of the lanes of the own direction, from the middle of the road outwards."""
        return [self.side * (i + 0.5) * self.lane_m for i in range(self.lanes_own)]

    def oncoming_lanes(self) -> list[float]:
        """Lateral of the middles of the other direction's lanes, from the middle of the road outwards."""
        return [-self.side * (i + 0.5) * self.lane_m for i in range(self.lanes_oncoming)]

    def free_spans(self, start: float, stop: float, margin: float = 0.0) -> list[Span]:
        """The parts of [start, stop] ahead that the crossing road leaves."""
        if self.junction is None or self.junction[0] - margin >= stop or self.junction[1] + margin <= start:
            return [(start, stop)]
        spans = [(start, self.junction[0] - margin), (self.junction[1] + margin, stop)]
        return [span for span in spans if span[1] - span[0] > 0.5]


def draw_street(rng: np.random.Generator, lanes: int) -> Street:
    """A random street with at least `lanes` lanes in the own direction; a junction is added later."""
    town = float(rng.choice([0.0, 0.5, 1.0], p=[0.16, 0.34, 0.5]))
    own = max(lanes, int(rng.choice([1, 2, 3], p=[0.45, 0.4, 0.15])))
    oncoming = int(rng.choice([0, 1, 2, 3], p=[0.12, 0.5, 0.28, 0.1]))
    oncoming = min(oncoming, own + 1)
    pavement = rng.uniform(1.6, 4.0, 2)
    setback = pavement + rng.uniform(0.2, 1.5, 2) + (1 - town) * rng.uniform(1, 14, 2)
    return Street(
        right_hand=bool(rng.random() < 0.65),
        lane_m=float(rng.uniform(2.9, 3.6)),
        lanes_own=own,
        lanes_oncoming=oncoming,
        pavement_m=(float(pavement[0]), float(pavement[1])),
        setback_m=(float(setback[0]), float(setback[1])),
        town=town,
        junction=None,
    )


def strip(left: float, right: float, start: float, stop: float, pieces: int = 14) -> np.ndarray:
    """The outline (n, 2) of a band along the road as (lateral, ahead), fine enough to follow a bend."""
    if stop - start < 12:
        pieces = 3
    low, high = max(start, 0.05), max(stop, 0.06)
    ahead = low * (high / low) ** _steps(pieces)
    outline = np.empty((2 * pieces, 2))
    outline[:pieces, 0], outline[pieces:, 0] = left, right
    outline[:pieces, 1], outline[pieces:, 1] = ahead, ahead[::-1]
    return outline


@lru_cache(maxsize=8)
def _steps(pieces: int) -> np.ndarray:
    return np.linspace(0, 1, pieces)


def on_ground(outline: np.ndarray, up: float = 0.0) -> np.ndarray:
    """(n, 2) lateral, ahead -> (n, 3) world points at a height."""
    points = np.empty((len(outline), 3))
    points[:, :2], points[:, 2] = outline, up
    return points
