"""Predictions as labels to begin with are read back by the converter as what was detected."""

import json
from dataclasses import replace

import numpy as np
import pytest

from data.convert.__main__ import main
from data.sources.frame import image_frame
from engine.detection.prelabels import CocoWriter, LabelStudioWriter
from engine.inference.predictor import Detections
from tests.support.voc_folders import picture, save

NAMES = {0: "go", 1: "stop"}
FOUND = Detections(
    np.array([[16, 12, 48, 36], [0, 0, 32, 24]], np.float32), np.array([0.9, 0.25], np.float32), np.array([1, 0])
)
NONE = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
ROWS = ["0 0.250000 0.250000 0.500000 0.500000", "1 0.500000 0.500000 0.500000 0.500000"]


@pytest.fixture
def frames(tmp_path):
    made = []
    for k in range(3):
        file = tmp_path / "images" / f"a b{k}.png"
        save(file, picture(k))
        made.append(image_frame(picture(k), str(file), file.stem, ".png", ""))
    return made


def written(writer, frames):
    for frame, found in zip(frames, (FOUND, NONE, FOUND), strict=True):
        writer.write(frame, found, None)
    writer.close()


def labels(tmp_path, name):
    source = tmp_path / "images"
    assert main([name, str(source), "--out", str(tmp_path / "out"), "--names", "go,stop"]) == 0
    return {file.stem: sorted(file.read_text().splitlines()) for file in (tmp_path / "out" / "labels").rglob("*.txt")}


def test_coco(frames, tmp_path):
    file = tmp_path / "images" / "predictions.json"
    written(CocoWriter(file, NAMES), frames)
    content = json.loads(file.read_text())
    assert [one["score"] for one in content["annotations"]] == [0.9, 0.25] * 2
    assert content["annotations"][0]["bbox"] == [16, 12, 32, 24]
    assert labels(tmp_path, "coco") == {"a b0": ROWS, "a b1": [], "a b2": ROWS}


def test_labelstudio(frames, tmp_path):
    file = tmp_path / "images" / "predictions.json"
    written(LabelStudioWriter(file, NAMES, "best"), frames)
    tasks = json.loads(file.read_text())
    assert tasks[0]["data"]["image"].endswith("images/a%20b0.png")
    (prediction,) = tasks[0]["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("best", 0.25)
    value = prediction["result"][0]["value"]
    assert value == {"x": 25, "y": 25, "width": 50, "height": 50, "rotation": 0, "rectanglelabels": ["stop"]}
    for task in tasks:  # a person accepts them all
        task["annotations"] = task.pop("predictions")
    file.write_text(json.dumps(tasks))
    assert labels(tmp_path, "labelstudio") == {"a b0": ROWS, "a b1": [], "a b2": ROWS}


def test_frames_of_videos_are_left_out_and_it_is_said(frames, tmp_path, capsys):
    video = replace(frames[0], number=7)
    for writer in (CocoWriter(tmp_path / "a.json", NAMES), LabelStudioWriter(tmp_path / "b.json", NAMES, "best")):
        writer.write(video, FOUND, None)
        writer.close()
        assert "1 frames of videos and streams are not in it" in capsys.readouterr().err
    assert json.loads((tmp_path / "a.json").read_text())["images"] == []
    assert json.loads((tmp_path / "b.json").read_text()) == []
