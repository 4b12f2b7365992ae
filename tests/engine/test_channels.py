"""Models that read grey, grey and alpha, or RGB and alpha: trained, measured, exported and used from the scripts."""

import sys

import cv2
import numpy as np
import pytest
import torch
import yaml

import detect
import engine
import export
import hubconf
import train
import val
from data.images import read_image, to_channels
from engine.config.parser import run_cli
from engine.inference.open_weights import open_network
from models import load_model

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture
def script(monkeypatch):
    def call(main, *words):
        monkeypatch.setattr(sys, "argv", [f"{main.__module__}.py", *map(str, words)])
        return run_cli(main)

    return call


def with_channels(workshop, folder, channels):
    file = folder / f"ch{channels}.yaml"
    model = yaml.safe_load((workshop / "nano.yaml").read_text())
    file.write_text(yaml.safe_dump({**model, "ch": channels}, default_flow_style=None))
    return file


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_from_training_to_detection(workshop, tmp_path, script, capsys, channels):
    cfg = with_channels(workshop, tmp_path, channels)
    sizes = ["--imgsz", 64, "--device", "cpu"]
    words = ["--data", workshop / "set.yaml", *sizes, "--project", tmp_path / "runs"]
    start = ["--cfg", cfg, "--hyp", workshop / "hyp.yaml", "--epochs", 1, "--batch", 2, "--workers", 0]
    assert script(train.main, *words, *start, "--name", "train") == 0
    weights = tmp_path / "runs" / "train" / "weights" / "best.pt"
    assert load_model(weights).channels == channels
    assert (tmp_path / "runs" / "train" / "train_batch0.jpg").is_file()
    assert script(export.main, "--weights", weights, "--imgsz", 64, "--include", "onnx", "--dynamic") == 0
    for file in (weights, weights.with_suffix(".onnx")):
        capsys.readouterr()
        assert script(val.main, "--weights", file, *words, "--workers", 0) == 0
        assert f"at shape (32, {channels}, 64, 64)" in capsys.readouterr().out
        source = [
            "--source",
            workshop / "set" / "images" / "val",
            "--save-txt",
            "--conf-thres",
            0.001,
            "--precision",
            32,
        ]
        assert script(detect.main, "--weights", file, *source, *sizes, "--project", tmp_path / "runs") == 0
        assert f"at shape (1, {channels}, 64, 64)" in capsys.readouterr().out
    for name in ("exp2", "exp4"):
        assert len(np.loadtxt(tmp_path / "runs" / name / "labels" / "0.txt", ndmin=2)) > 0
    # Not the written boxes: after an epoch scores are equal to the last digit, and suppression keeps another of them.
    images = torch.rand(1, channels, 64, 64)
    source, exported = (
        open_network([str(file)], torch.device("cpu"))(images) for file in (weights, weights.with_suffix(".onnx"))
    )
    torch.testing.assert_close(exported, source.detach(), rtol=0, atol=1e-3)


def test_more_than_four_channels_are_refused_before_anything_is_read(workshop, tmp_path, script, capsys):
    cfg = with_channels(workshop, tmp_path, 6)
    assert script(train.main, "--cfg", cfg, "--data", "nothere.yaml") == 2
    expected = "ch: expected 1 (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGB and alpha)"
    assert f"train.py: error: ch6.yaml: {expected}, in which images are read, but got 6" in capsys.readouterr().err


def test_the_fourth_channel_of_a_file_reaches_the_network(workshop, tmp_path):
    rgba = np.random.default_rng(0).integers(0, 256, (64, 64, 4), dtype=np.uint8)
    file = tmp_path / "x.png"
    cv2.imwrite(str(file), rgba[..., [2, 1, 0, 3]])
    assert (read_image(file, 4) == rgba).all()
    assert (read_image(file, 2)[..., 1] == rgba[..., 3]).all()
    assert (read_image(file) == rgba[..., :3]).all()
    detector = hubconf.yolov5n(pretrained=False, channels=4, classes=2)
    seen = []
    detector.network.model.model[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    for source in (str(file), rgba[..., [2, 1, 0, 3]]):
        assert detector.predict(source, imgsz=64)[0].image.shape == (64, 64, 3)
    for images in seen:
        torch.testing.assert_close(images[0].float(), torch.from_numpy(rgba).permute(2, 0, 1) / 255)
    assert len(seen) == 2


def test_an_image_without_alpha_is_opaque_and_grey_is_the_same_in_all_colours():
    rgb = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    assert (to_channels(rgb, 4)[..., 3] == 255).all()
    grey = np.repeat(rgb[..., :1], 3, axis=2)
    assert (to_channels(grey, 1) == grey[..., :1]).all()
    assert (to_channels(grey[..., :1], 3) == grey).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: engine.load_model("nothere.pt"),
            r"^weights file 'nothere.pt' was not found .*; give the path of a \.pt",
        ),
        (lambda: engine.load_model("yolov5n.pt", "7x"), "^`device` 7x: expected cpu"),
        (lambda: hubconf.yolov5n(pretrained=False, device="7x"), "^`device` 7x: expected cpu"),
        (
            lambda: hubconf.yolov5n(pretrained=False).predict("gone.jpg"),
            "^`source` gone.jpg: no such file or folder; exp",
        ),
        (lambda: hubconf.yolov5n(pretrained=False, channels=6), "^yolov5n: channels: expected 1 "),
    ],
)
def test_messages_in_python_name_the_parameter(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_empty_weights_file_is_told_as_such(tmp_path, script, capsys):
    (tmp_path / "zero.pt").touch()
    assert script(detect.main, "--weights", tmp_path / "zero.pt", "--project", tmp_path) == 2
    assert "zero.pt: the weights file is empty (0 bytes)" in capsys.readouterr().err
