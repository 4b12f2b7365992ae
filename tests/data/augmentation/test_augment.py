"""Boxes follow their pixels through every geometric change; ranges and filters are YOLOv5's."""

import math
from dataclasses import fields, replace

import cv2
import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.ops import box_iou

from data.augmentation.augment import (
    AugmentConfig,
    Sample,
    Warp,
    apply_warp,
    change_colour,
    draw_flips,
    draw_warp,
    flip_boxes,
    flip_image,
    keep_boxes,
    mixup,
    paste_mirrored,
    warp_boxes,
    warp_points,
)
from data.hyp import Hyperparameters
from data.images import FILL

STRONG = AugmentConfig(degrees=25, translate=0.2, scale=0.4, shear=8)


def painted(height: int, width: int, box_xyxy: tuple[int, int, int, int]) -> Sample:
    """Return a black image with one white rectangle and its box."""
    image = np.zeros((height, width, 3), np.uint8)
    x1, y1, x2, y2 = box_xyxy
    image[y1:y2, x1:x2] = 255
    return Sample(image, np.array([[3, x1, y1, x2, y2]], np.float32))


def extent(image: np.ndarray, above: int = 180) -> np.ndarray:
    """Return the box around the bright pixels."""
    ys, xs = np.nonzero(image[..., 1] > above)
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], float)


@pytest.mark.parametrize("perspective", [0.0, 0.0008])
@pytest.mark.parametrize("seed", range(15))
def test_a_box_follows_its_pixels(seed: int, perspective: float) -> None:
    rng = np.random.default_rng(seed)
    sample = painted(240, 320, (120, 90, 190, 150))
    warp = draw_warp(rng, replace(STRONG, perspective=perspective), (240, 320), (240, 320))
    result = apply_warp(sample, warp)
    assert result.image.shape == (240, 320, 3)
    np.testing.assert_allclose(result.labels[0, 1:], extent(result.image), atol=2.0)
    assert result.labels[0, 0] == 3


def test_the_warp_to_another_size_keeps_the_centre() -> None:
    sample = painted(200, 200, (90, 90, 110, 110))
    still = draw_warp(np.random.default_rng(0), AugmentConfig(), (200, 200), (100, 120))
    result = apply_warp(sample, still)
    assert result.image.shape == (100, 120, 3)
    np.testing.assert_allclose(result.labels[0, 1:], (50, 40, 70, 60), atol=1e-4)
    np.testing.assert_allclose(extent(result.image), (50, 40, 70, 60), atol=1)


def test_no_warp_leaves_the_image_as_it_is() -> None:
    sample = painted(64, 64, (10, 10, 20, 20))
    result = apply_warp(sample, draw_warp(np.random.default_rng(0), AugmentConfig(), (64, 64), (64, 64)))
    assert result.image is sample.image
    np.testing.assert_array_equal(result.labels, sample.labels)


def test_what_lies_outside_is_grey() -> None:
    config = AugmentConfig(scale=0.9)
    rng = np.random.default_rng(3)
    warp = next(warp for warp in iter(lambda: draw_warp(rng, config, (64, 64), (64, 64)), None) if warp.zoom < 0.3)
    result = apply_warp(painted(64, 64, (0, 0, 64, 64)), warp)
    assert (result.image[0, 0] == FILL).all()


@pytest.mark.parametrize(
    ("name", "value", "measure", "low", "high"),
    [
        ("degrees", 30.0, lambda m, z: -math.degrees(math.atan2(m[1, 0], m[0, 0])), -30, 30),
        ("scale", 0.5, lambda m, z: z, 0.5, 1.5),
        ("shear", 10.0, lambda m, z: math.degrees(math.atan(m[0, 1])), -10, 10),
        ("translate", 0.2, lambda m, z: (m @ [50, 50, 1])[0], 30, 70),
        ("perspective", 0.001, lambda m, z: m[2, 0], -0.001, 0.001),
    ],
)
def test_ranges_are_uniform(name: str, value: float, measure: object, low: float, high: float) -> None:
    rng = np.random.default_rng(0)
    config = AugmentConfig(**{name: value})
    warps = [draw_warp(rng, config, (100, 100), (100, 100)) for _ in range(3000)]
    values = [measure(warp.matrix, warp.zoom) for warp in warps]
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 0.01


def test_the_zoom_of_the_matrix_is_the_zoom_that_filters() -> None:
    for seed in range(20):
        warp = draw_warp(np.random.default_rng(seed), AugmentConfig(degrees=40, scale=0.5), (80, 80), (80, 80))
        assert np.linalg.det(warp.matrix[:2, :2]) == pytest.approx(warp.zoom**2)


