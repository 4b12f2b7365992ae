"""The YAMLs of the public sets agree with the sets themselves and with the converter."""

import json
import re

import pytest
import yaml

from data.convert.__main__ import build_parser, main
from data.dataset.dataset_yaml import load_dataset_spec
from tests.data.convert.test_formats import cctsdb_2017, gtsdb, tt100k

SETS = {"mask": "mask853", "roadsigns": "roadsign877"}


@pytest.mark.parametrize("name", sorted(SETS))
def test_command_in_the_comment_parses_and_gives_these_names(root, name):
    text = (root / "data" / f"{name}.yaml").read_text(encoding="utf-8")
    (command,) = re.findall(r"^#   python -m data\.convert (.*)$", text, flags=re.MULTILINE)
    options = build_parser().parse_args(command.replace("<unpacked folder>", "raw").split())
    content = yaml.safe_load(text)
    assert options.names.split(",") == list(content["names"].values())
    assert options.out.as_posix() == f"datasets/{content['path']}"


SIGNS = {"gtsdb": gtsdb, "tt100k": tt100k, "cctsdb": cctsdb_2017}


@pytest.mark.parametrize(("name", "build"), SIGNS.items())
def test_command_of_the_sign_sets_gives_these_names(root, name, build, tmp_path):
    text = (root / "data" / f"{name}.yaml").read_text(encoding="utf-8")
    (command,) = re.findall(r"^#   python -m data\.convert (.*)$", text, flags=re.MULTILINE)
    form, _, flag, out = re.sub(r"<.*?>", "raw", command).split()
    build(tmp_path / "raw")
    assert (form, flag, out) == (name, "--out", f"datasets/{name}")
    assert main([form, str(tmp_path / "raw"), flag, str(tmp_path / name)]) == 0
    written = yaml.safe_load((tmp_path / name / f"{name}.yaml").read_text())
    assert written["names"] == yaml.safe_load(text)["names"]
    assert (written["train"], written["val"]) == ("images/train", "images/val")


@pytest.mark.parametrize(("name", "count"), [("coco", 80), ("coco128", 80), ("VOC", 20), ("VisDrone", 10)])
def test_sets_of_yolov5_users_are_there_and_download_nothing(root, name, count, tmp_path):
    text = (root / "data" / f"{name}.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    assert len(content["names"]) == count
    for command in re.findall(r"^#   python -m data\.convert (.*)$", text, flags=re.MULTILINE):
        build_parser().parse_args(re.sub(r"<.*?>", "raw", command).split())
    copy = tmp_path / f"{name}.yaml"
    copy.write_text(text.replace(f"path: {name} ", "path: not-here-at-all "))
    with pytest.raises(ValueError, match=re.escape("never run from here")):
        load_dataset_spec(copy)
    for split in ("train", "val"):  # the layout that the YAML describes is found
        for entry in content[split] if isinstance(content[split], list) else [content[split]]:
            place = tmp_path / "there" / entry
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch() if entry.endswith(".txt") else place.mkdir(exist_ok=True)
    copy.write_text(text.replace(f"path: {name} ", "path: there "))
    assert load_dataset_spec(copy).entries("val")


@pytest.mark.parametrize("name", sorted(SETS))
def test_missing_set_says_where_to_get_it(root, name, tmp_path, monkeypatch):
    copy = tmp_path / f"{name}.yaml"
    copy.write_text((root / "data" / f"{name}.yaml").read_text().replace(f"path: {name}", "path: not-here-at-all"))
    with pytest.raises(ValueError, match=r"kaggle\.com/datasets/andrewmvd/"):
        load_dataset_spec(copy)


@pytest.mark.parametrize(("name", "folder"), sorted(SETS.items()))
def test_names_and_figures_agree_with_the_set(root, shared, name, folder):
    text = (root / "data" / f"{name}.yaml").read_text(encoding="utf-8")
    reference = yaml.safe_load((shared / "data" / folder / f"{folder}.yaml").read_text())
    stats = json.loads((shared / "data" / folder / "STATS.json").read_text())
    assert yaml.safe_load(text)["names"] == reference["names"]
    assert f"{sum(stats['images'].values())} photographs" in text
    assert f"{stats['boxes']} " in text
