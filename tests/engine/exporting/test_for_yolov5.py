"""`--include yolov5`: its files are read by code of the original's names alone, in a process without this project."""

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from engine.config.export_config import ExportConfig
from engine.exporting.receiver_module import receiver_module
from engine.exporting.run_export import export
from models import build_model, insert, load_model, load_modules, load_spec, save_model
from models.attention import ATTENTION, create_attention
from models.weights.checkpoint import read_checkpoint
from models.weights.safe_unpickler import read_weights
from models.weights.write_original import write_original
from tests.support.model_layouts import layout
from tests.support.reference import randomise
from tests.support.user_modules import forgotten_afterwards

READER = Path(__file__).parents[2] / "support" / "original_reader.py"
WITHOUT_TIMM = sorted(set(ATTENTION) - {"Timm"})
MINE = """
from torch import nn


class Gate(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Conv2d(channels, 1, 1)

    def forward(self, x):
        return x * self.weight(x).sigmoid()
"""


def read_there(weights, folder, images, *modules):
    """What the reader's process makes of it; what it says if it fails."""
    torch.save(images, folder / "images.pt")
    words = [str(READER), str(weights), str(folder / "images.pt"), str(folder / "out.pt"), *map(str, modules)]
    done = subprocess.run([sys.executable, "-I", *words], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr
    return torch.load(folder / "out.pt")


@pytest.fixture
def images():
    return torch.rand(2, 3, 64, 96)


def assert_same(there, model, images):
    with torch.no_grad():
        torch.testing.assert_close(there["found"], model.eval()(images), rtol=1e-4, atol=1e-3)
    assert there["keys"] == list(model.state_dict())
    assert (there["names"], there["nc"]) == (model.names, model.nc)
    assert there["stride"] == model.stride.tolist()
    assert there["epoch"] == -1


def test_stock_weights_need_nothing_of_ours(root, tmp_path, images, capsys):
    weights = tmp_path / "yolov5n.pt"
    weights.symlink_to(root / "weights" / "yolov5n.pt")
    (done,) = export(ExportConfig(weights=str(weights), include=("yolov5",)))
    assert done.path == tmp_path / "yolov5n_yolov5.pt"
    model = load_model(weights)
    there = read_there(done.path, tmp_path, images)
    assert_same(there, model, images)
    assert there["yaml"]["backbone"][0] == [-1, 1, "Conv", [64, 6, 2, 2]]
    back = read_checkpoint(done.path)  # as a file of the original
    assert (back.kind, back.spec.layers) == ("yolov5", model.spec.layers)
    assert all(torch.equal(tensor, back.state_dict[key]) for key, tensor in model.state_dict().items())
    assert "padded" not in capsys.readouterr().err
    assert not (tmp_path / "yolov5_attention.py").exists()
    assert export(ExportConfig(weights=str(weights), include=("yolov5",)))[0].path == done.path  # ours, so replaced


def test_attention_comes_in_one_file(root, tmp_path, images, capsys):
    weights = tmp_path / "best.pt"
    weights.symlink_to(root / "weights" / "yolov5n_ca_signs.pt")
    (done,) = export(ExportConfig(weights=str(weights), include=("yolov5",), half=True))
    assert f"copy {tmp_path / 'yolov5_attention.py'} into the folder models/" in capsys.readouterr().out
    error = read_there(done.path, tmp_path, images)
    assert "No module named 'models.yolov5_attention'" in error
    model = load_model(weights)  # whose numbers fit into fp16
    assert_same(read_there(done.path, tmp_path, images, tmp_path / "yolov5_attention.py"), model, images)
    needs = read_weights(done.path)["yolov5-attention"]["needs"]
    assert needs == {"models.yolov5_attention": ["CoordAtt"]}


def test_four_levels_and_three_classes(tmp_path):
    images = torch.rand(2, 3, 64, 128)
    (tmp_path / "p6.yaml").write_text(yaml.safe_dump(layout("p6", nc=3)))
    model = randomise(build_model(load_spec(tmp_path / "p6.yaml")))
    assert write_original(model, tmp_path / "p6.pt") == []
    assert_same(read_there(tmp_path / "p6.pt", tmp_path, images), model, images)
    assert load_model(tmp_path / "p6.pt").stride.tolist() == [8, 16, 32, 64]


def test_attention_inside_a_bottleneck_and_a_class_of_the_users(tmp_path, images, root):
    (tmp_path / "mine.py").write_text(MINE)
    with forgotten_afterwards():
        load_modules(tmp_path / "mine.py")
        text = (root / "models" / "yolov5n.yaml").read_text().replace("[-1, 3, C3, [128]]", "[-1, 3, C3SE, [128]]")
        (tmp_path / "x.yaml").write_text(text)
        model = randomise(build_model(insert(load_spec(tmp_path / "x.yaml", nc=3), "Gate@neck.P4")))
        needs = write_original(model, tmp_path / "x.pt")
        assert needs == ["models.mine", "models.yolov5_attention"]
        (tmp_path / "yolov5_attention.py").write_text(receiver_module())
        there = read_there(tmp_path / "x.pt", tmp_path, images, tmp_path / "yolov5_attention.py", tmp_path / "mine.py")
        assert_same(there, model, images)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The file's classes, as a module without this project."""
    text = receiver_module()
    imports = {node.module for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in imports if name.split(".")[0] in ("models", "files", "engine", "data")]
    namespace = {"__name__": "yolov5_attention"}
    exec(compile(text, "yolov5_attention.py", "exec"), namespace)  # noqa: S102  (it is what is tested)
    return namespace


@pytest.mark.parametrize("name", WITHOUT_TIMM)
def test_every_module_of_the_file_computes_what_ours_does(name, alone, tmp_path):
    ours = randomise(create_attention(name, 32)).eval()
    theirs = alone[type(ours).__name__](32).eval()
    theirs.load_state_dict(ours.state_dict())
    x = torch.rand(2, 32, 14, 10)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize("name", WITHOUT_TIMM)
def test_every_module_can_be_written(name, tmp_path):
    spec = insert(load_spec("yolov5n.yaml", nc=2), f"{name}@neck.P5")
    model = build_model(spec)
    write_original(model, tmp_path / "x.pt")
    back = read_checkpoint(tmp_path / "x.pt")
    assert [layer.module for layer in back.spec.layers] == [layer.module for layer in spec.layers]
    state = model.state_dict()
    assert list(back.state_dict) == list(state)
    assert all(torch.equal(back.state_dict[key], tensor.float()) for key, tensor in state.items())


def test_what_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--nms is written for torchscript, onnx and openvino, not for yolov5"):
        ExportConfig(include=("yolov5",), nms=True)
    with pytest.raises(ValueError, match="--int8 is written for openvino, not for yolov5"):
        ExportConfig(include=("yolov5",), int8=True)
    spec = load_spec("yolov5n.yaml", nc=2)
    second = replace(spec.layers[1], source=(-1,))
    model = build_model(spec)
    model.spec = replace(spec, layers=(spec.layers[0], second, *spec.layers[2:]))
    with pytest.raises(ValueError, match="reads the image, which the original gives to row 0 alone"):
        write_original(model, tmp_path / "x.pt")
    pytest.importorskip("timm")
    timm = build_model(insert(load_spec("yolov5n.yaml", nc=2), "Timm(layer='se')@neck.P5"))
    with pytest.raises(ValueError, match="layers of timm are not written"):
        write_original(timm, tmp_path / "x.pt")


def test_a_former_file_stays_when_writing_fails(tmp_path, root, monkeypatch):
    model = load_model(root / "weights" / "yolov5n.pt")
    save_model(model, tmp_path / "a.pt")
    before = (tmp_path / "a.pt").read_bytes()
    monkeypatch.setattr(torch, "save", lambda *_, **__: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(ValueError, match=r"a\.pt: cannot be written.*full; the former file is untouched"):
        write_original(model, tmp_path / "a.pt")
    assert (tmp_path / "a.pt").read_bytes() == before
