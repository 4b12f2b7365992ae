import cv2
import numpy as np
import pytest

from data.images import read_image
from engine.validation.curve_plots import save_confusion_matrix, save_curves
from engine.validation.metrics import detection_metrics


def _metrics(classes, detections=50):
    rng = np.random.default_rng(0)
    confidence = rng.uniform(size=detections)
    correct = np.repeat(rng.uniform(size=(detections, 1)) < confidence[:, None], 10, 1)
    true = np.repeat(np.arange(classes), 5)
    return detection_metrics(correct, confidence, rng.integers(0, max(classes, 1), detections), true)


@pytest.mark.parametrize("classes", [0, 1, 3, 30])
def test_four_curves_whatever_the_number_of_classes(tmp_path, classes):
    names = {i: f"_class $_{{$ {i}" if i else "限速" for i in range(max(classes, 1))}  # no formula
    files = save_curves(_metrics(classes), names, tmp_path)
    assert [file.name for file in files] == ["PR_curve.png", "F1_curve.png", "P_curve.png", "R_curve.png"]
    for file in files:
        image = read_image(file)
        assert image.shape == (900, 1350, 3)
        thick = cv2.erode((image[80:800, 120:930].max(2) < 60).astype(np.uint8), np.ones((5, 5)))  # no letter is
        assert thick.any() == (classes > 0)  # the line of all classes


@pytest.mark.parametrize("classes", [1, 3, 40, 120])
def test_confusion_matrix(tmp_path, classes):
    counts = np.eye(classes + 1, dtype=int) * 3
    counts[:, 0] = 0  # a class without instances
    file = save_confusion_matrix(counts, {i: f"${i}_{{$" for i in range(classes)}, tmp_path)
    image = read_image(file)
    assert (np.abs(image.astype(int) - (8, 48, 107)) < 12).all(2).any()  # the darkest blue: a share of 1
