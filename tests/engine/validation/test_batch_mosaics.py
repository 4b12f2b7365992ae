import numpy as np
import pytest
import torch

from data.images import read_image
from engine.drawing.boxes_on_images import TextPainter, class_colour
from engine.validation.batch_mosaics import MAX_BATCHES, MAX_SIDE_PX, Marks, MosaicWriter, draw_mosaic
from engine.validation.observer import EvaluatedBatch

NOTHING = Marks(np.zeros((0, 4)), np.zeros(0), [])


@pytest.fixture(scope="module")
def painter():
    return TextPainter([])


def _images(count, height=60, width=80):
    return (
        np.full((count, height, width, 3), 10, dtype=np.uint8) + np.arange(count, dtype=np.uint8)[:, None, None, None]
    )


@pytest.mark.parametrize(("count", "side"), [(1, 1), (2, 2), (4, 2), (5, 3), (16, 4)])
def test_grid_is_filled_column_by_column(painter, count, side):
    mosaic = draw_mosaic(_images(count), [NOTHING] * count, [""] * count, painter)
    assert mosaic.shape == (side * 60, side * 80, 3)
    for i in range(side * side):
        x, y = 80 * (i // side), 60 * (i % side)
        assert mosaic[y + 40, x + 40].tolist() == ([10 + i] * 3 if i < count else [255] * 3)


def test_large_images_are_reduced(painter):
    mosaic = draw_mosaic(_images(4, 1000, 1400), [NOTHING] * 4, [""] * 4, painter)
    assert max(mosaic.shape[:2]) <= MAX_SIDE_PX
    assert mosaic.shape[1] / mosaic.shape[0] == pytest.approx(1.4, abs=0.01)


def test_boxes_have_the_colour_of_their_class_and_lie_where_they_should(painter):
    marks = Marks(np.array([[20, 30, 60, 50.0]]), np.array([3]), ["x"])
    images = _images(1)
    mosaic = draw_mosaic(images, [marks], [""], painter)
    assert mosaic[50, 45].tolist() == list(class_colour(3))
    assert mosaic[40, 60].tolist() == list(class_colour(3))
    assert mosaic[40, 45].tolist() == [10, 10, 10]
    assert (images == 10).all()


def test_titles_and_labels_stay_inside(painter):
    marks = Marks(
        np.array([[70, 0, 200, 10.0], [-50, -50, 10, 10]]), np.array([0, 1]), ["a long class name", "限速 40"]
    )
    assert draw_mosaic(_images(1), [marks], ["a very long name of a file.jpg"], painter).shape == (60, 80, 3)


def test_writer_draws_the_first_batches_only(tmp_path):
    writer = MosaicWriter(tmp_path, {0: "stop"})
    labels = [np.array([[0, 10, 10, 30, 30.0]])]
    found = [np.array([[40, 10, 60, 30, 0.9, 0], [10, 40, 30, 55, 0.2, 0.0]])]
    batch = EvaluatedBatch(torch.full((1, 3, 64, 96), 50, dtype=torch.uint8), labels, found, found, ("a.jpg",), ())
    for _ in range(MAX_BATCHES + 2):
        writer(batch)
    assert len(list(tmp_path.iterdir())) == 2 * MAX_BATCHES
    labels_jpg, pred_jpg = (read_image(tmp_path / f"val_batch0_{kind}.jpg").astype(int) for kind in ("labels", "pred"))
    differs = np.abs(labels_jpg - pred_jpg).sum(2) > 60
    assert differs[30, 20]  # the label's lower edge, absent from the detections
    assert differs[30, 50]  # the detection's
    assert not differs[45:, :].any()  # not confident enough to be drawn
