"""Hyperparameters: YOLOv5's values, checked names and ranges."""

from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest
import yaml

from data.hyp import FOLDER, LOSSES, Hyperparameters, load_hyp

NAMES = [field.name for field in fields(Hyperparameters) if field.name not in LOSSES]  # the numbers


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_shipped_file_loads_by_path_and_by_name(file: Path) -> None:
    hyp = load_hyp(file)
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert hyp.to_dict() == content
    assert load_hyp(file.name) == load_hyp(file.stem) == load_hyp(file.stem.removeprefix("hyp.")) == hyp


def test_the_family_is_complete() -> None:
    names = {file.stem for file in FOLDER.glob("hyp.*.yaml")}
    expected = {"scratch-low", "scratch-med", "scratch-high", "no-augmentation", "VOC", "Objects365", "no-mirror"}
    assert names == {f"hyp.{name}" for name in expected}


def test_low_is_the_default_and_has_the_published_values() -> None:
    assert load_hyp("hyp.scratch-low.yaml") == Hyperparameters()
    hyp = Hyperparameters()
    assert (hyp.lr0, hyp.lrf, hyp.momentum, hyp.weight_decay) == (0.01, 0.01, 0.937, 0.0005)
    assert (hyp.box, hyp.cls, hyp.obj, hyp.anchor_t) == (0.05, 0.5, 1.0, 4.0)
    assert (hyp.hsv_h, hyp.hsv_s, hyp.hsv_v, hyp.translate, hyp.scale) == (0.015, 0.7, 0.4, 0.1, 0.5)
    assert (hyp.fliplr, hyp.mosaic, hyp.mixup, hyp.copy_paste) == (0.5, 1.0, 0.0, 0.0)


def test_med_and_high_differ_where_published() -> None:
    low, med, high = (load_hyp(f"scratch-{name}").to_dict() for name in ("low", "med", "high"))
    changed = {name: med[name] for name in low if med[name] != low[name]}
    assert changed == {"lrf": 0.1, "cls": 0.3, "obj": 0.7, "scale": 0.9, "mixup": 0.1}
    assert {name: high[name] for name in med if high[name] != med[name]} == {"copy_paste": 0.1}


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_read(tmp_path: Path, name: str) -> None:
    value = 3.0 if name in ("anchors", "anchor_t") else 0.003
    (tmp_path / "h.yaml").write_text(f"{name}: {value}\n")
    hyp = load_hyp(tmp_path / "h.yaml")
    assert getattr(hyp, name) == value
    assert hyp != Hyperparameters()
    assert Hyperparameters.from_dict(hyp.to_dict()) == hyp


def test_numbers_as_yaml_reads_them(tmp_path: Path) -> None:
    (tmp_path / "h.yaml").write_text("lr0: 1e-3\nmosaic: 1\n")  # YAML 1.1 takes 1e-3 for text
    hyp = load_hyp(tmp_path / "h.yaml")
    assert hyp.lr0 == 0.001
    assert isinstance(hyp.mosaic, float)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mossaic: 1", r"unknown hyperparameter 'mossaic'; did you mean mosaic\?"),
        ("zzz: 1", "known names: lr0"),
        ("mosaic: 1.5", r"mosaic: Expected a value from 0 to 1 but got 1\.5"),
        ("lr0: -1", "lr0: Expected a value at least 0 but got -1"),
        ("scale: 1.0", "scale: Expected a value from 0 to 0.999"),
        ("lr0: fast", "lr0: Expected a finite number but got 'fast'"),
        ("lr0: .nan", "lr0: Expected a finite number"),
        ("lr0: true", "lr0: Expected a finite number but got True"),
        ("lr0:", "lr0: Expected a finite number but got None"),
        ("- 1", "Expected `name: value` rows but got a list"),
        ("a: b: c", "line 1: is not YAML"),
    ],
)
def test_mistakes_name_file_and_value(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text + "\n")
    with pytest.raises(ValueError, match=message) as error:
        load_hyp(file)
    assert "mine.yaml" in str(error.value)


def test_a_missing_file_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"nearest: hyp\.scratch-low\.yaml"):
        load_hyp("hyp.scratch-lo.yaml")


def test_settings_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Hyperparameters().lr0 = 1.0


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_goes_through_a_file_and_an_unknown_one_is_refused(name):
    kept = Hyperparameters.from_dict({name: LOSSES[name][-1]}).to_dict()
    assert getattr(Hyperparameters.from_dict(kept), name) == LOSSES[name][-1]
    with pytest.raises(ValueError, match=f"my.yaml: {name}: Expected {LOSSES[name][0]}, .* but got 'ciuo'"):
        Hyperparameters.from_dict({name: "ciuo"}, source="my.yaml")
