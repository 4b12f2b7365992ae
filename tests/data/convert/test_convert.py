"""The whole command on small folders."""

import json
import os
import re
import shutil

import numpy as np
import pytest
import yaml

from data.convert.__main__ import main
from data.dataset.dataset_yaml import load_dataset_spec
from data.images import read_image
from tests.support.voc_folders import add, picture, save, voc_object


@pytest.fixture
def source(tmp_path):
    """Twelve images, two classes; c0, c1 and c2 show the same scene."""
    folder = tmp_path / "source"
    for i in range(9):
        add(folder, f"a{i}", voc_object("stop", (0, 0, 32, 24)) if i % 2 else voc_object("go", (8, 8, 16, 16)), seed=i)
    for i in range(3):
        add(folder, f"c{i}", voc_object("go", (8, 8, 16, 16)), seed=100)
        save(folder / "images" / f"c{i}.png", np.clip(picture(100).astype(int) + 3 * i, 0, 255).astype(np.uint8))
    return folder


def run(source, out, *flags):
    return main(["voc", str(source), "--out", str(out), *flags])


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_yolo_layout_by_hand(source, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(source, out, "--split", "0.75,0.25", "--names", "stop,go") == 0
    labels = {path.stem: path.read_text() for path in out.rglob("*.txt")}
    # (0, 0, 32, 24) in 64x48: centre (16, 12), so 0.25, 0.25; size 0.5, 0.5.  (8, 8, 16, 16): centre (12, 12).
    assert labels["a1"] == "0 0.250000 0.250000 0.500000 0.500000\n"
    assert labels["a0"] == "1 0.187500 0.250000 0.125000 0.166667\n"
    spec = load_dataset_spec(out / "out.yaml")
    assert spec.names == {0: "stop", 1: "go"}
    assert [entry.name for entry in (*spec.train, *spec.val)] == ["train", "val"]
    assert all(entry.is_dir() and entry.is_relative_to(out) for entry in (*spec.train, *spec.val))
    sides = {path.stem: path.parent.name for path in (out / "images").rglob("*.png")}
    assert sides == {path.stem: path.parent.name for path in (out / "labels").rglob("*.txt")}
    assert len(sides) == 12
    assert sides["c0"] == sides["c1"] == sides["c2"]
    assert list(sides.values()).count("val") in (3, 4)
    for name, side in sides.items():
        assert (out / "images" / side / f"{name}.png").read_bytes() == (source / "images" / f"{name}.png").read_bytes()
    report = (out / "report.md").read_text()
    assert "- c0, c1, c2" in report
    assert "| boxes of go | " in report
    assert "12 images" in capsys.readouterr().out


def test_names_are_sorted_by_default_and_checked(source, tmp_path, capsys):
    assert run(source, tmp_path / "a") == 0
    assert yaml.safe_load((tmp_path / "a" / "a.yaml").read_text())["names"] == {0: "go", 1: "stop"}
    assert run(source, tmp_path / "b", "--names", "go") == 2
    assert "--names lacks classes that the annotations hold: stop (4, first in a1.xml)" in capsys.readouterr().err
    assert run(source, tmp_path / "b", "--classes", "go") == 0
    assert (tmp_path / "b" / "report.md").read_text().count("1 of stop, which --classes leaves out") == 4
    assert run(source, tmp_path / "c", "--names", "go,stop,go") == 2


def test_a_set_that_has_a_yaml_in_data_takes_its_class_order(shared, tmp_path):
    assert run(shared / "data" / "roadsign_voc_sample", tmp_path / "roadsigns") == 0
    names = load_dataset_spec(tmp_path / "roadsigns" / "roadsigns.yaml").names
    assert names == {0: "trafficlight", 1: "stop", 2: "speedlimit", 3: "crosswalk"}
    assert (next((tmp_path / "roadsigns").rglob("road0.txt"))).read_text().startswith("0 ")


def test_same_seed_same_bytes_and_another_seed_another_split(source, tmp_path):
    for name, seed in (("a/set", "0"), ("b/set", "0"), ("c/set", "1")):
        assert run(source, tmp_path / name, "--seed", seed) == 0
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert set(tree(tmp_path / "a")) != set(tree(tmp_path / "c"))


def test_near_duplicates_can_be_allowed_apart(source, tmp_path):
    assert run(source, tmp_path / "a", "--near-duplicate-bits", "-1") == 0
    assert "near-duplicates: none found" in (tmp_path / "a" / "report.md").read_text()


def test_links_share_their_bytes(source, tmp_path):
    assert run(source, tmp_path / "a", "--link") == 0
    linked = next((tmp_path / "a" / "images").rglob("a1.png"))
    assert os.path.samefile(linked, source / "images" / "a1.png")
    assert run(source, tmp_path / "b") == 0
    copied = next((tmp_path / "b" / "images").rglob("a1.png"))
    assert not os.path.samefile(copied, source / "images" / "a1.png")


def test_interrupted_conversion_leaves_nothing_and_is_repeated(source, tmp_path, monkeypatch):
    out = tmp_path / "out"
    copied = []

    def copy_three(a, b):
        if len(copied) == 3:
            raise KeyboardInterrupt
        copied.append(a)
        return real_copy(a, b)

    real_copy = shutil.copyfile
    monkeypatch.setattr("data.convert.write_yolo.shutil.copyfile", copy_three)
    assert run(source, out) == 130
    assert not out.exists()
    monkeypatch.setattr("data.convert.check_boxes._read", lambda image: pytest.fail(f"{image} is read again"))
    monkeypatch.setattr("data.convert.write_yolo.shutil.copyfile", lambda a, b: (copied.append(a), real_copy(a, b)))
    assert run(source, out) == 0
    assert len(copied) == len(set(copied)) == 12  # no image is copied twice
    assert len(list((out / "images").rglob("*.png"))) == 12
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


def test_other_files_are_never_lost(source, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    assert run(source, out) == 2
    assert "not empty" in capsys.readouterr().err
    assert run(source, out, "--exist-ok") == 0
    (out / "images" / "train" / "stray.png").write_bytes(b"x")
    assert run(source, out, "--exist-ok", "--seed", "3") == 0
    assert (out / "mine.txt").read_text() == "keep"
    assert len(list((out / "images").rglob("*.png"))) == 12  # the earlier conversion is replaced, not mixed in
    assert json.loads((out / "conversion.json").read_text())["seed"] == 3
    (out / "conversion.json").unlink()
    assert run(source, out, "--exist-ok") == 2
    assert "that no conversion wrote" in capsys.readouterr().err
    for overlapping in (source, source / "sub", source.parent):
        assert run(source, overlapping, "--exist-ok") == 2
        assert "neither may contain the other" in capsys.readouterr().err


def test_broken_files_are_reported_and_the_rest_is_done(source, tmp_path):
    (source / "images" / "a3.png").write_bytes(b"no picture")
    (source / "annotations" / "a4.xml").write_text("<annotation>")
    assert run(source, tmp_path / "out") == 0
    report = (tmp_path / "out" / "report.md").read_text()
    assert "## Images left out (3)" in report  # the picture, the annotation, and the image that lost its annotation
    assert "`images/a3.png`: picture cannot be read" in report
    assert "`annotations/a4.xml`: annotation cannot be read" in report
    assert len(list((tmp_path / "out").rglob("*.png"))) == 10


def test_equal_names_do_not_share_a_label_file(source, tmp_path):
    save(source / "images" / "a1.jpg", picture(77))
    assert run(source, tmp_path / "out", "--keep-unlabelled") == 0
    report = (tmp_path / "out" / "report.md").read_text()
    assert "both would have one label file" in report
    assert len(list((tmp_path / "out" / "images").rglob("a1.*"))) == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--split", "0.8,0.3"], "--split 0.8,0.3: expected two or three shares that add up to 1"),
        (["--split", "0,1"], "--split 0,1: expected two or three shares"),
        (["--min-size", "0"], "--min-size 0: expected 1 or more"),
        (["--classes", "go,,stop"], "--classes .*: expected different, non-empty names"),
        (["--classes", "stopp"], "--classes stopp: the set has no such class; did you mean stop"),
        (["--clips", "("], "is no regular expression"),
        (["--clips", "a"], r"expected a group in \( \)"),
        (["--categories"], "--categories: is of the format gtsdb, but this is voc"),
        (["--near-duplicate-bits", "100"], "expected at most 64"),
        (["--image-sets"], "expected .*ImageSets"),
    ],
)
def test_wrong_options_give_one_line(source, tmp_path, capsys, flags, message):
    assert run(source, tmp_path / "out", *flags) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert re.search(message, err), err


def test_missing_folder_and_empty_set(tmp_path, capsys):
    assert run(tmp_path / "nothing", tmp_path / "out") == 2
    assert "no such folder or archive" in capsys.readouterr().err
    add(tmp_path / "bare", "one")
    assert run(tmp_path / "bare", tmp_path / "out") == 2
    assert "hold no objects" in capsys.readouterr().err


def test_real_sample_agrees_with_the_reference_conversion(shared, tmp_path):
    names = "trafficlight,stop,speedlimit,crosswalk"
    assert run(shared / "data" / "roadsign_voc_sample", tmp_path / "out", "--names", names) == 0
    reference = {path.name: path for path in (shared / "data" / "roadsign877" / "labels").rglob("*.txt")}
    labels = list((tmp_path / "out").rglob("*.txt"))
    assert len(labels) == 12
    for label in labels:
        assert label.read_text().split() == reference[label.name].read_text().split()
    image = next((tmp_path / "out" / "images").rglob("road0.png"))  # 16-bit RGBA, kept as it is
    assert read_image(image).shape == (400, 267, 3)
