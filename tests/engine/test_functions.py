"""The scripts as functions: `train.run`, `val.run`, `detect.run`, `export.run`, `parse_opt` and `main(opt)`."""

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

import detect
import export
import train
import val
from engine.config.val_config import ValConfig
from engine.validation.run_validation import validate
from tests.support.tiny_runs import assert_same_weights


@pytest.fixture(scope="module", autouse=True)
def strange_command_line():
    """What a notebook's kernel was started with: nothing of it may reach a function."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "kernel.json", "--epochs", "77"])
        yield


@pytest.fixture(scope="module")
def flags(workshop, tmp_path_factory):
    """Of a small training."""
    files = {"data": workshop / "set.yaml", "hyp": workshop / "hyp.yaml", "cfg": workshop / "nano.yaml"}
    small = {"weights": "", "epochs": 2, "batch_size": 2, "imgsz": 64, "workers": 0, "noplots": True}
    return {**files, **small, "device": "cpu", "precision": "32", "project": tmp_path_factory.mktemp("runs")}


@pytest.fixture(scope="module")
def trained(flags):
    return train.run(**flags)


@pytest.fixture(scope="module")
def best(trained):
    return Path(trained.save_dir) / "weights" / "best.pt"


def test_training_gives_its_settings_its_folder_and_its_figures(trained, flags):
    assert isinstance(trained, Namespace)
    assert (trained.epochs, trained.imgsz, trained.cfg) == (2, 64, str(flags["cfg"]))
    rows = (Path(trained.save_dir) / "results.csv").read_text().splitlines()
    assert len(rows) == 3
    assert len(trained.results) == 4
    assert all(0 <= figure <= 1 for figure in trained.results)


def test_calls_in_one_process_do_not_disturb_each_other(trained, best, flags, root, tmp_path):
    """A second training, after a validation and a detection, and one in a process of its own give the same weights."""
    val.run(data=flags["data"], weights=best, imgsz=64, workers=0, device="cpu", plots=False, project=tmp_path)
    detect.run(weights=best, source=flags["data"].parent / "set" / "images" / "val", imgsz=64, project=tmp_path)
    threads = torch.get_num_threads()
    again = train.run(**flags)
    assert again.save_dir != trained.save_dir
    assert torch.get_num_threads() == threads
    assert_same_weights(best, Path(again.save_dir) / "weights" / "best.pt")
    words = {name: str(value) if isinstance(value, Path) else value for name, value in flags.items()}
    code = f"import train; print(train.run(**{words | {'project': str(tmp_path)}!r}).save_dir)"
    alone = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert_same_weights(best, Path(alone.stdout.splitlines()[-1]) / "weights" / "best.pt")


def test_validation_gives_what_the_original_gives(shared, tmp_path):
    """Against figures that the original's val.py gave for its own checkpoint on the same images."""
    content = json.loads((shared / "weights" / "roadsign_original_reference.json").read_text())
    wanted = next(value for key, value in content.items() if key.startswith("val.py"))["val_320"]
    weights = shared / "weights" / "roadsign_yolov5n_original.pt"
    data = shared / "data" / "roadsign877" / "roadsign877.yaml"
    same = {"batch_size": 16, "imgsz": 320, "workers": 0, "project": str(tmp_path)}
    figures, maps, times = val.run(data, weights=str(weights), plots=False, **same)
    assert figures[:4] == pytest.approx([wanted[name] for name in ("P", "R", "mAP50", "mAP50-95")], abs=2e-3)
    assert figures[4:] == (0, 0, 0)
    assert maps.shape == (4,)
    assert maps == pytest.approx(wanted["mAP50-95_per_class"], abs=2e-3)
    assert len(times) == 3
    assert min(times) > 0


def test_a_class_without_labels_has_the_mean(best, workshop, tmp_path):
    """As in YOLOv5, whose `maps` a caller weighs classes with."""
    config = ValConfig((str(best),), data=str(workshop / "set.yaml"), imgsz=64, workers=0, plots=False)
    result = validate(ValConfig(**{**vars(config), "project": str(tmp_path)}))[0]
    names = {**result.names, 2: "absent"}
    _, maps, _ = type(result)(**{**vars(result), "names": names}).original_figures()
    by_class = {row.class_id: row.map50_95 for row in result.per_class}
    assert maps.tolist() == [by_class[0], by_class[1], result.map50_95]
    assert np.isclose(result.map50_95, sum(by_class.values()) / 2)


