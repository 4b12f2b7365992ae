"""The shipped YOLOv5n finds what the original finds with it, box for box."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

import pytest

from engine import load_model
from hubconf import yolov5n
from models.weights.download import FOLDER, find_weights

# Made with the original, ultralytics/yolov5 at 5081342f0 (2026-08-21), in fp32 on a CPU: DetectMultiBackend, LoadImages
# at 640 px, non_max_suppression(0.25, 0.45) and scale_boxes on the two pictures of the ultralytics package.
ORIGINAL = {
    "bus.jpg": [
        ("person", 51.4, 393.42, 222.66, 903.0, 0.8371),
        ("person", 216.86, 399.34, 345.16, 878.53, 0.7475),
        ("person", 684.84, 384.38, 807.54, 876.5, 0.7009),
        ("bus", 62.0, 204.58, 795.75, 815.5, 0.6016),
        ("person", 0.0, 579.58, 66.64, 868.62, 0.384),
    ],
    "zidane.jpg": [
        ("person", 726.1, 42.2, 1143.32, 702.74, 0.7711),
        ("person", 164.04, 190.27, 768.51, 717.55, 0.716),
        ("tie", 440.33, 438.09, 501.54, 720.0, 0.2726),
    ],
}
ASSETS = Path(find_spec("ultralytics").origin).parent / "assets"


def test_the_file_is_the_original_release() -> None:
    assert find_weights("yolov5n.pt") == FOLDER / "yolov5n.pt"
    digest = hashlib.sha256((FOLDER / "yolov5n.pt").read_bytes()).hexdigest()
    assert digest == "edd2e5cc4e3caa4b508168b51d9dc529da58b37813e0d2c8b49aba06aa3472dc"


@pytest.mark.parametrize("name", ORIGINAL)
def test_boxes_are_the_originals(name: str) -> None:
    found = load_model("yolov5n.pt", "cpu", precision="32").predict(str(ASSETS / name))[0]
    rows = sorted(zip(found.class_names, found.boxes_xyxy_px, found.confidences, strict=True), key=lambda row: -row[2])
    assert [row[0] for row in rows] == [row[0] for row in ORIGINAL[name]]
    for (_, box, confidence), (_, *wanted, score) in zip(rows, ORIGINAL[name], strict=True):
        assert box.tolist() == pytest.approx(wanted, abs=0.5)
        assert confidence == pytest.approx(score, abs=1e-3)


def test_torch_hub_finds_it_without_a_network() -> None:
    found = yolov5n(device="cpu", _verbose=False)(str(ASSETS / "bus.jpg"))
    assert sorted(found.pandas().xyxy[0]["name"]) == ["bus", *["person"] * 4]
