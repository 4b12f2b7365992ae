"""Checkpoints: the round trip, originals, what is refused, and that a failing write leaves the old file."""

import collections
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model_layouts import layout
from torch import nn

from models import build_model, insert, load_model, load_spec, save_model
from models.checkpoint import FORMAT, atomic_save, read_checkpoint
from models.parsing import parse_spec
from models.yolo import DetectionModel


def tiny(nc: int = 2, name: str = "yolov5") -> DetectionModel:
    return build_model(parse_spec(layout(name, nc), f"{name}.yaml"))


def as_original(model: DetectionModel, data: dict[str, Any], **extra: object) -> dict[str, Any]:
    """A mapping like the original's: whole module objects, with the YAML and the strides as attributes."""
    model.__dict__["yaml"] = data
    model.__dict__["stride"] = model.detect.stride.clone()
    model.detect.__dict__["anchor_grid"] = [torch.zeros(1)]
    return {"epoch": -1, "best_fitness": None, "model": model.half(), "ema": None, "updates": None, **extra}


def test_round_trip(tmp_path: Path) -> None:
    spec = insert(load_spec("yolov5n.yaml", nc=2), "CBAM(kernel_size=3)@neck.P3", start="identity")
    model = build_model(spec)
    save_model(model, tmp_path / "a" / "m.pt", names=["停车", "让行"], training={"epoch": 3, "best": 0.5})
    loaded = load_model(tmp_path / "a" / "m.pt")
    assert not loaded.training
    assert loaded.names == {0: "停车", 1: "让行"}
    assert loaded.spec.layers == spec.layers
    assert (loaded.spec.file, loaded.spec.base) == ("m.pt", "yolov5n.yaml")
    assert [layer.base_row for layer in loaded.spec.layers] == [layer.base_row for layer in spec.layers]
    images = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(loaded(images), model.eval()(images), rtol=0, atol=0)
    checkpoint = read_checkpoint(tmp_path / "a" / "m.pt")
    assert checkpoint.training == {"epoch": 3, "best": 0.5}
    assert checkpoint.kind == "native"
    assert checkpoint.stride == [8, 16, 32]


def test_half_precision_halves_the_file_and_keeps_the_anchors(tmp_path: Path) -> None:
    model = tiny()
    model.detect.anchors.mul_(1.2345678)
    save_model(model, tmp_path / "full.pt")
    save_model(model, tmp_path / "half.pt", half=True)
    assert (tmp_path / "half.pt").stat().st_size < 0.6 * (tmp_path / "full.pt").stat().st_size
    loaded = load_model(tmp_path / "half.pt")
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    torch.testing.assert_close(loaded.detect.anchors, model.detect.anchors, rtol=0, atol=0)
    torch.testing.assert_close(loaded.state_dict(), model.state_dict(), rtol=1e-3, atol=1e-4)
    assert next(model.parameters()).dtype is torch.float32


def test_any_layout_and_any_mode(tmp_path: Path) -> None:
    for name in ("v3-tiny", "p6"):
        model = tiny(3, name)
        save_model(model, tmp_path / "m.pt")
        assert model.training
        assert load_model(tmp_path / "m.pt", "cpu").spec.layers == model.spec.layers


def test_the_file_is_plain_data(tmp_path: Path) -> None:
    save_model(tiny(), tmp_path / "m.pt", training={"lr": np.float64(0.1), "pair": (1, [2])})
    data = torch.load(tmp_path / "m.pt", weights_only=True)
    assert data["format"] == FORMAT
    assert data["training"] == {"lr": 0.1, "pair": (1, [2])}
    assert type(data["training"]["lr"]) is float
    assert set(data["versions"]) == {"torch", "lightning"}


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"path": Path("a")}, "training.path: expected tensors and plain data for a checkpoint but got a "),
        ({"a": [{"b": np.zeros(1)}]}, r"training.a\[0\].b: .* but got a ndarray"),
        ({"a": print}, "training.a: .* but got a builtin_function_or_method"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path: Path, training: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        save_model(tiny(), tmp_path / "m.pt", training=training)
    assert list(tmp_path.iterdir()) == []


def test_a_fused_model_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a fused model cannot be written"):
        save_model(tiny().eval().fuse(), tmp_path / "m.pt")


def test_wrong_names_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected names for the classes 0 to 1"):
        save_model(tiny(), tmp_path / "m.pt", names=["one"])


@pytest.mark.parametrize("failure", [OSError("No space left"), RuntimeError("enforce fail"), KeyboardInterrupt()])
def test_a_failing_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    file = tmp_path / "m.pt"
    save_model(tiny(), file)
    before = file.read_bytes()

    def write_half(data: object, target: Any) -> None:
        target.write(b"half of it")
        raise failure

    monkeypatch.setattr(torch, "save", write_half)
    with pytest.raises((ValueError, KeyboardInterrupt), match=r"written: .*; the former file is untouched|^$"):
        save_model(tiny(), file)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="cannot be written: "):
        atomic_save({}, tmp_path / "file" / "m.pt")


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
    model = build_model(parse_spec(data))
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
    data["backbone"][4][2] = "C3_CoordAtt"
    data["backbone"][9][2] = "SPPCSPC"
    data["head"][13][2] = "QzxwAttention"
    torch.save(as_original(model, data), tmp_path / "fork.pt")
    with pytest.raises(ValueError, match=r"fork.pt: 3 rows with unknown modules") as caught:
        load_model(tmp_path / "fork.pt")
    text = str(caught.value)
    assert "row 4 'C3_CoordAtt' (nearest known: C3CoordAtt" in text
    assert "row 9 'SPPCSPC' (nearest known: SPP" in text
    assert "row 23 'QzxwAttention' (" in text


