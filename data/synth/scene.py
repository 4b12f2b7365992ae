"""One street scene: from (seed, split, index) to pixels and boxes."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from data.synth import difficulty, effects
from data.synth.atmosphere import Atmosphere, draw_atmosphere
from data.synth.canvas import Canvas, Track
from data.synth.compose import compose
from data.synth.furniture import draw_holder, draw_placed
from data.synth.ground import Ground
from data.synth.markings import lane_lines
from data.synth.layout import Layout, Placed
from data.synth.plan import image_rng, planned_counts
from data.synth.scenery import plan_scenery
from data.synth.sky import draw_sky, draw_skyline


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
    canvas, tracks = draw_scene(layout, air, rng)
    kept = [(class_id, track) for class_id, track in tracks if _is_labelled(track, layout)]
    image = effects.develop(canvas.rgb, air, rng)
    boxes = [track.box_xyxy_px() for _, track in kept]
    return Rendered(
        image,
        np.array([class_id for class_id, _ in kept], dtype=np.int64),
        np.array(boxes, dtype=float).reshape(-1, 4),
        [track.coverage for _, track in kept],
        int(rng.integers(*difficulty.JPEG_QUALITY)),
    )


def draw_scene(layout: Layout, air: Atmosphere, rng: np.random.Generator) -> tuple[Canvas, list[tuple[int, Track]]]:
    """Draw a layout from far to near; returns the picture in linear light and the labelled objects' tracks."""
    camera, street = layout.camera, layout.street
    canvas = Canvas(camera.width_px, camera.height_px)
    draw_sky(canvas, camera, air, rng)
    draw_skyline(canvas, camera, air, street.town, rng)
    ground = Ground(camera, street, air, rng)
    items = plan_scenery(layout, air, rng, ground)
    marks = lane_lines(street, rng) + layout.marks
    mark_tracks = ground.draw(canvas, marks)
    tracks = [(int(marks[place].class_id or 0), track) for place, track in mark_tracks.items()]
    below = canvas.track()
    below.add(0, ground.top, np.ones(ground.shape, np.float32))
    steps: list[tuple[float, Callable[[Canvas], None]]] = list(items)
    for placed in layout.placed:
        track = canvas.track() if placed.class_id is not None else None
        if track is not None and placed.class_id is not None:
            tracks.append((placed.class_id, track))
        own = np.random.default_rng(int(rng.integers(2**31)))
        steps.append((placed.ahead + 0.2, _holder(placed, layout, air)))
        steps.append((placed.ahead, _drawer(placed, layout, air, own, track)))
    for _, draw in sorted(steps, key=lambda step: -step[0]):
        draw(canvas)
    if air.rain:
        effects.wet_ground(canvas.rgb, camera, air, below.coverage, rng)
    return canvas, tracks


def _holder(placed: Placed, layout: Layout, air: Atmosphere) -> Callable[[Canvas], None]:
    return lambda canvas: draw_holder(canvas, layout, air, placed)


def _drawer(
    placed: Placed, layout: Layout, air: Atmosphere, rng: np.random.Generator, track: Track | None
) -> Callable[[Canvas], None]:
    return lambda canvas: draw_placed(canvas, layout, air, rng, placed, track)


def _is_labelled(track: Track, layout: Layout) -> bool:
    """Visible and large enough to be recognised."""
    box = track.box_xyxy_px()
    if box is None or track.visible_share() < difficulty.MIN_VISIBLE_SHARE:
        return False
    short, long = sorted((box[2:] - box[:2]) / layout.px_at_640)
    return bool(short >= difficulty.MIN_SHORT_SIDE_PX and long >= difficulty.MIN_LONG_SIDE_PX)