def test_points_and_boxes_by_hand() -> None:
    quarter_turn = np.array([[0, -1, 10], [1, 0, 0], [0, 0, 1.0]])  # (x, y) -> (10 - y, x)
    np.testing.assert_allclose(warp_points(np.array([[1.0, 2.0]]), quarter_turn), [[8, 1]])
    np.testing.assert_allclose(warp_boxes(np.array([[1.0, 2, 5, 4]]), quarter_turn, (10, 10)), [[6, 1, 8, 5]])
    np.testing.assert_allclose(warp_boxes(np.array([[1.0, 2, 5, 4]]), quarter_turn, (3, 7)), [[6, 1, 7, 3]])
    divide = np.array([[1, 0, 0], [0, 1, 0], [0.1, 0, 1.0]])  # (10, 4) -> (10, 4) / 2
    np.testing.assert_allclose(warp_points(np.array([[10.0, 4.0]]), divide), [[5, 2]])


def test_boxes_are_kept_by_size_area_and_shape() -> None:
    before = np.array([[0, 0, 100.0, 100.0]] * 6)
    after = np.array(
        [
            [0, 0, 50, 50.0],  # a quarter of the area
            [0, 0, 31, 31.0],  # 9.6 %
            [0, 0, 2, 90.0],  # 2 px wide
            [0, 0, 2.5, 90.0],  # 2.2 %
            [0, 0, 3.0, 400.0],  # 12 %, aspect 133
            [0, 0, 0, 0.0],
        ]
    )
    assert keep_boxes(before, after, 0.10).tolist() == [True, False, False, False, False, False]
    assert keep_boxes(before, after, 0.01).tolist() == [True, True, False, True, False, False]
    assert keep_boxes(before, after, np.array([0.3, 0.01, 0, 0, 0, 0])).tolist() == [
        False,
        True,
        False,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(("visible", "kept"), [(40, True), (20, True), (3, False)])
def test_zooming_out_is_no_loss_of_area(visible: int, kept: bool) -> None:
    zoom = 0.25  # a sixteenth of the area, less than MIN_AREA_KEPT
    matrix = np.array([[zoom, 0, (visible - 40) * zoom], [0, zoom, 10], [0, 0, 1.0]])  # `visible` of 40 px stay inside
    result = apply_warp(painted(100, 100, (0, 20, 40, 60)), Warp(matrix, zoom, (100, 100)))
    assert len(result.labels) == kept


def test_an_image_without_objects() -> None:
    empty = Sample(np.zeros((40, 40, 3), np.uint8), np.zeros((0, 5), np.float32))
    warp = draw_warp(np.random.default_rng(0), STRONG, (40, 40), (40, 40))
    assert apply_warp(empty, warp).labels.shape == (0, 5)
    assert apply_warp(empty, warp).polygons is None
    assert apply_warp(empty._replace(polygons=[]), warp).polygons == []
    assert mixup(np.random.default_rng(0), empty, empty).labels.shape == (0, 5)


def test_a_polygon_gives_a_tighter_box_than_its_corners() -> None:
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    outline = np.stack((50 + 20 * np.cos(angle), 50 + 20 * np.sin(angle)), 1)
    label = np.array([[0, 30, 30, 70, 70]], np.float32)
    turn = np.eye(3)
    turn[:2] = cv2.getRotationMatrix2D((50, 50), 45, 1)
    warp = Warp(turn, 1.0, (100, 100))
    image = np.zeros((100, 100, 3), np.uint8)
    with_outline = apply_warp(Sample(image, label, [outline]), warp)
    np.testing.assert_allclose(with_outline.labels[0, 1:], (30, 30, 70, 70), atol=0.2)
    assert len(with_outline.polygons[0]) > 40
    without = apply_warp(Sample(image, label, [None]), warp)
    np.testing.assert_allclose(without.labels[0, 1:], (21.7, 21.7, 78.3, 78.3), atol=0.1)  # 50 +- 20 * sqrt(2)


def test_mixup_blends_and_keeps_all_objects() -> None:
    first, second = painted(32, 32, (0, 0, 32, 32)), painted(32, 32, (0, 0, 1, 1))
    shares = []
    for seed in range(2000):
        result = mixup(np.random.default_rng(seed), first, second)
        shares.append(float(result.image[20, 20, 0]) / 255)
    assert len(result.labels) == 2
    assert result.polygons is None
    assert stats.kstest(shares, stats.beta(32, 32).cdf).pvalue > 0.001
    assert mixup(np.random.default_rng(0), first, Sample(*second[:2], [np.zeros((3, 2))])).polygons[0] is None


def test_colour_gains_by_hand() -> None:
    class Fixed:
        def uniform(self, low: float, high: float, size: int) -> np.ndarray:
            return np.array([0.0, -1.0, 0.5])

    image = np.full((2, 2, 3), (100, 50, 50), np.uint8)  # saturation 0.5, value 100
    changed = change_colour(Fixed(), AugmentConfig(hsv_h=0.1, hsv_s=1.0, hsv_v=0.4), image)
    assert changed[0, 0].tolist() == [120, 120, 120]  # saturation * 0, value * 1.2
    assert image[0, 0].tolist() == [100, 50, 50]
    assert change_colour(np.random.default_rng(0), AugmentConfig(), image) is image


@pytest.mark.parametrize("name", ["hsv_h", "hsv_s", "hsv_v"])
def test_each_colour_gain_changes_its_channel(name: str) -> None:
    image = np.full((2, 2, 3), (150, 90, 60), np.uint8)
    before = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[0, 0].astype(int)
    after = change_colour(np.random.default_rng(1), AugmentConfig(**{name: 0.4}), image)
    difference = np.abs(cv2.cvtColor(after, cv2.COLOR_RGB2HSV)[0, 0].astype(int) - before)
    assert difference.argmax() == ["hsv_h", "hsv_s", "hsv_v"].index(name)


@pytest.mark.parametrize("up_down", [False, True])
@pytest.mark.parametrize("left_right", [False, True])
def test_flips_move_boxes_with_the_image(up_down: bool, left_right: bool) -> None:
    sample = painted(50, 100, (10, 5, 40, 25))
    boxes = np.array([[0.25, 0.3, 0.3, 0.4]])
    flip_boxes(boxes, up_down, left_right)
    x1, y1, x2, y2 = extent(flip_image(sample.image, up_down, left_right))
    np.testing.assert_allclose(boxes, [[(x1 + x2) / 200, (y1 + y2) / 100, (x2 - x1) / 100, (y2 - y1) / 50]])


def test_flips_are_drawn_as_often_as_asked() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([draw_flips(rng, AugmentConfig(flipud=0.2, fliplr=0.7)) for _ in range(4000)])
    np.testing.assert_allclose(drawn.mean(0), (0.2, 0.7), atol=0.03)


def test_pasted_copies_are_mirrored_and_labelled() -> None:
    sample = painted(60, 100, (10, 20, 30, 40))
    outline = np.array([[10, 20], [30, 20], [30, 40], [10, 40]], np.float32)
    result = paste_mirrored(np.random.default_rng(0), 1.0, Sample(sample.image.copy(), sample.labels, [outline]))
    assert result.labels[:, 1:].tolist() == [[10, 20, 30, 40], [70, 20, 90, 40]]
    assert (result.image[25:35, 72:88] == 255).all()
    assert (result.image[25:35, 40:60] == 0).all()
    assert len(result.polygons) == 2
    assert result.polygons[1][:, 0].tolist() == [90, 70, 70, 90]


def test_a_copy_that_would_hide_an_object_is_left_out() -> None:
    sample = painted(60, 100, (40, 20, 70, 40))  # its mirror image is 30..60: hides two thirds
    outline = np.array([[40, 20], [70, 20], [70, 40], [40, 40]], np.float32)
    result = paste_mirrored(np.random.default_rng(0), 1.0, Sample(sample.image.copy(), sample.labels, [outline]))
    assert len(result.labels) == 1
    hidden = box_iou(torch.tensor([[30.0, 20, 60, 40]]), torch.tensor([[40.0, 20, 70, 40]]))
    assert hidden > 0.30


def test_only_objects_with_a_polygon_are_pasted() -> None:
    sample = painted(60, 100, (10, 20, 30, 40))
    for share, polygons in ((1.0, [None]), (1.0, None), (0.4, [np.array([[10, 20], [30, 20], [30, 40]])])):
        given = Sample(sample.image, sample.labels, polygons)
        assert paste_mirrored(np.random.default_rng(0), share, given) is given


def test_the_config_is_the_hyperparameters() -> None:
    hyp = Hyperparameters(degrees=3, mixup=0.2, copy_paste=0.1)
    config = AugmentConfig.from_hyp(hyp)
    for field in fields(config):
        assert getattr(config, field.name) == getattr(hyp, field.name)
