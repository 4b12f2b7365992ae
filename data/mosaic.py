"""Mosaic: four images around a random centre on a canvas twice the training size (Bochkovskiy et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.augment import AugmentConfig, Sample, apply_warp, draw_warp, paste_mirrored, polygons_of
from data.images import FILL


def make_mosaic(rng: np.random.Generator, config: AugmentConfig, tiles: Sequence[Sample], size_px: int) -> Sample:
    """Combine four images, in random places, and warp the result to the training size.

    Args:
        rng: Source of randomness.
        config: Copy-paste share and warp ranges.
        tiles: Four images resized to a longer side of `size_px`, with their objects; left alone.
        size_px: Side of the square result.
    """
    centre_x, centre_y = rng.integers(size_px // 2, size_px * 2 - size_px // 2, 2).tolist()
    canvas = place_tiles([tiles[place] for place in rng.permutation(4)], (centre_x, centre_y), size_px)
    if config.copy_paste and canvas.polygons is not None:
        canvas = paste_mirrored(rng, config.copy_paste, canvas)
    return apply_warp(canvas, draw_warp(rng, config, canvas.image.shape[:2], (size_px, size_px)))


def place_tiles(tiles: Sequence[Sample], centre_xy: tuple[int, int], size_px: int) -> Sample:
    """Put four images on a grey canvas of twice `size_px`, each with one corner at the centre.

    Args:
        tiles: Top left, top right, bottom left, bottom right.
        centre_xy: Where they meet.
        size_px: Half the side of the canvas.

    Returns:
        The canvas with all objects, clipped to it; parts of a tile beyond the canvas are cut off.
    """
    side = 2 * size_px
    canvas = np.full((side, side, 3), FILL, np.uint8)
    centre_x, centre_y = centre_xy
    labels, polygons = [], []
    for position, tile in enumerate(tiles):
        height, width = tile.image.shape[:2]
        left = centre_x if position % 2 else centre_x - width
        top = centre_y if position >= 2 else centre_y - height
        x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + width, side), min(top + height, side)
        canvas[y1:y2, x1:x2] = tile.image[y1 - top : y2 - top, x1 - left : x2 - left]
        shifted = tile.labels.copy()
        shifted[:, 1:] += (left, top, left, top)
        labels.append(shifted)
        polygons += [None if outline is None else np.add(outline, (left, top)) for outline in polygons_of(tile)]
    rows = np.concatenate(labels)
    rows[:, 1:] = rows[:, 1:].clip(0, side)
    if all(outline is None for outline in polygons):
        return Sample(canvas, rows)
    return Sample(canvas, rows, [None if outline is None else outline.clip(0, side) for outline in polygons])
