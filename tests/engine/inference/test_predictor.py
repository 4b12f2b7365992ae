import json

import numpy as np
import pytest
import torch

from data.images import read_image
from engine.inference.network import TorchNetwork
from engine.inference.predictor import Predictor, Selection
from engine.runtime.device import choose_precision
from tests.support.red_boxes import RedBoxes

CPU = torch.device("cpu")


def predictor(model=None, image_px=128, **options):
    network = TorchNetwork(model or RedBoxes(), CPU, choose_precision("32", CPU))
    return Predictor(network, image_px=image_px, **options)


def scene(width, height, red=None, green=None):
    image = np.full((height, width, 3), 100, np.uint8)
    for colour, box in (((255, 0, 0), red), ((0, 255, 0), green)):
        if box:
            x1, y1, x2, y2 = box
            image[y1:y2, x1:x2] = colour
    return image


@pytest.mark.parametrize("size", [(128, 64), (256, 256), (64, 128), (100, 60), (37, 211)])
@pytest.mark.parametrize("square", [True, False])
def test_boxes_come_back_in_pixels_of_the_original(size, square):
    width, height = size
    box = (width // 4, height // 4, width // 2, height // 2)
    (found,) = predictor(square=square)([scene(width, height, red=box)])
    ratio = 128 / max(width, height)
    # The stub sees whole pixels of the network's input, so one of those is the bound.
    np.testing.assert_allclose(found.boxes_xyxy_px[0], box, atol=1.01 / ratio)
    assert found.confidences.tolist() == pytest.approx([0.9])
    assert found.class_ids.tolist() == [0]
    assert found.class_ids.dtype == np.int64


def test_exact_where_no_scaling_happens():
    (found,) = predictor()([scene(128, 96, red=(10, 20, 30, 50), green=(64, 0, 128, 96))])
    assert found.boxes_xyxy_px.tolist() == [[10, 20, 30, 50], [64, 0, 128, 96]]
    assert found.class_ids.tolist() == [0, 1]


def test_images_of_one_shape_share_a_batch_and_the_order_is_kept():
    model = RedBoxes()
    images = [scene(128, 64 if i % 3 else 128, red=(i, i, i + 20, i + 20)) for i in range(8)]
    together = predictor(model)(images)
    assert sorted(model.batches) == [(3, 3, 128, 128), (5, 3, 64, 128)]
    for i, found in enumerate(together):
        assert found.boxes_xyxy_px.tolist() == [[i, i, i + 20, i + 20]]


def test_padding_is_small_unless_square():
    assert predictor().prepare(scene(128, 40)).hw == (64, 128)
    assert predictor(square=True).prepare(scene(128, 40)).hw == (128, 128)
    assert predictor(image_px=(64, 128)).prepare(scene(128, 128)).hw == (64, 64)


def test_every_selection_option_matters():
    overlapping = scene(128, 128, red=(10, 10, 100, 100), green=(11, 10, 100, 100))
    overlapping[10:100, 10] = (255, 0, 0)  # a red column, then green over the rest
    overlapping[99, 99] = (255, 0, 0)

    def classes(**options):
        return predictor(selection=Selection(**options))([overlapping])[0].class_ids.tolist()

    assert classes() == [0, 1]
    assert classes(conf_thres=0.7) == [0]
    assert classes(classes=(1,)) == [1]
    assert classes(agnostic=True) == [0]
    assert classes(agnostic=True, iou_thres=1.0) == [0, 1]
    assert classes(max_det=1) == [0]


def test_nothing_found_and_nothing_given():
    (found,) = predictor()([scene(50, 50)])
    assert [part.shape for part in found[:3]] == [(0, 4), (0,), (0,)]
    assert predictor()([]) == []


def test_size_must_fit_the_stride():
    with pytest.raises(ValueError, match="multiples of 32 but got 100"):
        predictor(image_px=100)


def test_agrees_with_the_original(shared):
    """Boxes to 1e-3 px and confidences to 1e-4 of the original's own detections, which are written to 4 decimals."""
    from models.weights.checkpoint import load_model

    reference = json.loads((shared / "weights" / "roadsign_original_reference.json").read_text())
    (expected,) = [value for key, value in reference.items() if key.startswith("detections after NMS")]
    model = load_model(shared / "weights" / "roadsign_yolov5n_original.pt")
    run = predictor(model, 320, square=True, selection=Selection(conf_thres=0.25, iou_thres=0.45))
    images = [read_image(next((shared / "data" / "roadsign877" / "images").rglob(name))) for name in expected]
    for found, rows in zip(run(images), expected.values(), strict=True):
        rows = np.array(rows)
        np.testing.assert_allclose(found.boxes_xyxy_px, rows[:, :4], atol=1e-3)
        np.testing.assert_allclose(found.confidences, rows[:, 4], atol=1e-4)
        assert found.class_ids.tolist() == rows[:, 5].tolist()


def test_pixels_are_rounded_once():
    """The network's own type gets what float32 pixels would be rounded to."""
    values = torch.arange(256, dtype=torch.uint8)
    for dtype in (torch.bfloat16, torch.float16):
        assert torch.equal(values.to(dtype) / 255, (values.float() / 255).to(dtype))
