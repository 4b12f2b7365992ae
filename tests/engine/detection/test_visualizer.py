"""detect.py --visualize: same boxes, pictures beside them, every n-th frame, refusals."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.images import read_image
from engine.config.detect_config import DetectConfig, parse_config
from engine.detection.run_detection import run_detection


@pytest.fixture
def settings(root, tmp_path):
    return {
        "weights": (str(root / "weights" / "yolov5n_ca_signs.pt"),),
        "source": str(root / "data" / "images" / "drawn" / "street_6.jpg"),
        "imgsz": (320, 320),
        "conf_thres": 0.25,
        "device": "cpu",
        "project": str(tmp_path / "runs"),
        "save_txt": True,
        "save_conf": True,
        "nosave": True,
    }


@pytest.mark.parametrize("kind", ["cam", "gates", "features"])
def test_boxes_are_the_same_and_pictures_are_there(settings, kind, tmp_path, capsys):
    assert run_detection(DetectConfig(**settings, name="plain")) == 0
    assert run_detection(DetectConfig(**settings, name="seen", visualize=kind)) == 0
    plain, seen = (tmp_path / "runs" / name for name in ("plain", "seen"))
    assert (plain / "labels" / "street_6.txt").read_text() == (seen / "labels" / "street_6.txt").read_text() != ""
    pictures = [file.name for file in (seen / "explained" / "street_6").glob(f"{kind}_*.png")]
    assert pictures
    named = [name.replace("cam_class", "heat_class").replace("cam_0", "heat_0") for name in pictures]
    page = (seen / "index.html").read_text(encoding="utf-8")
    assert all(f'src="explained/street_6/{name}"' in page for name in named)
    assert "What the model looks at:" in capsys.readouterr().out


def test_every_nth_frame_of_a_video(settings, tmp_path):
    frame = cv2.cvtColor(read_image(settings["source"]), cv2.COLOR_RGB2BGR)
    frame = cv2.resize(frame, (160, 160))
    writer = cv2.VideoWriter(str(tmp_path / "clip.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (160, 160))
    for _ in range(7):
        writer.write(np.ascontiguousarray(frame))
    writer.release()
    config = {**settings, "source": str(tmp_path / "clip.mp4"), "visualize": "gates", "visualize_every": 3}
    assert run_detection(DetectConfig(**config)) == 0
    folders = sorted(one.name for one in (tmp_path / "runs" / "exp" / "explained").iterdir())
    assert folders == ["clip_1", "clip_4", "clip_7"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": ("a.onnx",)}, "a.onnx is an exported model"),
        ({"weights": ("a.pt", "b.pt")}, "an ensemble of 2"),
        ({"augment": True}, "--augment merges"),
    ],
)
def test_what_cannot_be_looked_into_is_refused(settings, change, message):
    with pytest.raises(ValueError, match=message):
        run_detection(DetectConfig(**{**settings, **change, "visualize": "cam"}))


def test_gates_need_attention(settings, root):
    config = {**settings, "weights": (str(root / "weights" / "yolov5n.pt"),), "visualize": "gates"}
    with pytest.raises(ValueError, match="no attention; insert some"):
        run_detection(DetectConfig(**config))
    assert not list(Path(settings["project"]).glob("exp*"))


def test_images_named_like_other_results(settings, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    names = {"index.html.jpg", "labels.jpg", "crops.jpg", "predictions.csv.jpg", "explained.jpg"}
    for name in names:
        shutil.copy(settings["source"], source / name)
    config = {**settings, "source": str(source), "save_csv": True, "save_crop": True, "nosave": False}
    assert run_detection(DetectConfig(**config, visualize="cam")) == 0
    folder = tmp_path / "runs" / "exp"
    assert {one.name for one in (folder / "explained").iterdir()} == {Path(name).stem for name in names}
    assert {one.name for one in folder.iterdir() if one.suffix == ".jpg"} == names
    assert {one.suffix for one in (folder / "labels").iterdir()} == {".txt"}
    assert (folder / "index.html").is_file()
    assert (folder / "predictions.csv").is_file()


def test_a_frame_and_an_image_of_the_same_name_have_a_folder_each(settings, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    picture = cv2.cvtColor(read_image(settings["source"]), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(source / "clip_1.jpg"), picture)
    writer = cv2.VideoWriter(str(source / "clip.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (160, 160))
    writer.write(cv2.resize(picture, (160, 160)))
    writer.release()
    assert run_detection(DetectConfig(**{**settings, "source": str(source), "visualize": "features"})) == 0
    folder = tmp_path / "runs" / "exp" / "explained"
    shapes = {one.name: read_image(one / "image.png").shape for one in folder.iterdir()}
    assert shapes == {"clip_1": picture.shape, "clip_1-2": (160, 160, 3)}


def test_the_bare_flag_means_cam(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse_config(["--visualize"]).visualize == "cam"
    assert parse_config(["--visualize", "gates"]).visualize == "gates"
    assert parse_config([]).visualize is None
