"""Which images configurations differ on most."""

import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

from analysis.compare.execute import different_images
from analysis.compare.execute.different_images import _draw, draw_different, most_different
from analysis.compare.execute.image_results import ImageResults
from analysis.compare.execute.run_folder import FINISHED, RunFolder
from analysis.compare.plan.data_fingerprint import image_name
from data.dataset.dataset_yaml import list_images, load_dataset_spec
from data.images import read_image

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


def finished(folder, name, seed, found, plan):
    """A finished run without weights, which found so much."""
    run = RunFolder(folder / "runs" / name)
    run.write("run", replace(plan, config=name, seed=seed).to_dict())
    found.save(run.path / "images.npz")
    (run.path / "seen").mkdir()
    return run


def test_a_row_of_the_page_never_shows_two_images(tmp_path, planned, monkeypatch, capsys):
    """A configuration that joins later changes the choice: pictures of the former one go, drawn anew or not."""
    monkeypatch.setattr(RunFolder, "state", FINISHED)
    drawn = []

    def draw(folder, chosen):
        drawn.append((folder.path.name, tuple(chosen)))
        for number in range(len(chosen)):
            (folder.path / "seen" / f"different{number}.jpg").touch()

    monkeypatch.setattr(different_images, "_draw", draw)
    monkeypatch.setattr(RunFolder, "best", property(lambda self: self.path / "best.pt"))
    plan = planned("--seeds", "1")[0]
    runs = [
        finished(tmp_path, "none", 0, results((0, 0.9, True), (1, 0.9, True)), plan),
        finished(tmp_path, "se", 0, results((0, 0.9, True), (1, 0.9, False)), plan),
    ]
    for run in runs:
        run.best.touch()
    draw_different(runs)
    assert drawn == [("none", ("b.jpg",)), ("se", ("b.jpg",))]
    draw_different(runs)
    assert len(drawn) == 2  # nothing has changed
    runs.append(finished(tmp_path, "cbam", 0, results((0, 0.9, False), (0, 0.8, False), (1, 0.9, True)), plan))
    runs[1].best.unlink()
    runs[2].best.touch()
    draw_different(runs)
    assert drawn[2:] == [("none", ("a.jpg", "b.jpg")), ("cbam", ("a.jpg", "b.jpg"))]
    shown = [sorted(one.name for one in (run.path / "seen").iterdir()) for run in runs]
    assert shown == [["different0.jpg", "different1.jpg"], [], ["different0.jpg", "different1.jpg"]]
    assert "se: the images that differ most are not drawn, because its weights are gone" in capsys.readouterr().out


def test_an_image_is_drawn_with_its_labels_its_heat_and_the_gates(planned, tmp_path, root):
    weights = root / "weights" / "yolov5n_ca_signs.pt"
    plan = planned("--data", "signs_tiny.yaml", "--img", "320", "--weights", str(weights), "--attention", "none")[0]
    run = RunFolder(tmp_path / plan.folder_name)
    run.best.parent.mkdir(parents=True)
    shutil.copy(weights, run.best)
    run.write("run", plan.to_dict())
    dataset = load_dataset_spec("signs_tiny.yaml")
    path = list_images(dataset.entries("val"))[0]
    _draw(run, [image_name(dataset, path)])
    pictures = {one.stem: read_image(one) for one in (run.path / "seen").iterdir()}
    assert set(pictures) == {"different0", "different0-truth", "different0-cam", "different0-gates"}
    plain = cv2.resize(read_image(path), pictures["different0"].shape[1::-1], interpolation=cv2.INTER_AREA)
    assert all(np.abs(pictures[name].astype(int) - plain).max() > 100 for name in ("different0", "different0-truth"))
    with pytest.raises(ValueError, match=r"has no image images/val/gone\.jpg any more"):
        _draw(run, ["images/val/gone.jpg"])