def test_detection_and_export(best, workshop, tmp_path):
    images = workshop / "set" / "images" / "val"
    assert detect.run(best, images, imgsz=64, save_txt=True, conf_thres=0.001, project=tmp_path, name="a") is None
    assert len(list((tmp_path / "a").glob("*.png"))) == 3
    (file,) = export.run(weights=best, imgsz=(64, 64), include=["TorchScript"])
    assert Path(file) == best.with_suffix(".torchscript")
    assert detect.run(weights=file, source=images, imgsz=[64], project=tmp_path, name="b", nosave=True) is None
    assert not (tmp_path / "b").exists()


def test_what_parse_opt_gives_can_be_changed_and_run(best, workshop, tmp_path, monkeypatch):
    words = ["--weights", str(best), "--imgsz", "64", "--project", str(tmp_path), "-f", "kernel.json"]
    monkeypatch.setattr(sys, "argv", ["x.py", *words])
    opt = detect.parse_opt(known=True)
    assert (opt.weights, opt.imgsz, opt.conf_thres, opt.half) == ([str(best)], [64], 0.25, False)
    opt.source, opt.save_txt, opt.conf_thres = str(workshop / "set" / "images" / "val"), True, 0.001
    detect.main(opt)
    detect.run(**vars(opt))
    assert len(list(tmp_path.glob("exp*/*.png"))) == 6
    with pytest.raises(SystemExit):
        detect.parse_opt()
    opt = val.parse_opt(known=True)
    assert (opt.conf_thres, opt.iou_thres) == (0.001, 0.6)  # SUPPRESS'd in the parser
    opt.data, opt.workers, opt.name = str(workshop / "set.yaml"), 0, "val"
    val.main(opt)
    assert (tmp_path / "val" / "results.json").is_file()
    monkeypatch.setattr(sys, "argv", ["x.py"])
    assert export.parse_opt().include == ["torchscript"]
    assert train.parse_opt().weights is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: train.run(epoch=3), r"train\.run\(epoch=…\): there is no such flag; did you mean epochs"),
        (lambda: train.run(cfg="yolov5n.yaml", epochs=0), "--epochs 0: expected at least 1"),
        (lambda: detect.run(conf_thres="much"), "--conf-thres much: expected a number"),
        (lambda: detect.run(source="gone.jpg", nosave=True), r"gone\.jpg"),
        (lambda: val.run(model=object()), r"val\.run\(model=…\): files are measured here"),
        (lambda: export.run(include=["coreml"]), "coreml is not supported"),
        (lambda: train.run(bucket="gs://mine"), "--bucket is not supported: nothing is uploaded"),
    ],
)
def test_mistakes_are_value_errors_and_end_no_process(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_input_that_cannot_be_used_is_an_error(best, tmp_path):
    (tmp_path / "broken.jpg").write_text("no image")
    with pytest.raises(ValueError, match="no input could be used"):
        detect.run(weights=best, source=tmp_path / "broken.jpg", project=tmp_path)


def test_several_gpus_from_a_notebook(monkeypatch):
    """Lightning would start the kernel's own command again for each."""
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    with pytest.raises(ValueError, match=r"a notebook trains on one GPU; !python train\.py"):
        train.run(cfg="yolov5n.yaml", device="0,1")


def test_what_is_left_aside_is_said_once_and_no_flag_is_none(capsys):
    with pytest.raises(ValueError, match=r"gone\.yaml"):
        train.run(cfg="gone.yaml", bbox_interval=3, upload_dataset=False, quad=False, evolve=None)
    told = capsys.readouterr().err
    assert "--bbox_interval is ignored" in told
    assert "upload_dataset" not in told


def test_importing_the_scripts_loads_nothing_heavy(root):
    code = "import sys, train, val, detect, export; print([m for m in ('torch', 'numpy', 'cv2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_study_of_sizes(best, workshop, tmp_path, monkeypatch):
    from engine.validation import study

    monkeypatch.setattr(study, "SIZES_PX", (64, 96))
    flags = {"data": workshop / "set.yaml", "workers": 0, "device": "cpu", "project": tmp_path}
    last, _, _ = val.run(weights=[best, best], task="study", **flags)
    tables = [np.loadtxt(tmp_path / "exp" / f"study_set_{name}.txt") for name in ("best", "best_2")]
    assert [table.shape for table in tables] == [(2, 10), (2, 10)]
    alone, _, _ = val.run(weights=best, imgsz=96, plots=False, **flags)
    assert last == alone
    assert tables[1][1, :7] == pytest.approx(alone, rel=1e-3, abs=1e-4)
    assert (tables[0][:, 7:] > 0).all()
    assert (tmp_path / "exp" / "study.png").stat().st_size > 10_000
