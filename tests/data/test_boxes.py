"""Boxes against torchvision and by hand."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import box_convert, clip_boxes_to_image

from data.boxes import FORMATS, clip_boxes, convert_boxes


def random_boxes(count: int = 50) -> torch.Tensor:
    corners = torch.rand(count, 2, 2, dtype=torch.float64).sort(1).values.reshape(count, 4)
    return corners * torch.tensor([640, 480, 640, 480])


def test_by_hand() -> None:
    box = np.array([[10.0, 20.0, 50.0, 100.0]])  # 40 wide, 80 high, centre (30, 60), image 100 x 200
    np.testing.assert_array_equal(convert_boxes(box, "xyxy_px", "cxcywh_px"), [[30, 60, 40, 80]])
    np.testing.assert_allclose(convert_boxes(box, "xyxy_px", "xyxy_norm", 100, 200), [[0.1, 0.1, 0.5, 0.5]])
    np.testing.assert_allclose(convert_boxes(box, "xyxy_px", "cxcywh_norm", 100, 200), [[0.3, 0.3, 0.4, 0.4]])


def test_matches_torchvision() -> None:
    boxes = random_boxes()
    expected = box_convert(boxes, "xyxy", "cxcywh")
    torch.testing.assert_close(convert_boxes(boxes, "xyxy_px", "cxcywh_px"), expected)
    torch.testing.assert_close(convert_boxes(expected, "cxcywh_px", "xyxy_px"), boxes)
    torch.testing.assert_close(clip_boxes(boxes * 2 - 100, 640, 480), clip_boxes_to_image(boxes * 2 - 100, (480, 640)))


@pytest.mark.parametrize(("source", "target"), list(itertools.product(FORMATS, FORMATS)))
def test_there_and_back_is_the_identity_for_arrays_and_tensors(source: str, target: str) -> None:
    boxes = convert_boxes(random_boxes(), "xyxy_px", source, 640, 480)
    there = convert_boxes(boxes, source, target, 640, 480)
    torch.testing.assert_close(convert_boxes(there, target, source, 640, 480), boxes)
    np.testing.assert_array_equal(convert_boxes(boxes.numpy(), source, target, 640, 480), there.numpy())


@given(st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 4), min_size=1, max_size=8))
def test_corners_stay_in_order(rows: list[tuple[float, ...]]) -> None:
    corners = convert_boxes(np.array(rows, np.float32), "cxcywh_norm", "xyxy_px", 64, 32)
    assert (corners[:, :2] <= corners[:, 2:]).all()


def test_shape_type_and_input_are_kept() -> None:
    boxes = np.array([[[1, 2, 3, 4]]])
    converted = convert_boxes(boxes, "xyxy_px", "cxcywh_px")
    assert converted.shape == (1, 1, 4)
    assert converted.dtype == np.float32
    np.testing.assert_array_equal(boxes, [[[1, 2, 3, 4]]])
    assert convert_boxes(torch.zeros(0, 4, dtype=torch.float16), "xyxy_px", "cxcywh_px").dtype == torch.float16
    assert convert_boxes(torch.tensor([1, 2, 3, 4]), "xyxy_px", "cxcywh_px").tolist() == [2, 3, 2, 2]


def test_mistakes_are_named() -> None:
    box = np.zeros((1, 4))
    with pytest.raises(ValueError, match=r"Expected `source` to be one of .* but got 'xywh'"):
        convert_boxes(box, "xywh", "xyxy_px")
    with pytest.raises(ValueError, match=r"Expected boxes of shape \(..., 4\) but got \(1, 5\)"):
        convert_boxes(np.zeros((1, 5)), "xyxy_px", "cxcywh_px")
    with pytest.raises(ValueError, match="Expected `width_px` > 0"):
        convert_boxes(box, "xyxy_px", "xyxy_norm")
    with pytest.raises(ValueError, match="Expected `height_px` > 0"):
        convert_boxes(box, "xyxy_norm", "xyxy_px", 10, 0)
