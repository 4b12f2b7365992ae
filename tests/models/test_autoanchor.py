"""Anchor check and search on made-up labels."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from models.autoanchor import anchor_fit, check_anchors, find_anchors, labels_wh_px

ANCHORS_PX = torch.tensor(
    [[[10, 13], [16, 30], [33, 23]], [[30, 61], [62, 45], [59, 119]], [[116, 90], [156, 198], [373, 326]]]
)


def make_head() -> SimpleNamespace:
    stride = torch.tensor([8.0, 16.0, 32.0])
    return SimpleNamespace(anchors=ANCHORS_PX.float() / stride.view(-1, 1, 1), stride=stride)


def make_labels(low_px: float, high_px: float, image_px: int = 320, images: int = 60) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [
        np.column_stack((np.zeros(3), rng.random((3, 2)), rng.uniform(low_px, high_px, (3, 2)) / image_px))
        for _ in range(images)
    ]


def test_label_sizes_follow_the_longer_side():
    labels = [np.array([[0, 0.5, 0.5, 0.5, 0.25]]), np.zeros((0, 5)), np.array([[1, 0.5, 0.5, 0.1, 1.0]])]
    sizes = np.array([[100, 50], [10, 10], [30, 60]])
    np.testing.assert_allclose(labels_wh_px(labels, sizes, 320), [[160, 40], [16, 320]])


def test_fit_by_hand():
    """Against one anchor of 10 x 10 and ratio 4: 39 x 10 fits, 41 x 10 does not, 2.6 x 10 fits."""
    fit = anchor_fit(np.array([[39.0, 10], [41, 10], [2.6, 10]]), np.array([[10.0, 10], [11, 10]]), 4.0)
    assert fit.best_possible_recall == pytest.approx(1.0)  # 41 x 10 fits the second anchor
    assert fit.anchors_per_label == pytest.approx((2 + 1 + 1) / 3)  # 11 / 2.6 is beyond 4


def test_fitting_anchors_stay():
    found = check_anchors(make_head(), make_labels(20, 150), np.full((60, 2), 320), image_px=320)
    assert found.anchors_px is None
    assert found.fit.best_possible_recall > 0.98
    assert "fit these labels" in found.message


def test_poor_anchors_are_replaced_by_better_ones_in_order():
    labels, sizes = make_labels(1.5, 6), np.full((60, 2), 320)
    head = make_head()
    before = head.anchors.clone()
    found = check_anchors(head, labels, sizes, image_px=320)
    torch.testing.assert_close(head.anchors, before, rtol=0, atol=0)
    assert found.fit.best_possible_recall < 0.98
    assert found.anchors_px.shape == (3, 3, 2)
    new = anchor_fit(labels_wh_px(labels, sizes, 320), found.anchors_px.reshape(-1, 2))
    assert new.best_possible_recall > 0.98
    areas = found.anchors_px.prod(2).ravel()
    assert (np.diff(areas) >= 0).all()


def test_search_is_repeatable_and_seeded():
    wh_px = labels_wh_px(make_labels(3, 60), np.full((60, 2), 320), 320)
    first, again, other = (find_anchors(wh_px, 6, generations=50, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_fewer_labels_than_anchors():
    anchors = find_anchors(np.array([[20.0, 30.0], [20.0, 30.0]]), 9, image_px=320, generations=200)
    assert anchors.shape == (9, 2)
    assert np.isfinite(anchors).all()
    assert (anchors >= 2).all()


def test_no_labels_at_all():
    found = check_anchors(make_head(), [np.zeros((0, 5))], np.array([[320, 320]]), image_px=320)
    assert found.anchors_px is None
    assert "no labels" in found.message


def test_placeholder_anchors_are_replaced():
    """A model YAML that gives only the number of anchors starts from 0, 1, 2, … px."""
    head = make_head()
    head.anchors = torch.arange(6.0).view(1, 3, 2).repeat(3, 1, 1) / head.stride.view(-1, 1, 1)
    found = check_anchors(head, make_labels(20, 150), np.full((60, 2), 320), image_px=320)
    assert found.anchors_px is not None
