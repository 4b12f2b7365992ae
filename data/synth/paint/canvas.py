"""A picture in linear light that things are drawn into from far to near, with exact visibility of chosen ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from data.synth.world.colour import triple

LIMIT = 2.0**26  # fixed-point coordinates beyond this overflow in OpenCV
EDGE = 0.2  # coverage from which a pixel counts as part of an object when its box is taken


@dataclass
class Track:
    """An object whose visibility is followed: its coverage in each pixel as later things hide it."""

    coverage: np.ndarray  # float32 (H, W) 0..1
    area_px: float = 0.0  # drawn area, also outside the frame
    bounds: tuple[int, int, int, int] = (0, 0, 0, 0)  # x1, y1, x2, y2 of everything drawn

    def add(self, x: int, y: int, alpha: np.ndarray, area_px: float = 0.0) -> None:
        """Count coverage `alpha` (h, w) at pixel (x, y) as part of the object."""
        self.area_px += area_px
        if alpha.size:
            height, width = alpha.shape
            part = self.coverage[y : y + height, x : x + width]
            part += alpha * (1 - part)
            self.bounds = _union(self.bounds, (x, y, x + width, y + height))

    def visible_share(self) -> float:
        """Visible area over drawn area."""
        x1, y1, x2, y2 = self.bounds
        return float(self.coverage[y1:y2, x1:x2].sum() / self.area_px) if self.area_px else 0.0

    def box_xyxy_px(self) -> np.ndarray | None:
        """The tight box of what is visible, edges to a fraction of a pixel; None when nothing is."""
        x1, y1, x2, y2 = self.bounds
        part = self.coverage[y1:y2, x1:x2]
        if not part.size:
            return None
        edges = []
        for profile, start in ((part.max(0), x1), (part.max(1), y1)):
            seen = np.flatnonzero(profile >= EDGE)
            if not len(seen):
                return None
            first, last = seen[0], seen[-1]
            edges.append((start + first + 1 - profile[first], start + last + profile[last]))
        (left, right), (upper, lower) = edges
        return np.array([left, upper, right, lower], dtype=float)


@dataclass(frozen=True)
class Sighting:
    """A labelled object: all of it, and the part that tells it from others (a lit lens, an arrow's head)."""

    class_id: int
    whole: Track
    core: Track | None


class Canvas:
    """RGB in linear light, and the tracks of the objects drawn so far."""

    def __init__(self, width_px: int, height_px: int) -> None:
        self.rgb = np.zeros((height_px, width_px, 3), np.float32)
        self.tracks: list[Track] = []

    def track(self) -> Track:
        """Start following an object; hand the result to the calls that draw it."""
        self.tracks.append(Track(np.zeros(self.rgb.shape[:2], np.float32)))
        return self.tracks[-1]

    def blend(self, x: int, y: int, alpha: np.ndarray, colour: np.ndarray, track: Track | None = None) -> None:
        """Draw `colour` ((3,) or (h, 1, 3)) with opacity `alpha` (h, w) at pixel (x, y), all inside the frame."""
        height, width = alpha.shape
        if not alpha.size:
            return
        region = self.rgb[y : y + height, x : x + width]
        region *= triple(1 - alpha)
        region += cv2.merge([alpha * colour[..., c] for c in range(3)])
        self._hide(x, y, alpha, track)

    def _hide(self, x: int, y: int, alpha: np.ndarray, own: Track | None) -> None:
        """Lower the coverage of what lies behind, raise the object's own."""
        height, width = alpha.shape
        for track in self.tracks:
            if track is own:
                track.add(x, y, alpha)
                continue
            x1, y1, x2, y2 = track.bounds
            if x1 < x + width and x < x2 and y1 < y + height and y < y2:
                x1, y1, x2, y2 = max(x1, x), max(y1, y), min(x2, x + width), min(y2, y + height)
                track.coverage[y1:y2, x1:x2] *= 1 - alpha[y1 - y : y2 - y, x1 - x : x2 - x]

    def polygon(
        self, points_px: np.ndarray, colour: np.ndarray, opacity: float = 1.0, track: Track | None = None
    ) -> None:
        """Fill a polygon (n, 2); `colour` is (3,) or (2, 3): a gradient from its top to its bottom."""
        if len(points_px) < 3:
            return
        x, y, alpha = polygon_mask(points_px, self.rgb.shape[:2])
        if not alpha.size:
            return
        if track is not None:
            track.area_px += polygon_area(points_px)
        colour = np.asarray(colour, np.float32)
        if colour.ndim == 2:
            top, bottom = points_px[:, 1].min(), points_px[:, 1].max()
            t = np.clip((np.arange(y, y + len(alpha)) + 0.5 - top) / max(bottom - top, 1e-6), 0, 1)
            colour = (colour[0] + t[:, None] * (colour[1] - colour[0])).astype(np.float32)[:, None]
        self.blend(x, y, alpha if opacity == 1 else alpha * np.float32(opacity), colour, track)

    def sprite(
        self,
        rgb: np.ndarray,
        alpha: np.ndarray,
        quad_px: np.ndarray,
        track: Track | None = None,
        emission: np.ndarray | None = None,
    ) -> None:
        """Draw a picture (h, w, 3) of radiance with opacity (h, w) onto a quad (top-left, then clockwise).

        `emission` (h, w, 3) is light of its own, added on top.
        """
        if len(quad_px) != 4 or polygon_area(quad_px) < 0.05:
            return
        planes = [plane * alpha for plane in cv2.split(rgb)]
        x, y, warped = warp(cv2.merge([*planes, alpha]), quad_px, self.rgb.shape[:2])
        if not warped.size:
            return
        *planes, seen = cv2.split(warped)
        seen = np.clip(seen, 0, 1)
        if track is not None:
            track.area_px += polygon_area(quad_px) * float(alpha.mean())
        region = self.rgb[y : y + seen.shape[0], x : x + seen.shape[1]]
        region *= triple(1 - seen)
        region += cv2.merge(planes)
        if emission is not None:
            region += warp(emission, quad_px, self.rgb.shape[:2])[2]
        self._hide(x, y, seen, track)


def polygon_area(points_px: np.ndarray) -> float:
    """Area of a simple polygon (n, 2)."""
    x, y = np.asarray(points_px, float).T
    inner = x[1:] @ y[:-1] - y[1:] @ x[:-1]
    return float(abs(inner + x[0] * y[-1] - y[0] * x[-1]) / 2)


def frame_part(points_px: np.ndarray, shape_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """The whole pixels (x1, y1, x2, y2) of the frame that a polygon can touch."""
    height, width = shape_hw
    (left, upper), (right, lower) = points_px.min(0).tolist(), points_px.max(0).tolist()
    x1, y1 = max(math.floor(left), 0), max(math.floor(upper), 0)
    x2, y2 = min(math.ceil(right), width), min(math.ceil(lower), height)
    return x1, y1, max(x2, x1), max(y2, y1)


def polygon_mask(points_px: np.ndarray, shape_hw: tuple[int, int]) -> tuple[int, int, np.ndarray]:
    """Anti-aliased coverage (h, w) of a polygon, and its place (x, y) in the frame."""
    x1, y1, x2, y2 = frame_part(points_px, shape_hw)
    width, height = x2 - x1, y2 - y1
    if not width or not height:
        return x1, y1, np.zeros((0, 0), np.float32)
    fine = 4 if width * height < 20_000 else 2
    mask = np.zeros((height * fine, width * fine), np.uint8)
    fill(mask, (points_px - (x1, y1)) * fine)
    return x1, y1, cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def fill(mask: np.ndarray, points: np.ndarray, value: int | Sequence[float] = 255) -> None:
    """Fill a polygon given in the mask's own pixels (corner origin), to 1/16 pixel."""
    fixed = np.rint(points * 16 - 8)
    np.minimum(np.maximum(fixed, -LIMIT, out=fixed), LIMIT, out=fixed)
    fixed = fixed.astype(np.int32)
    cv2.fillPoly(mask, [fixed], value, cv2.LINE_8, 4)


def warp(layers: np.ndarray, quad_px: np.ndarray, shape_hw: tuple[int, int]) -> tuple[int, int, np.ndarray]:
    """Warp a picture (h, w, 3 or 4) onto a quad, filtered at either end; returns its place (x, y) and the pixels."""
    x1, y1, x2, y2 = frame_part(quad_px, shape_hw)
    channels = layers.shape[2]
    if x2 == x1 or y2 == y1:
        return x1, y1, np.zeros((0, 0, channels), np.float32)
    fine = 3 if (x2 - x1) * (y2 - y1) < 6_000 else 2 if (x2 - x1) * (y2 - y1) < 60_000 else 1
    sides = np.linalg.norm(quad_px - np.roll(quad_px, -1, axis=0), axis=1) * fine
    want_w, want_h = max(sides[0], sides[2]), max(sides[1], sides[3])
    height, width = layers.shape[:2]
    new_w, new_h = int(np.clip(want_w * 1.2, 4, width)), int(np.clip(want_h * 1.2, 4, height))
    if (new_w, new_h) != (width, height):
        layers = cv2.resize(layers, (new_w, new_h), interpolation=cv2.INTER_AREA)
    source = np.array([[0, 0], [new_w, 0], [new_w, new_h], [0, new_h]], np.float32) - 0.5
    target = ((quad_px - (x1, y1)) * fine - 0.5).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(source, target)
    size = ((x2 - x1) * fine, (y2 - y1) * fine)
    warped = cv2.warpPerspective(layers, matrix, size, flags=cv2.INTER_LINEAR)
    if fine > 1:
        warped = cv2.resize(warped, (x2 - x1, y2 - y1), interpolation=cv2.INTER_AREA)
    return x1, y1, warped


def _union(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    if a[0] == a[2]:
        return b
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])
