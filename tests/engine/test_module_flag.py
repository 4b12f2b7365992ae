"""--module on train.py, val.py, detect.py and export.py, and from Python: with it they work, without they say so."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from engine import load_model
from engine.config import detect_config, export_config, val_config
from engine.config.train_request import ResumeRequest, parse_train_args
from engine.detection.run_detection import run_detection
from engine.exporting.run_export import export
from engine.training.run_training import train
from engine.validation.run_validation import validate
from tests.support.tiny_runs import make_config
from tests.support.user_modules import GATE, forgotten_afterwards

MISSING = "needs the class Gate of own.py, and weights files hold no code; name that file"


@pytest.fixture(autouse=True)
def _forget():
    with forgotten_afterwards():
        yield


@pytest.fixture(scope="module")
def trained(workshop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with own.py and the run `exp` of a model with its class."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.py").write_text(GATE, encoding="utf-8")
    with forgotten_afterwards():
        train(
            make_config(workshop, folder, module=(str(folder / "own.py"),), attention=("Gate(r=4)@neck.P3",), epochs=1)
        )
    return folder


def weights_of(folder: Path) -> str:
    return str(folder / "exp" / "weights" / "best.pt")


def test_train_py_checks_and_stores_the_file(workshop, trained, monkeypatch):
    monkeypatch.chdir(trained)
    words = ["--cfg", str(workshop / "nano.yaml"), "--data", str(workshop / "set.yaml"), "--attention", "Gate@neck.P3"]
    with pytest.raises(ValueError, match=r"name of an attention module but got 'Gate'.* a file named with --module"):
        parse_train_args(words)
    config = parse_train_args([*words, "--module", "own.py"]).config
    assert config.module == (str(trained / "own.py"),)
    assert type(config).from_dict(config.to_dict()) == config
    assert "module" not in make_config(workshop, trained).to_dict()  # as in runs from before there was the flag


@pytest.mark.parametrize("script", ["val", "detect", "export", "python", "resume"])
def test_every_way_to_open_weights(script, workshop, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights, module = weights_of(trained), ["--module", str(trained / "own.py")]
    images, small = str(workshop / "set" / "images" / "val"), ["--imgsz", "64", "--device", "cpu"]

    def run(words: list[str]) -> object:
        if script == "val":
            line = ["--weights", weights, "--data", str(workshop / "set.yaml"), "--workers", "0", "--noplots"]
            return validate(val_config.parse_config([*line, *small, *words]))
        if script == "detect":
            line = ["--weights", weights, "--source", images, "--project", str(tmp_path)]
            return run_detection(detect_config.parse_config([*line, *small, *words]))
        if script == "export":
            line = ["--weights", weights, "--include", "torchscript"]
            return export(export_config.parse_config([*line, *small, *words]))
        if script == "python":
            return load_model(weights, "cpu", module=words[1:]).predict(images, imgsz=64)
        last = weights.replace("best", "last")
        request = parse_train_args(["--resume", last, "--epochs", "2", *words])
        assert isinstance(request, ResumeRequest)
        return train(request)

    with pytest.raises(ValueError, match=MISSING):
        run([])
    run(module)


def test_hub_takes_the_file(root, trained):
    options = {"path": weights_of(trained), "source": "local", "_verbose": False, "device": "cpu"}
    with pytest.raises(ValueError, match=MISSING):
        torch.hub.load(str(root), "custom", **options)
    model = torch.hub.load(str(root), "custom", **options, module=str(trained / "own.py"))
    assert model.names == {0: "even", 1: "odd"}


def test_a_script_ends_in_one_line(root, workshop, trained):
    data = str(workshop / "set.yaml")
    command = [sys.executable, "val.py", "--weights", weights_of(trained), "--data", data, "--device", "cpu"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"{MISSING}, --module own.py" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("parse", [val_config.parse_config, detect_config.parse_config, export_config.parse_config])
def test_a_file_that_is_not_there(parse):
    with pytest.raises(ValueError, match=r"module file 'nowhere.py' was not found"):
        parse(["--module", "nowhere.py"])
