"""Mosaic: places of the tiles, and the tiles that need not be read."""

import numpy as np
import pytest

from data.augmentation.augment import AugmentConfig, apply_warp, draw_warp
from data.augmentation.mosaic import Tile, make_mosaic, place_tiles, visible_region
from data.images import FILL

SIZE = 40
ALL = (0, 0, 2 * SIZE, 2 * SIZE)


def tile(level: int, height: int = SIZE, width: int = SIZE, reads: list[int] | None = None) -> Tile:
    """Return an image of one grey level with a box on all of it."""

    def read() -> np.ndarray:
        if reads is not None:
            reads.append(level)
        return np.full((height, width, 3), level, np.uint8)

    return Tile((height, width), np.array([[level, 0, 0, width, height]], np.float32), None, read)


def test_tiles_meet_at_the_centre() -> None:
    tiles = [tile(1), tile(2, 20), tile(3, SIZE, 30), tile(4)]
    canvas = place_tiles(tiles, (50, 30), SIZE, ALL)
    image = canvas.image[..., 0]
    assert image.shape == (80, 80)
    assert image[29, 49] == 1
    assert image[29, 50] == 2
    assert image[30, 49] == 3
    assert image[30, 50] == 4
    assert (image[10:30, 50:80] == 2).all()  # 20 high, cut off on the right
    assert (image[:10, 50:] == FILL).all()
    assert (image[30:70, 20:50] == 3).all()
    assert (image[30:, :20] == FILL).all()
    assert canvas.labels.tolist() == [
        [1, 10, 0, 50, 30],  # 10 rows cut off above
        [2, 50, 10, 80, 30],
        [3, 20, 30, 50, 70],
        [4, 50, 30, 80, 70],
    ]


def test_boxes_lie_on_their_tiles_wherever_the_centre_is() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        sizes = rng.integers(20, SIZE + 1, (4, 2)).tolist()
        centre = tuple(rng.integers(SIZE // 2, 2 * SIZE - SIZE // 2, 2).tolist())
        canvas = place_tiles([tile(level + 1, *size) for level, size in enumerate(sizes)], centre, SIZE, ALL)
        for level, x1, y1, x2, y2 in canvas.labels.astype(int).tolist():
            ys, xs = np.nonzero(canvas.image[..., 0] == level)
            assert [x1, y1, x2, y2] == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def test_polygons_move_with_their_tile() -> None:
    outline = np.array([[0, 0], [30, 0], [30, 40]], np.float32)
    with_outline = tile(3)._replace(polygons=[outline])
    canvas = place_tiles([tile(1), tile(2), with_outline, tile(4)], (50, 60), SIZE, ALL)
    assert canvas.polygons[:2] == [None, None]
    assert canvas.polygons[2].tolist() == [[10, 60], [40, 60], [40, 80]]  # cut off below
    assert place_tiles([tile(level) for level in range(4)], (50, 60), SIZE, ALL).polygons is None


@pytest.mark.parametrize(
    "config",
    [
        AugmentConfig(scale=0.5, translate=0.1),
        AugmentConfig(scale=0.9, translate=0.1),
        AugmentConfig(scale=0.9, translate=0.3, degrees=45, shear=10),
        AugmentConfig(scale=0.5, translate=0.1, perspective=0.001),
    ],
)
def test_tiles_that_are_not_read_change_nothing(config: AugmentConfig) -> None:
    rng = np.random.default_rng(0)
    skipped = 0
    for _ in range(150):
        reads: list[int] = []
        sizes = rng.integers(20, SIZE + 1, (4, 2)).tolist()
        tiles = [tile(level + 1, *size, reads=reads) for level, size in enumerate(sizes)]
        centre = tuple(rng.integers(SIZE // 2, 2 * SIZE - SIZE // 2, 2).tolist())
        warp = draw_warp(rng, config, (2 * SIZE, 2 * SIZE), (SIZE, SIZE))
        full = apply_warp(place_tiles(tiles, centre, SIZE, ALL), warp)
        reads.clear()
        part = apply_warp(place_tiles(tiles, centre, SIZE, visible_region(warp, 2 * SIZE)), warp)
        np.testing.assert_array_equal(part.image, full.image)
        np.testing.assert_array_equal(part.labels, full.labels)
        skipped += 4 - len(reads)
    assert (skipped > 0) == (config.perspective == 0)


def test_the_four_images_are_placed_at_random() -> None:
    seen = {
        make_mosaic(np.random.default_rng(seed), AugmentConfig(), [tile(level) for level in range(1, 5)], SIZE)
        .image[SIZE // 2, SIZE // 2, 0]
        .item()
        for seed in range(40)
    }
    assert seen == {1, 2, 3, 4}


def test_copy_paste_works_on_the_canvas() -> None:
    outline = np.array([[5, 5], [15, 5], [15, 15], [5, 15]], np.float32)
    bare = Tile((SIZE, SIZE), np.array([[0, 5, 5, 15, 15]], np.float32), [outline], tile(9).read)
    counts = {
        share: [
            len(make_mosaic(np.random.default_rng(seed), AugmentConfig(copy_paste=share), [bare] * 4, SIZE).labels)
            for seed in range(10)
        ]
        for share in (0.0, 1.0)
    }
    reads: list[int] = []
    tiles = [bare._replace(read=tile(level, reads=reads).read) for level in range(4)]
    for seed in range(10):
        make_mosaic(np.random.default_rng(seed), AugmentConfig(copy_paste=1.0, scale=0.9), tiles, SIZE)
    assert len(reads) == 40  # a copy may show an image whose own place is not seen
    assert all(more >= fewer for more, fewer in zip(counts[1.0], counts[0.0], strict=True))
    assert sum(counts[1.0]) > sum(counts[0.0])
