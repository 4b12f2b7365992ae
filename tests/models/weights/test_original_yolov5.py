"""Checkpoints of the original YOLOv5, of its forks, and of other things that end in .pt."""

import collections
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models import build_model, load_model, save_model
from models.graph.checked import checked_spec
from models.weights.checkpoint import read_checkpoint
from models.yolo import DetectionModel
from tests.support.model_layouts import as_original, layout


def tiny(nc: int = 2, name: str = "yolov5") -> DetectionModel:
    return build_model(checked_spec(layout(name, nc), f"{name}.yaml"))


def test_original_raw_outputs(shared: Path) -> None:
    model = load_model(shared / "weights" / "roadsign_yolov5n_original.pt")
    data = np.load(shared / "weights" / "roadsign_original_outputs.npz")
    bgr = data["images_bgr_letterboxed_320"]
    images = torch.from_numpy(bgr[..., ::-1].copy()).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        outputs = model(images)
    expected = torch.from_numpy(data["outputs"])
    torch.testing.assert_close(outputs[..., :4], expected[..., :4], rtol=0, atol=1e-3)
    torch.testing.assert_close(outputs[..., 4:], expected[..., 4:], rtol=0, atol=1e-4)
    assert model.names == {0: "trafficlight", 1: "stop", 2: "speedlimit", 3: "crosswalk"}
    assert model.stride.tolist() == [8, 16, 32]
    assert read_checkpoint(shared / "weights" / "roadsign_yolov5n_original.pt").kind == "yolov5"


def test_original_with_one_class_detects(shared: Path) -> None:
    model = load_model(shared / "weights" / "roadsign_single_class_original.pt")
    assert model.nc == 1
    bgr = np.load(shared / "weights" / "roadsign_original_outputs.npz")["images_bgr_letterboxed_320"]
    images = torch.from_numpy(bgr[..., ::-1].copy()).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        boxes = model(images)
    scores = boxes[..., 4] * boxes[..., 5]
    assert (scores.amax(1) > 0.25).sum() >= 3


def test_original_becomes_a_file_of_this_project(shared: Path, tmp_path: Path) -> None:
    original = load_model(shared / "weights" / "roadsign_yolov5n_original.pt")
    save_model(original, tmp_path / "m.pt")
    again = load_model(tmp_path / "m.pt")
    assert again.names == original.names
    torch.testing.assert_close(again.state_dict(), original.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_like_the_originals(tmp_path: Path, zipped: bool) -> None:
    data, model = layout("yolov5", 2), tiny()
    model.names = ["禁止", "警告"]
    state = {key: t.half().float() if t.is_floating_point() else t for key, t in model.state_dict().items()}
    extra = {
        "best_fitness": np.array([0.5]),
        "fitness": np.float64(0.5),
        "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]},
        "opt": collections.OrderedDict(save_dir=Path("runs")),
    }
    torch.save(as_original(model, data, **extra), tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
    loaded = load_model(tmp_path / "m.pt")
    assert loaded.names == {0: "禁止", 1: "警告"}
    torch.testing.assert_close(loaded.state_dict(), state, rtol=0, atol=0)


def test_releases_before_six(tmp_path: Path) -> None:
    data = layout("yolov5", 2)
    for rows in (data["backbone"], data["head"]):
        for row in rows:
            row[2] = "BottleneckCSP" if row[2] == "C3" else row[2]
    data["backbone"][0] = [-1, 1, "Focus", [64, 3]]
    model = build_model(checked_spec(data))
    for module in model.modules():
        if type(module).__name__ == "BottleneckCSP":
            module.act = nn.LeakyReLU(0.1)
        elif type(module).__name__ == "Conv":
            module.act = nn.Hardswish()
    model.eval()
    images = torch.rand(1, 3, 64, 64)
    data["head"][-1][3] = [2, data["anchors"], [64, 128, 256]]  # the first releases left their channels here
    torch.save(as_original(model, data), tmp_path / "m.pt")
    loaded = load_model(tmp_path / "m.pt")
    torch.testing.assert_close(loaded(images), model.float()(images), rtol=1e-5, atol=1e-4)
    assert loaded.spec.activation == "nn.Hardswish()"
    assert loaded.spec.layers[2].options == {"act": "nn.LeakyReLU(0.1)"}
    save_model(loaded, tmp_path / "n.pt")
    torch.testing.assert_close(load_model(tmp_path / "n.pt")(images), loaded(images), rtol=0, atol=0)


def test_a_fork_says_every_row_that_is_unknown(tmp_path: Path) -> None:
    data, model = layout("yolov5", 2), tiny()
    data["backbone"][4][2] = "C3_CordAtt"
    data["backbone"][9][2] = "SPPCSPCX"
    data["head"][13][2] = "QzxwAttention"
    torch.save(as_original(model, data), tmp_path / "fork.pt")
    with pytest.raises(ValueError, match=r"fork.pt: 3 rows with unknown modules") as caught:
        load_model(tmp_path / "fork.pt")
    text = str(caught.value)
    assert "row 4 'C3_CordAtt' (nearest known: C3CoordAtt" in text
    assert "row 9 'SPPCSPCX' (nearest known: SPP" in text
    assert "row 23 'QzxwAttention' (" in text


def test_a_fork_with_other_tensors_under_a_known_name(tmp_path: Path) -> None:
    data = layout("yolov5", 2)
    data["head"].insert(14, [-1, 1, "CBAM", []])
    data["head"][-1][0] = [17, 20, 24]
    model = build_model(checked_spec(data))
    model.model[24] = nn.Conv2d(8, 8, 1)
    torch.save(as_original(model, data), tmp_path / "fork.pt")
    with pytest.raises(ValueError, match=r"fork.pt: \d+ tensors differ from .* layer list, in row 24 \(CBAM\), e.g."):
        load_model(tmp_path / "fork.pt")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"model.0.conv.weight": torch.zeros(1)}, "tensors without an architecture, model.0.conv.weight, …"),
        ({"epoch": 3, "state_dict": {}}, "a mapping with the keys epoch, state_dict"),
        ([1, 2], "a list"),
        ({}, "an empty mapping"),
        (torch.zeros(3), "a Tensor"),
        ({"model": nn.Conv2d(1, 1, 1)}, "a mapping with the keys model"),
    ],
)
def test_other_architectures(tmp_path: Path, content: object, found: str) -> None:
    torch.save(content, tmp_path / "m.pt")
    with pytest.raises(ValueError, match=rf"m.pt: holds no YOLOv5 detection model \(found {found}\); expected a"):
        load_model(tmp_path / "m.pt")


def test_other_tasks_of_the_original(tmp_path: Path) -> None:
    data, model = layout("yolov5", 2), tiny()
    data["head"][-1][2:] = ["Segment", ["nc", "anchors", 32, 256]]
    torch.save(as_original(model, data), tmp_path / "m.pt")
    with pytest.raises(ValueError, match=r"m.pt: holds a segmentation model .* expected a detection model"):
        load_model(tmp_path / "m.pt")


def test_a_copy_is_the_same_file(shared: Path, tmp_path: Path) -> None:
    """A path with other letters than ASCII."""
    shutil.copy(shared / "weights" / "roadsign_single_class_original.pt", tmp_path / "权重.pt")
    assert load_model(tmp_path / "权重.pt").spec.file == "权重.pt"
