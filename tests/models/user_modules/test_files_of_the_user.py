"""Files of --module and `modules:`: when they are run, and what weights files say of their classes."""

from pathlib import Path

import pytest
import torch
import yaml

import models.common
from models import build_model, insert, load_model, load_modules, load_spec, save_model
from models.attention import accepted_options
from models.graph.checked import checked_spec
from models.user_modules import find_class
from models.weights.checkpoint import read_checkpoint
from tests.support.model_layouts import as_original, layout
from tests.support.user_modules import GATE, forgotten_afterwards, written


@pytest.fixture(autouse=True)
def _forget():
    with forgotten_afterwards():
        yield


def gated(folder: Path) -> Path:
    """Weights of a model with a class of own.py, which is not known any more."""
    with forgotten_afterwards():
        written(folder)
        model = build_model(insert(load_spec("yolov5n.yaml", nc=2), "Gate(r=4)@neck.P3", start="identity"))
        save_model(model, folder / "gated.pt")
    return folder / "gated.pt"


def test_weights_open_with_the_file_and_name_it_without(tmp_path):
    file = gated(tmp_path)
    with pytest.raises(ValueError, match=r"needs the class Gate of own.py, .* --module own.py .*load_modules"):
        load_model(file)
    load_modules(tmp_path / "own.py")
    model = load_model(file)
    assert model.model[18].fc[0].out_channels == 64 // 4
    stored = torch.load(file, weights_only=True)
    assert stored["modules"] == {"Gate": "own.py"}  # the name, no path and no code
    torch.testing.assert_close(model.state_dict(), read_checkpoint(file).state_dict, rtol=0, atol=0)


def test_weights_never_run_a_file(tmp_path, monkeypatch):
    gated(tmp_path)
    (tmp_path / "own.py").write_text(f"import pathlib\npathlib.Path('ran').touch()\n{GATE}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"weights files hold no code"):
        load_model("gated.pt")
    assert not (tmp_path / "ran").exists()
    load_modules("own.py")
    assert (tmp_path / "ran").exists()


def test_weights_of_a_class_in_models_common(tmp_path, monkeypatch):
    with forgotten_afterwards(), monkeypatch.context() as there:
        written(tmp_path)
        there.setattr(models.common, "Gate", find_class("Gate"), raising=False)
        save_model(build_model(insert(load_spec("yolov5n.yaml", nc=2), "Gate@neck.P3")), tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"class Gate of models/common.py, .*; copy the class into models/common"):
        load_model(tmp_path / "a.pt")


@pytest.mark.parametrize("modules", ["own.py", ["own.py"]])
def test_a_yaml_names_files_beside_it(tmp_path, modules):
    (tmp_path / "own.py").write_text(GATE, encoding="utf-8")
    data = {**layout("yolov5", 2), "modules": modules}
    data["backbone"][-1] = [-1, 1, "Gate", []]
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    with pytest.raises(ValueError, match=r"an unknown module: row 9 'Gate'"):
        build_model(load_spec(tmp_path / "model.yaml", run_modules=False))
    assert type(build_model(load_spec(tmp_path / "model.yaml")).model[9]).__name__ == "Gate"


def test_an_overlay_names_files(tmp_path):
    (tmp_path / "own.py").write_text(GATE, encoding="utf-8")
    overlay = "base: yolov5n.yaml\nmodules: [own.py]\ninsert: [{after: neck.P3, attention: Gate, r: 8}]\n"
    (tmp_path / "overlay.yaml").write_text(overlay, encoding="utf-8")
    assert load_spec(tmp_path / "overlay.yaml").layers[18].options == {"r": 8}


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ("none.py", "model.yaml: modules: module file 'none.py'"),
        ("own.txt", "model.yaml: modules: module file"),
        (3, r"model.yaml: modules: expected files, e.g. \[my_attention.py\], but got 3"),
        ("broken.py", r"module file 'broken.py' cannot be run: SyntaxError: .*line 2 of broken.py"),
        ("raises.py", r"module file 'raises.py' cannot be run: ZeroDivisionError: division by zero \(line 3 of raises"),
    ],
)
def test_a_file_that_cannot_be_run_says_why(tmp_path, modules, message):
    (tmp_path / "own.txt").write_text(GATE, encoding="utf-8")
    (tmp_path / "broken.py").write_text("x = 1\nclass A(:\n", encoding="utf-8")
    (tmp_path / "raises.py").write_text("x = 1\n\ny = x / 0\n", encoding="utf-8")
    (tmp_path / "model.yaml").write_text(yaml.safe_dump({**layout("yolov5", 2), "modules": modules}), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_spec(tmp_path / "model.yaml")


def test_a_file_is_run_again_only_after_a_change(tmp_path):
    file = written(tmp_path)
    first = find_class("Gate")
    load_modules([file])
    assert find_class("Gate") is first
    file.write_text(GATE.replace("r=16", "r=2"), encoding="utf-8")
    load_modules(file)
    assert find_class("Gate") is not first


def test_a_registered_class_may_be_changed(tmp_path):
    text = GATE.replace("class Gate", "from models.attention import register\n\n\n@register('Named')\nclass Gate")
    file = written(tmp_path, text)
    file.write_text(text.replace("r=16", "r=4"), encoding="utf-8")
    load_modules(file)
    assert accepted_options("Named") == {"r": 4}


def test_one_name_in_two_files_is_refused(tmp_path):
    written(tmp_path)
    written(tmp_path, name="other.py")
    with pytest.raises(ValueError, match=r"Gate is a class in each of own.py, other.py; rename one"):
        insert(load_spec("yolov5n.yaml"), "Gate@neck.P3")


def test_a_fork_with_a_class_of_the_user_loads(tmp_path):
    written(tmp_path)
    data = layout("yolov5", 2)
    data["backbone"][-1] = [-1, 1, "Gate", [1024, 4]]
    model = build_model(checked_spec(data, "fork.yaml"))
    gate = type(model.model[9])
    with pytest.MonkeyPatch.context() as fork_only:
        fork_only.setattr(gate, "__module__", "models.common")
        fork_only.setattr(models.common, "Gate", gate, raising=False)
        torch.save(as_original(model, data), tmp_path / "fork.pt")
    loaded = load_model(tmp_path / "fork.pt")
    assert torch.equal(loaded.model[9].fc[0].weight, model.float().model[9].fc[0].weight)
