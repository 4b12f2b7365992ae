"""A dash camera above a flat road: world points to pixels and back.

World points are (lateral, ahead, up) in metres along the road: lateral 0 is the middle of the road, right is positive,
ahead follows the road's bend, the camera stands at ahead 0. Pitch is a shift of the horizon (small angles).
"""

import math
from dataclasses import dataclass

import numpy as np

NEAR_M = 0.4  # nothing nearer to the lens than this is drawn
STRAIGHT_AFTER_M = 120.0  # a bend ends here, or it would turn back on itself


@dataclass(frozen=True)
class Camera:
    """Pinhole camera; angles in radians, `bend` is the road's curvature in 1/m (positive to the right)."""

    width_px: int
    height_px: int
    focal_px: float
    horizon_px: float
    eye_m: float
    lateral_m: float
    yaw: float = 0.0
    roll: float = 0.0
    bend: float = 0.0

    def bend_m(self, ahead_m: np.ndarray | np.float64) -> np.ndarray:
        """How far the road has turned aside at a distance."""
        if not self.bend:
            return np.zeros_like(ahead_m)
        curved = np.clip(ahead_m, 0, STRAIGHT_AFTER_M)
        return self.bend * (curved**2 / 2 + STRAIGHT_AFTER_M * np.maximum(ahead_m - STRAIGHT_AFTER_M, 0))

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """World points (n, 3) to camera axes (right, depth, up), in metres."""
        points = np.asarray(points, dtype=float)
        ahead = points[:, 1]
        x = points[:, 0] - self.lateral_m
        if self.bend:
            x = x + self.bend_m(ahead)
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        turned = np.empty_like(points)
        turned[:, 0] = x * cos - ahead * sin
        turned[:, 1] = x * sin + ahead * cos
        turned[:, 2] = points[:, 2] - self.eye_m
        return turned

    def to_pixels(self, camera_points: np.ndarray) -> np.ndarray:
        """Camera axes (n, 3) with positive depth to pixels (n, 2)."""
        zoom = self.focal_px / camera_points[:, 1]
        x = zoom * camera_points[:, 0]
        y = self.horizon_px - self.height_px / 2 - zoom * camera_points[:, 2]
        cos, sin = math.cos(self.roll), math.sin(self.roll)
        pixels = np.empty((len(x), 2))
        pixels[:, 0] = x * cos - y * sin + self.width_px / 2
        pixels[:, 1] = x * sin + y * cos + self.height_px / 2
        return pixels

    def project(self, points: np.ndarray) -> np.ndarray:
        """The polygon of world points (n, 3) in pixels (m, 2), cut at the near plane; m is 0 when all lies behind."""
        return self.to_pixels(clip_near(self.to_camera(points)))

    def scale(self, lateral: float, ahead: float) -> float:
        """Pixels per metre at a place on the road."""
        right = lateral - self.lateral_m + (float(self.bend_m(np.float64(ahead))) if self.bend else 0.0)
        depth = right * math.sin(self.yaw) + ahead * math.cos(self.yaw)
        return self.focal_px / max(depth, NEAR_M)

    def ground(self) -> tuple[int, np.ndarray, np.ndarray]:
        """The first image row that shows ground everywhere, and each pixel's (lateral, ahead) from there down."""
        slack = abs(np.tan(self.roll)) * self.width_px / 2
        top = int(np.clip(np.floor(self.horizon_px - slack), 0, self.height_px - 1))
        x = np.arange(self.width_px, dtype=np.float32)[None] + 0.5 - self.width_px / 2
        y = np.arange(top, self.height_px, dtype=np.float32)[:, None] + 0.5 - self.height_px / 2
        cos, sin = np.float32(np.cos(self.roll)), np.float32(np.sin(self.roll))
        across, below = x * cos + y * sin, y * cos - x * sin
        below = np.maximum(below + np.float32(self.height_px / 2 - self.horizon_px), np.float32(0.35))
        depth = np.float32(self.focal_px * self.eye_m) / below
        right = across * depth / np.float32(self.focal_px)
        cos, sin = np.float32(np.cos(self.yaw)), np.float32(np.sin(self.yaw))
        ahead = depth * cos - right * sin
        lateral = right * cos + depth * sin
        if self.bend:
            lateral = lateral - self.bend_m(ahead).astype(np.float32)
        return top, lateral + np.float32(self.lateral_m), ahead


def clip_near(camera_points: np.ndarray) -> np.ndarray:
    """Cut a polygon in camera axes at depth NEAR_M (Sutherland-Hodgman)."""
    if camera_points[:, 1].min() >= NEAR_M:
        return camera_points
    inside = camera_points[:, 1] >= NEAR_M
    kept = []
    for i in range(len(camera_points)):
        previous, point = camera_points[i - 1], camera_points[i]
        if inside[i] != inside[i - 1]:
            kept.append(previous + (point - previous) * (NEAR_M - previous[1]) / (point[1] - previous[1]))
        if inside[i]:
            kept.append(point)
    return np.array(kept).reshape(-1, 3)
