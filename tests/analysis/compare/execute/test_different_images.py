"""Which images configurations differ on most."""

import numpy as np

from analysis.compare.execute.different_images import draw_different, most_different
from analysis.compare.execute.image_results import ImageResults
from analysis.compare.execute.run_folder import RunFolder

IMAGES = ("a.jpg", "b.jpg", "c.jpg", "d.jpg")


def results(*detections, images=IMAGES):
    """Of (image, confidence, whether it is right at IoU 0.5)."""
    image, score, right = (np.array(values) for values in zip(*detections, strict=True))
    correct = np.zeros((len(image), 10), bool)
    correct[:, 0] = right
    truth = np.ones((len(images), 1), np.int32)
    return ImageResults(("x",), images, truth, image, score, np.zeros(len(image), int), correct)


def test_right_less_false_detections_decide():
    plain = results((0, 0.9, True), (1, 0.9, True), (2, 0.9, False), (3, 0.9, True))
    other = results((0, 0.9, True), (1, 0.9, False), (1, 0.8, False), (2, 0.9, True), (3, 0.9, True))
    assert most_different([plain, other]) == ["b.jpg", "c.jpg"]  # 3 and 2 apart; on the others they agree
    assert most_different([plain, other], 1) == ["b.jpg"]


def test_weak_detections_and_equals_do_not_count():
    plain = results((0, 0.9, True), (1, 0.2, False))
    other = results((0, 0.9, True), (2, 0.1, True))
    assert most_different([plain, other]) == []
    assert most_different([plain]) == []


def test_other_images_are_not_compared():
    plain = results((0, 0.9, True))
    assert most_different([plain, results((0, 0.9, False), images=("x.jpg",))]) == []


def test_runs_without_their_images_data_are_left_alone(tmp_path):
    draw_different([])
    folder = tmp_path / "runs" / "x"
    folder.mkdir(parents=True)
    draw_different([RunFolder(folder)])
    assert list(folder.iterdir()) == []
