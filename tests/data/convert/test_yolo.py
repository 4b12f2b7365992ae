"""Label files whose classes are counted from 1: refused when they are read, and written anew by data.convert."""

import re
import shlex
import sys

import pytest
import yaml

import train
import val
from data.convert.__main__ import main
from data.dataset.dataset_yaml import load_dataset_spec
from data.loading.loader import create_loader
from engine.config.parser import run_cli
from tests.support.voc_folders import picture, save

BOX = "0.5 0.5 0.25 0.5"


def make_set(folder, rows, names=("blue", "red"), **entries):
    """A set with the same label rows in train and val, one image a row."""
    for split in ("train", "val"):
        for number, row in enumerate(rows):
            save(folder / "images" / split / f"{number}.png", picture(100 * (split == "val") + number))
            label = folder / "labels" / split / f"{number}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text(row + "\n")
    content = {"path": ".", "train": "images/train", "val": "images/val", "names": list(names), **entries}
    (folder / "data.yaml").write_text(yaml.safe_dump(content))
    return folder / "data.yaml"


def load(data):
    return create_loader(load_dataset_spec(data), image_px=64, batch_size=2, workers=0, augment=True)


@pytest.mark.parametrize("script", [train, val])
def test_ids_from_one_are_one_error_whose_command_mends_them(script, tmp_path, monkeypatch, capsys):
    data = make_set(tmp_path / "my set", [f"1 {BOX}", f"2 {BOX}", f"2 {BOX}"])
    own = ["--cfg", "yolov5n.yaml"] if script is train else []
    words = ["--data", data, *own, "--single-cls", "--project", tmp_path / "runs", "--device", "cpu"]
    for _ in range(2):  # the second time from the cache of the scan
        monkeypatch.setattr(sys, "argv", [f"{script.__name__}.py", *map(str, words)])
        assert run_cli(script.main) == 2
        out, err = capsys.readouterr()
        assert "class ids start at 1, the data set counts from 0" in err
        assert err.count("\n") == 1
        assert "bad row" not in out
    command = shlex.split(re.search(r"python -m data.convert (.*)$", err)[1])
    assert main(command) == 0
    new = tmp_path / "my set_from_0"
    rows = [(new / "labels" / "train" / f"{i}.txt").read_text() for i in range(3)]
    assert rows == ["0 0.500000 0.500000 0.250000 0.500000\n"] + ["1 0.500000 0.500000 0.250000 0.500000\n"] * 2
    assert (tmp_path / "my set" / "labels" / "train" / "0.txt").read_text() == f"1 {BOX}\n"
    loader = load(new / "my set_from_0.yaml")
    assert [int(label[0, 0]) for label in loader.dataset.labels] == [0, 1, 1]
    assert loader.dataset.report.summary() == "train: 3 images, 0 backgrounds, 0 corrupt, 3 boxes"


@pytest.mark.parametrize("rows", [[f"0 {BOX}", f"2 {BOX}"], [f"1 {BOX}", f"3 {BOX}"]])
def test_a_wrong_id_alone_is_a_bad_row(rows, tmp_path, capsys):
    assert len(load(make_set(tmp_path, rows)).dataset.report.bad_rows) == 1
    assert "bad row, dropped" in capsys.readouterr().out


def test_classes_without_a_label_are_named_once_and_the_rest_counted(tmp_path, capsys):
    load(make_set(tmp_path, [f"1 {BOX}"], [f"c{i}" for i in range(14)]))
    out = capsys.readouterr().out
    assert "train: warning: 13 of the 14 classes of `names:` have no label here and are not learned: c0, c2, " in out
    assert "c10 and 3 more\n" in out
    load(make_set(tmp_path / "all", [f"1 {BOX}", f"0 {BOX}"]))
    assert "warning" not in capsys.readouterr().out


def test_rows_that_cannot_be_moved_and_polygons_are_reported(tmp_path, capsys):
    data = make_set(tmp_path / "set", [f"0 {BOX}", f"2 {BOX}", "1 0.25 0.25 0.75 0.25 0.75 0.75", f"9 {BOX}"])
    folder, out = tmp_path / "set", tmp_path / "out"
    assert main(["yolo", str(folder), "--data", str(data), "--ids-from", "1", "--out", str(out)]) == 0
    labels = {path.stem: path.read_text() for path in (out / "labels" / "val").iterdir()}
    assert labels["0"] == labels["3"] == ""
    assert labels["1"] == "1 0.500000 0.500000 0.250000 0.500000\n"
    assert labels["2"] == "0 0.500000 0.500000 0.500000 0.500000\n"
    report = (out / "report.md").read_text()
    assert "class 0 is below --ids-from 1" in report
    assert "class 9 but the data set has 3 classes" in report
    assert "1 polygons became the boxes around them" in report


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ids-from", "-1"], "--ids-from -1: expected 0 or more"),
        (["--data", "gone.yaml"], "gone.yaml"),
    ],
)
def test_mistakes(words, message, tmp_path, capsys):
    make_set(tmp_path / "set", [f"1 {BOX}"])
    assert main(["yolo", str(tmp_path / "set"), "--out", str(tmp_path / "out"), *words]) == 2
    assert message in capsys.readouterr().err


def test_the_yaml_must_be_plain_and_its_images_inside(tmp_path, capsys):
    data = make_set(tmp_path / "set", [f"1 {BOX}"])
    (tmp_path / "set" / "more.yaml").write_text(data.read_text())
    assert main(["yolo", str(tmp_path / "set"), "--out", str(tmp_path / "out")]) == 2
    assert "expected one .yaml that describes the set but found 2; add --data" in capsys.readouterr().err
    save(tmp_path / "other" / "a.png", picture(1))
    assert main(["yolo", str(tmp_path / "other"), "--data", str(data), "--out", str(tmp_path / "out")]) == 2
    assert "lies outside; give a folder that holds all images" in capsys.readouterr().err


def test_labels_of_a_side_are_looked_for_where_training_looks(tmp_path, capsys):
    for side, place in (("train", "train/labels"), ("val", "val")):  # inside the folder of images, and beside them
        save(tmp_path / "set" / side / "a.png", picture(len(side)))
        label = tmp_path / "set" / place / "a.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(f"1 {BOX}\n")
    (tmp_path / "set" / "data.yaml").write_text("train: train\nval: val\nnames: [blue, red]\n")
    assert main([str(tmp_path / "set"), "--out", str(tmp_path / "out")]) == 0
    rows = [path.read_text().split()[0] for path in (tmp_path / "out" / "labels").rglob("*.txt")]
    assert rows == ["1", "1"]


def test_labels_outside_of_the_folder_are_an_error(tmp_path, capsys):
    data = make_set(tmp_path / "set", [f"1 {BOX}"])
    images = tmp_path / "set" / "images"
    assert main(["yolo", str(images), "--data", str(data), "--out", str(tmp_path / "out")]) == 2
    assert f"lies outside of {images}; give the folder that holds images and labels" in capsys.readouterr().err
