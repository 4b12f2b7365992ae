"""One street scene: from (seed, split, index) to pixels and boxes."""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from data.synth.paint import effects
from data.synth.paint.canvas import Canvas, Sighting
from data.synth.paint.ground import Ground
from data.synth.paint.markings import lane_lines
from data.synth.paint.sky import draw_sky, draw_skyline
from data.synth.scene.compose import compose
from data.synth.scene.furniture import draw_holder, draw_hood, draw_placed
from data.synth.scene.layout import Layout, Placed
from data.synth.scene.plan import image_rng, planned_counts
from data.synth.scene.scenery import plan_scenery
from data.synth.world import difficulty
from data.synth.world.atmosphere import Atmosphere, draw_atmosphere


class Rendered(NamedTuple):
    """One drawn image and the objects that can be seen in it."""

    image: np.ndarray  # uint8 (H, W, 3) RGB
    classes: np.ndarray  # int64 (n,)
    boxes_xyxy_px: np.ndarray  # float64 (n, 4), tight around the visible part
    masks: list[np.ndarray]  # float32 (H, W) visible coverage 0..1, one per object
    jpeg_quality: int

    @property
    def boxes_cxcywh_norm(self) -> np.ndarray:
        """The boxes as centre and size, as fractions of the image."""
        height, width = self.image.shape[:2]
        x1, y1, x2, y2 = self.boxes_xyxy_px.reshape(-1, 4).T / np.array([width, height, width, height])[:, None]
        return np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], axis=1)


def render(seed: int, split: str, index: int, image_px: tuple[int, int]) -> Rendered:
    """Draw image `index` of `split`; equal arguments give equal pixels."""
    rng = image_rng(seed, split, index)
    air = draw_atmosphere(rng)
    layout = compose(rng, planned_counts(seed, split, index), image_px)
    canvas, sightings = draw_scene(layout, air, rng)
    image = effects.develop(canvas.rgb, air, rng)
    soft = cv2.blur(image, (3, 3))
    kept = [sighting for sighting in sightings if _is_labelled(sighting, layout, soft)]
    return Rendered(
        image,
        np.array([sighting.class_id for sighting in kept], dtype=np.int64),
        np.array([sighting.whole.box_xyxy_px() for sighting in kept], dtype=float).reshape(-1, 4),
        [sighting.whole.coverage for sighting in kept],
        int(rng.integers(*difficulty.JPEG_QUALITY)),
    )


def draw_scene(layout: Layout, air: Atmosphere, rng: np.random.Generator) -> tuple[Canvas, list[Sighting]]:
    """Draw a layout from far to near; returns the picture in linear light and the objects to label."""
    camera, street = layout.camera, layout.street
    canvas = Canvas(camera.width_px, camera.height_px)
    draw_sky(canvas, camera, air, rng)
    draw_skyline(canvas, camera, air, street.town, rng)
    ground = Ground(camera, street, air, rng)
    items = plan_scenery(layout, air, rng, ground)
    sightings = ground.draw(canvas, lane_lines(street, rng) + layout.marks)
    below = canvas.track()
    below.add(0, ground.top, np.ones(ground.shape, np.float32))
    steps: list[tuple[float, Callable[[Canvas], None]]] = list(items)
    for placed in layout.placed:
        sighting = None
        if placed.class_id is not None:
            sighting = Sighting(placed.class_id, canvas.track(), canvas.track() if placed.kind == "head" else None)
            sightings.append(sighting)
        own = np.random.default_rng(int(rng.integers(2**31)))
        steps.append((placed.ahead + 0.2, _holder(placed, layout, air)))
        steps.append((placed.ahead, _drawer(placed, layout, air, own, sighting)))
    for _, draw in sorted(steps, key=lambda step: -step[0]):
        draw(canvas)
    if air.rain:
        effects.wet_ground(canvas.rgb, camera, air, below.coverage, rng)
    if layout.hood:
        draw_hood(canvas, layout, air, rng)
    return canvas, sightings


def _holder(placed: Placed, layout: Layout, air: Atmosphere) -> Callable[[Canvas], None]:
    return lambda canvas: draw_holder(canvas, layout, air, placed)


def _drawer(
    placed: Placed, layout: Layout, air: Atmosphere, rng: np.random.Generator, sighting: Sighting | None
) -> Callable[[Canvas], None]:
    return lambda canvas: draw_placed(canvas, layout, air, rng, placed, sighting)


def _is_labelled(sighting: Sighting, layout: Layout, soft: np.ndarray) -> bool:
    """Visible, large enough, and distinct enough in the (softened) picture to be recognised."""
    track, core = sighting.whole, sighting.core
    box = track.box_xyxy_px()
    if box is None or track.visible_share() < difficulty.MIN_VISIBLE_SHARE:
        return False
    if core is not None and core.visible_share() < difficulty.MIN_VISIBLE_CORE:
        return False
    short, long = sorted((box[2:] - box[:2]) / layout.px_at_640)
    if short < difficulty.MIN_SHORT_SIDE_PX or long < difficulty.MIN_LONG_SIDE_PX:
        return False
    return contrast(soft, track.coverage, box) >= difficulty.MIN_CONTRAST


def contrast(picture: np.ndarray, coverage: np.ndarray, box: np.ndarray) -> float:
    """How far the most distinct fifth of an object is from the median of what surrounds it, in levels of 255."""
    pad = int(max(3, 0.25 * max(box[2:] - box[:2])))
    x1, y1 = (int(v) for v in np.maximum(np.floor(box[:2]) - pad, 0))
    x2, y2 = (int(v) + pad for v in np.ceil(box[2:]))
    part, cover = picture[y1:y2, x1:x2].astype(np.float32), coverage[y1:y2, x1:x2]
    around, inside = part[cover < 0.05], part[cover > 0.4]
    if not len(around) or not len(inside):
        return 0.0
    apart = np.abs(inside - np.median(around, axis=0)).max(axis=1)
    return float(np.sort(apart)[-max(1, len(apart) // 5) :].mean())
