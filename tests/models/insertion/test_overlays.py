"""Every model YAML that is shipped is found, builds and runs; every module of the zoo has its two overlays."""

from pathlib import Path

import pytest
import torch
import yaml

from models import build_model, load_spec
from models.attention import ATTENTION
from models.model_yaml import FAMILIES, FOLDER

ALL = sorted(set(FOLDER.rglob("*.yaml")) - set(FAMILIES.iterdir()))  # those: tests/models/test_families.py
ZOO = sorted(set(ATTENTION) - {"Timm"})  # Timm is a wrapper around an optional package


@pytest.mark.parametrize("size", ["n", "s"])
@pytest.mark.parametrize("name", ZOO)
def test_every_module_has_an_overlay_at_the_default_place(name: str, size: str) -> None:
    file = FOLDER / "overlays" / f"yolov5{size}_{name.lower()}.yaml"
    text = file.read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(rows) <= 6
    assert yaml.safe_load(text) == {
        "base": f"yolov5{size}.yaml",
        "insert": [{"after": "neck", "attention": name}],
    }
    spec = load_spec(file)
    assert [x.module for x in load_spec(file.name).layers] == [x.module for x in spec.layers]  # a bare name is found
    assert (spec.file, spec.base) == (file.name, f"yolov5{size}.yaml")
    assert [spec.layers[row].module for row in spec.layers[-1].source] == [name] * 3
    assert len(spec.layers) == 28


def test_there_are_no_others() -> None:
    assert len(list((FOLDER / "overlays").iterdir())) == 2 * len(ZOO)
    assert len(ALL) >= 2 * len(ZOO) + 8


@pytest.mark.parametrize("file", ALL, ids=lambda file: file.stem)
def test_every_yaml_builds_and_runs(file: Path) -> None:
    model = build_model(load_spec(file, nc=3)).eval()
    with torch.no_grad():
        boxes = model(torch.rand(1, 3, 64, 64))
    assert boxes.shape == (1, 252, 8)
    assert boxes.isfinite().all()
    assert model.stride.tolist() == [8, 16, 32]


@pytest.mark.parametrize("name", ["yolov5n_ca", "yolov5s_ca", "yolov5s_cbam"])
def test_complete_lists_are_what_the_overlays_say(name: str) -> None:
    """The lists for people to edit differ from the overlays in nothing but who their rows descend from."""
    size, short = name.removeprefix("yolov5").split("_")
    module = {"ca": "coordatt", "cbam": "cbam"}[short]
    overlay = load_spec(FOLDER / "overlays" / f"yolov5{size}_{module}.yaml")
    complete = load_spec(f"{name}.yaml")
    assert [(x.source, x.number, x.module, x.args) for x in complete.layers] == [
        (x.source, x.number, x.module, x.args) for x in overlay.layers
    ]
    assert complete.anchors == overlay.anchors
    assert complete.backbone_rows == overlay.backbone_rows
