"""The YAMLs of the two public sets agree with the sets themselves and with the converter."""

import json
import re

import pytest
import yaml

from data.convert.__main__ import build_parser
from data.dataset.dataset_yaml import load_dataset_spec

SETS = {"mask": "mask853", "roadsigns": "roadsign877"}


@pytest.mark.parametrize("name", sorted(SETS))
def test_command_in_the_comment_parses_and_gives_these_names(root, name):
    text = (root / "data" / f"{name}.yaml").read_text(encoding="utf-8")
    (command,) = re.findall(r"^#   python -m data\.convert (.*)$", text, flags=re.MULTILINE)
    options = build_parser().parse_args(command.replace("<unpacked folder>", "raw").split())
    content = yaml.safe_load(text)
    assert options.names.split(",") == list(content["names"].values())
    assert options.out.as_posix() == f"datasets/{content['path']}"


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
