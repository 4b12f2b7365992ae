"""The demonstration: its commands are what train.py, val.py and detect.py take, its sheet holds every picture."""

from pathlib import Path

import numpy as np
import pytest

from data.dataset.dataset_yaml import list_images, load_dataset_spec
from data.dataset.label_scan import scan_labels
from data.images import write_image
from engine import demo
from engine.config import detect_config, val_config
from engine.config.train_request import parse_train_args


def test_commands_are_those_of_the_scripts(root, monkeypatch) -> None:
    monkeypatch.chdir(root)
    (_, train), (_, val), (_, detect) = demo.commands("roadsigns", Path("runs/demo"))
    assert (train[0], val[0], detect[0]) == ("train.py", "val.py", "detect.py")
    config = parse_train_args(train[1:]).config
    assert config.weights == str(root / "weights" / "yolov5n.pt")
    assert config.class_map == ("stop=stop sign",)
    assert Path(config.data).name == "roadsigns_demo.yaml"
    assert not Path(config.hyp).name.startswith("hyp.no-mirror")
    assert val_config.parse_config(val[1:]).imgsz == 320
    assert len(list_images([root / detect_config.parse_config(detect[1:]).source])) == 20


def test_the_sample_is_small_whole_and_split(root) -> None:
    folder = root / "data" / "roadsigns_demo"
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.suffix != ".npz") < 8e6
    assert "CC0 1.0" in (folder / "PROVENANCE.md").read_text()
    dataset = load_dataset_spec("roadsigns_demo.yaml")
    names: set[str] = set()
    for split, count, boxes in (("train", 160, 248), ("val", 40, 61), ("test", 20, 38)):
        images = list_images(dataset.entries(split))
        scan = scan_labels(images, 4, progress=False)
        assert (len(scan.paths), sum(map(len, scan.labels))) == (count, boxes)
        names |= {Path(image).name for image in images}
    assert len(names) == 220


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (4, 1), (5, 2)])
def test_the_sheet_holds_every_picture(tmp_path, count, rows) -> None:
    files = [str(tmp_path / f"{i}.png") for i in range(count)]
    for i, file in enumerate(files):
        write_image(file, np.full((30, 40, 3), 200 - i, np.uint8))
    sheet = demo.contact_sheet(files)
    assert sheet.shape == (rows * 480, 4 * 480, 3)
    for i in range(count):
        row, column = divmod(i, 4)
        assert (sheet[row * 480 + 240, column * 480 + 240] == 200 - i).all()
    if count % 4:
        assert (sheet[-1, -1] == 255).all()


def test_the_first_command_that_fails_ends_it(monkeypatch, capsys) -> None:
    class Done:
        returncode = 3

    monkeypatch.setattr(demo.subprocess, "run", lambda *_, **__: Done)
    assert demo.main(["signs"]) == 3
    assert "[1/3] Train YOLOv5n with coordinate attention on generated street scenes" in capsys.readouterr().out
