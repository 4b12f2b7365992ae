import json
from typing import NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_allclose

from engine.validation.observer import EvaluatedBatch
from engine.validation.prediction_files import COCO_CATEGORY_IDS, CocoWriter, LabelFileWriter

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:faster_coco_eval")


class Shape(NamedTuple):
    original_hw: tuple = (100, 200)
    ratio: float = 0.5
    pad_xy: tuple = (0.0, 25.0)


def _batch(paths=("set/a/1.jpg", "set/b/two.jpg", "set/b/none.jpg")):
    """One detection and label in the first two images; the last is empty."""
    native = [np.array([[20, 10, 60, 40, 0.5, 1]]), np.array([[0, 0, 200, 100, 0.25, 0.0]]), np.zeros((0, 6))]
    labels = [np.array([[1, 10, 30, 30, 45.0]]), np.array([[0, 0, 25, 100, 75.0]]), np.zeros((0, 5))]
    return EvaluatedBatch(None, labels, native, native, paths, (Shape(),) * 3)


def test_label_files(tmp_path):
    batch = _batch()
    LabelFileWriter(tmp_path / "labels", batch.paths, confidence=False)(batch)
    assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == ["1.txt", "two.txt"]
    assert (tmp_path / "labels" / "1.txt").read_text() == "1 0.2 0.25 0.2 0.3\n"
    writer = LabelFileWriter(tmp_path / "more", batch.paths, confidence=True)
    writer(batch)
    assert (tmp_path / "more" / "two.txt").read_text() == "0 0.5 0.5 1 1 0.25\n"
    assert writer.files == 2


def test_images_of_the_same_name_get_files_of_their_own(tmp_path):
    batch = _batch(("set/a/1.jpg", "set/b/1.jpg", "set/b/none.jpg"))
    LabelFileWriter(tmp_path, batch.paths, confidence=False)(batch)
    assert (tmp_path / "a" / "1.txt").read_text()[0] == "1"
    assert (tmp_path / "b" / "1.txt").read_text()[0] == "0"


def test_coco_detections(tmp_path):
    writer = CocoWriter(COCO_CATEGORY_IDS)
    writer(_batch())
    writer.save(tmp_path / "found.json")
    assert json.loads((tmp_path / "found.json").read_text()) == [
        {"image_id": 1, "category_id": 2, "bbox": [20, 10, 40, 30], "score": 0.5},
        {"image_id": "two", "category_id": 1, "bbox": [0, 0, 200, 100], "score": 0.25},
    ]
    assert len(COCO_CATEGORY_IDS) == 80
    assert COCO_CATEGORY_IDS[-1] == 90


def test_coco_figures_from_the_labels():
    writer = CocoWriter(range(2))
    writer(_batch())
    figures = writer.figures({0: "a", 1: "b"})
    assert len(figures) == 12
    assert_allclose([figures["AP"], figures["AP50"], figures["AR_max100"], figures["AP_small"]], [1, 1, 1, -1])


def test_coco_images_of_the_same_name():
    writer = CocoWriter(range(2))
    writer(_batch(("set/a/1.jpg", "set/b/1.jpg", "set/b/01.jpg")))
    assert [row["image_id"] for row in writer.detections] == [1, "b/1"]
    assert writer.figures({0: "a", 1: "b"})["AP"] == 1


def test_coco_figures_from_annotations_that_name_the_images(tmp_path):
    writer = CocoWriter(range(2))
    writer(_batch())
    images = [{"id": 7, "file_name": "1.jpg"}, {"id": 8, "file_name": "two.jpg"}, {"id": 9, "file_name": "none.jpg"}]
    box = {"id": 1, "image_id": 8, "category_id": 0, "bbox": [0, 0, 200, 100], "area": 20000, "iscrowd": 0}
    file = tmp_path / "own.json"
    file.write_text(json.dumps({"images": images, "annotations": [box], "categories": [{"id": 0}, {"id": 1}]}))
    assert writer.figures({0: "a", 1: "b"}, file)["AP"] == 1


def test_coco_figures_without_detections():
    writer = CocoWriter(range(2))
    batch = _batch()
    writer(batch._replace(native=[np.zeros((0, 6))] * 3))
    assert writer.figures({0: "a", 1: "b"})["AP"] == 0


def test_foreign_annotations_are_refused(tmp_path):
    writer = CocoWriter(range(2))
    writer(_batch())
    file = tmp_path / "other.json"
    file.write_text(json.dumps({"images": [{"id": 1}], "annotations": [], "categories": [{"id": 0, "name": "a"}]}))
    with pytest.raises(ValueError, match=r"other.json: has no image 'two' \(2 of 3 images are missing\)"):
        writer.figures({0: "a", 1: "b"}, file)