def test_a_fork_with_other_tensors_under_a_known_name(tmp_path: Path) -> None:
    data = layout("yolov5", 2)
    data["head"].insert(14, [-1, 1, "CBAM", []])
    data["head"][-1][0] = [17, 20, 24]
    model = build_model(parse_spec(data))
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spec": None}, "is marked yolov5-attention/1 but is not complete"),
        ({"names": [1]}, "is marked yolov5-attention/1 but is not complete"),
        ({"state_dict": {"a": 1}}, "is marked yolov5-attention/1 but is not complete"),
        ({"names": {0: "a"}}, "m.pt: expected names for the classes 0 to 1"),
        ({"state_dict": {}}, r"m.pt: 349 tensors differ from those of its layer list, in row 0 \(Conv\)"),
    ],
)
def test_incomplete_files_of_this_project(tmp_path: Path, change: dict, message: str) -> None:
    save_model(tiny(), tmp_path / "m.pt")
    data = torch.load(tmp_path / "m.pt", weights_only=True)
    torch.save({**data, **change}, tmp_path / "m.pt")
    with pytest.raises(ValueError, match=message):
        load_model(tmp_path / "m.pt")


@pytest.mark.parametrize("kind", ["native", "original", "legacy"])
def test_truncated_files(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "m.pt"
    if kind == "native":
        save_model(tiny(), file)
    else:
        torch.save(as_original(tiny(), layout("yolov5", 2)), file, _use_new_zipfile_serialization=kind == "original")
    whole = file.read_bytes()
    short = tmp_path / "short.pt"
    lengths = [0, 1, 2, 3, 10, 30, 64, 100, 500, 1000, 5000, 20_000, len(whole) // 3, len(whole) // 2, len(whole) - 1]
    for length in lengths:
        short.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=rf"short.pt: not a readable weights file \({length} bytes\): truncated"):
            read_checkpoint(short)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"hello\n", b"<html>not found</html>", b"nc: 80\n", "中文".encode(), b"\x00" * 600, b"PK\x03\x04 no"),
        *(b"cos\nsystem\n", b"\x80\x02}q\x00.", b"I5\n.", b"(lp0\n.", b"}", b"\x80\x05\x95" + b"\xff" * 40),
        pickle.dumps({"a": 1}),
    ],
    ids=repr,
)
def test_files_of_other_formats(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"m.pt: (not a readable weights file|holds no YOLOv5|refused)"):
        load_model(tmp_path / "m.pt")


def test_random_damage_gives_that_one_error(tmp_path: Path) -> None:
    save_model(tiny(), tmp_path / "m.pt", half=True)
    whole = bytearray((tmp_path / "m.pt").read_bytes())
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(25):
        damaged = whole.copy()
        for at in rng.integers(0, 3000, 20):  # the pickle is at the front, the tensors behind
            damaged[at] = rng.integers(256)
        (tmp_path / "d.pt").write_bytes(damaged)
        try:
            load_model(tmp_path / "d.pt")
        except ValueError as error:
            assert "d.pt: " in str(error)  # noqa: PT017  (harmless bytes may be hit)
            refused += 1
    assert refused > 10


def test_a_folder_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a weights file but this is a folder; try .*best.pt"):
        load_model(tmp_path)
    with pytest.raises(ValueError, match="was not found"):
        load_model(tmp_path / "none.pt")


def test_a_copy_is_the_same_file(shared: Path, tmp_path: Path) -> None:
    """A path with other letters than ASCII."""
    shutil.copy(shared / "weights" / "roadsign_single_class_original.pt", tmp_path / "权重.pt")
    assert load_model(tmp_path / "权重.pt").spec.file == "权重.pt"
