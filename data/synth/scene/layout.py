"""What a scene shows and where, before anything is drawn: the camera, the street, painted marks, signs and lights."""

from dataclasses import dataclass, field

import numpy as np

from data.synth.options import CLASS_NAMES
from data.synth.paint.markings import Mark
from data.synth.world import difficulty
from data.synth.world.camera import Camera
from data.synth.world.street import Street

Rng = np.random.Generator
RED_TL, ARR_S, ARR_L, NO_DRIVING, NO_PARKING = range(len(CLASS_NAMES))


@dataclass(frozen=True, eq=False)
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
    state: str = ""  # of a head: red, amber, green, dark, back
    lamp_m: float = 0.3
    group: int = 0  # heads of one junction look alike
    post_at: float | None = None  # lateral of the post it shares with another head


@dataclass(frozen=True, eq=False)
class Painted:
    """A labelled arrow on the road."""

    box_px: np.ndarray
    lateral: float
    ahead: float
    length_m: float
    may_hide: float


@dataclass
class Layout:
    """Everything about a scene that is decided before drawing."""

    camera: Camera
    street: Street
    marks: list[Mark] = field(default_factory=list)
    arrows: list[Painted] = field(default_factory=list)
    placed: list[Placed] = field(default_factory=list)
    hood: float = 0.0  # share of the image's height that the own bonnet takes at the bottom

    @property
    def px_at_640(self) -> float:
        """Image pixels per pixel of the same image at 640 px width."""
        return self.camera.width_px / 640

    def free(self, box: np.ndarray, gap: float = 0.1) -> bool:
        """True when no sign, light or labelled arrow is predicted within `gap` box sizes of `box`."""
        side = (box[2:] - box[:2]) * gap
        wide = np.concatenate([box[:2] - side, box[2:] + side])
        return all(overlap(wide, other.box_px) <= 0 for other in (*self.placed, *self.arrows))

    def hides(self, box: np.ndarray, depth: float, besides: "Placed | Painted | None" = None) -> bool:
        """True when something that fills `box` at `depth` would hide more of an object than that allows."""
        labelled = [placed for placed in self.placed if placed.class_id is not None]
        for other in (*labelled, *self.arrows):
            x1, y1, x2, y2 = other.box_px
            if (
                other is not besides
                and other.ahead > depth
                and overlap(box, other.box_px) > other.may_hide * (x2 - x1) * (y2 - y1)
            ):
                return True
        return False

    def upright_box(self, lateral: float, ahead: float, up: float, width: float, height: float) -> np.ndarray | None:
        """Predicted box of an upright rectangle with its middle at a place; None when it is behind the camera."""
        corners = [[lateral + x * width / 2, ahead, up + y * height / 2] for x in (-1, 1) for y in (-1, 1)]
        points = self.camera.project(np.array(corners))
        return np.concatenate([points.min(0), points.max(0)]) if len(points) == 4 else None

    def inside(self, box: np.ndarray, cut: float = 0.0) -> bool:
        """True when the frame holds the box; `cut` is the share of each side that may stick out."""
        slack = (box[2:] - box[:2]) * cut
        size = np.array([self.camera.width_px, self.camera.height_px * (1 - self.hood)])
        return bool((box[:2] + slack >= 1).all() and (box[2:] - slack <= size - 1).all())


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Area shared by two boxes x1, y1, x2, y2."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return float(width * height) if width > 0 and height > 0 else 0.0


def draw_camera(rng: Rng, street: Street, counts: tuple[int, ...], image_px: tuple[int, int]) -> Camera:
    """A camera in one of the own lanes, tilted so that what the image is to show can be in it."""
    width, height = image_px
    focal = width * float(np.exp(rng.uniform(np.log(0.62), np.log(1.45))))
    arrows = counts[ARR_S] + counts[ARR_L]
    low, high = (0.36, 0.56) if arrows else (0.54, 0.82) if counts[RED_TL] else (0.42, 0.66)
    turned = rng.random() < 0.25
    return Camera(
        width_px=width,
        height_px=height,
        focal_px=focal,
        horizon_px=float(rng.uniform(low, high) * height),
        eye_m=float(rng.uniform(1.15, 1.6) if rng.random() < 0.75 else rng.uniform(1.8, 2.6)),
        lateral_m=street.own_lanes()[int(rng.integers(street.lanes_own))] + float(rng.normal(0, 0.25)),
        yaw=float(rng.uniform(-0.26, 0.26) if turned else np.clip(rng.normal(0, 0.05), -0.15, 0.15)),
        roll=float(np.clip(rng.normal(0, 0.018), -0.05, 0.05)),
        bend=0.0 if rng.random() < 0.6 else float(rng.choice([-1, 1]) / rng.uniform(180, 900)),
    )


def draw_size(rng: Rng, what: str) -> float:
    """A target size in pixels at 640 px width."""
    low, high = difficulty.SIZE_PX[what]
    return float(low * (high / low) ** (rng.random() ** difficulty.SIZE_BIAS[what]))


def draw_allowance(rng: Rng) -> float:
    """How much of an object may be hidden."""
    hidden = rng.random() < difficulty.OCCLUDED_SHARE
    return float(rng.uniform(*difficulty.OCCLUDED)) if hidden else 0.03
