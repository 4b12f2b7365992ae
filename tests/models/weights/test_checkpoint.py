"""Checkpoints of this project: the round trip, damaged files, and that a failing write leaves the old file."""

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from models import build_model, insert, load_model, load_spec, save_model
from models.graph.checked import checked_spec
from models.weights.checkpoint import FORMAT, atomic_save, read_checkpoint
from models.yolo import DetectionModel
from tests.support.model_layouts import as_original, layout


def tiny(nc: int = 2, name: str = "yolov5") -> DetectionModel:
    return build_model(checked_spec(layout(name, nc), f"{name}.yaml"))


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


def test_a_full_disk_is_called_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(data: object, target: Any) -> None:
        raise RuntimeError("unexpected pos 5424704 vs 5424592")  # torch's words for it

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(ValueError, match="cannot be written: unexpected pos"):
        save_model(tiny(), tmp_path / "m.pt")
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=4096))
    with pytest.raises(ValueError, match=r"m\.pt: cannot be written: the disk is full$"):
        save_model(tiny(), tmp_path / "m.pt")


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
        wrong = rf"not a readable weights file \({length} bytes\): truncated" if length else "the weights file is empty"
        with pytest.raises(ValueError, match=f"short.pt: {wrong}"):
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
    with pytest.raises(ValueError, match=r"m.pt: (not a readable|the weights file is empty|holds no YOLOv5|refused)"):
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
