"""Weights past insertions: every tensor of the base arrives, outputs stay bit for bit, every fate is told."""

import csv
from pathlib import Path

import pytest
import torch
from torch import nn

from models import build_model, insert, load_spec, save_model
from models.attention import ATTENTION
from models.graph.checked import checked_spec
from models.insertion.insert import Insertion, layer_list, places
from models.model_yaml import FOLDER
from models.weights.transfer import match_rows, transfer
from models.yolo import DetectionModel
from tests.support.model_layouts import layout

ZOO = sorted(set(ATTENTION) - {"Timm"})


@pytest.fixture(scope="module")
def base() -> DetectionModel:
    """YOLOv5n in eval mode with normalisations that do something."""
    torch.manual_seed(0)
    model = build_model(load_spec("yolov5n.yaml", nc=5)).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 2)
    model.detect.anchors.mul_(1.1)
    return model


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def arrived(model: DetectionModel, source: DetectionModel) -> None:
    """Every tensor of the source is in the row of the model that says it is its base row."""
    target = model.state_dict()
    rows = {layer.base_row: row for row, layer in enumerate(model.spec.layers)}
    for key, tensor in source.state_dict().items():
        _, row, rest = key.split(".", 2)
        assert torch.equal(target[f"model.{rows[int(row)]}.{rest}"], tensor), key


@pytest.mark.parametrize("name", ZOO)
def test_outputs_stay_bit_for_bit_with_every_module_at_every_place(
    base: DetectionModel, images: torch.Tensor, name: str
) -> None:
    every = ",".join(places(base.spec))
    model = build_model(insert(base.spec, f"{name}@{every}", start="identity"))
    report = transfer(model, base)
    assert report.count("loaded") + report.count("shifted") == 349
    assert report.count("unused") == 0
    arrived(model, base)
    with torch.no_grad():
        assert torch.equal(model.eval()(images), base(images))


@pytest.mark.parametrize("place", [*places(load_spec("yolov5n.yaml")), "11", "12"])
def test_outputs_stay_bit_for_bit_at_each_place_alone(base: DetectionModel, images: torch.Tensor, place: str) -> None:
    model = build_model(insert(base.spec, f"CoordAtt@{place}", start="identity"))
    assert transfer(model, base).count("new") == len(model.state_dict()) - 349
    with torch.no_grad():
        assert torch.equal(model.eval()(images), base(images))
        # and the paper start does change them, so the comparison can fail
        paper = build_model(insert(base.spec, f"CoordAtt@{place}", start="paper"))
        transfer(paper, base)
        assert not torch.equal(paper.eval()(images), base(images))


@pytest.mark.parametrize("name", ["p2", "p6", "fpn", "bifpn", "v3-tiny"])
def test_outputs_stay_bit_for_bit_in_other_layouts(name: str) -> None:
    source = build_model(checked_spec(layout(name, 2), f"{name}.yaml")).eval()
    every = ",".join(places(source.spec))
    model = build_model(insert(source.spec, f"CBAM@{every}", start="identity"))
    report = transfer(model, source)
    assert report.count("loaded") + report.count("shifted") == len(source.state_dict())
    arrived(model, source)
    side_px = 2 * source.stride_px
    sample = torch.rand(1, 3, side_px, side_px)
    with torch.no_grad():
        assert torch.equal(model.eval()(sample), source(sample))


def test_limited_readers_change_nothing_either(base: DetectionModel, images: torch.Tensor) -> None:
    model = build_model(insert(base.spec, Insertion("SE", (4,), (("start", "identity"),), (16,))))
    transfer(model, base)
    with torch.no_grad():
        assert torch.equal(model.eval()(images), base(images))


@pytest.mark.parametrize("name", ["yolov5n_ca.yaml", "yolov5n.yaml"])
def test_lists_edited_by_hand(base: DetectionModel, name: str) -> None:
    model = build_model(load_spec(name, nc=5))
    report = transfer(model, base)
    assert report.count("loaded") + report.count("shifted") == 349
    assert report.count("unused") == 0
    assert report.count("new") == len(model.state_dict()) - 349


def test_other_classes_keep_boxes_and_objectness(base: DetectionModel) -> None:
    model = build_model(load_spec("yolov5n_ca.yaml", nc=2))
    fresh = {k: t.clone() for k, t in model.state_dict().items()}
    report = transfer(model, base)
    assert report.count("partly") == 6
    assert report.count("loaded") + report.count("shifted") == 343
    for level in range(3):
        for name in ("weight", "bias"):
            key = f"model.27.m.{level}.{name}"
            new = model.state_dict()[key].unflatten(0, (3, 7))
            old = base.state_dict()[f"model.24.m.{level}.{name}"].unflatten(0, (3, 10))
            assert torch.equal(new[:, :5], old[:, :5])
            assert torch.equal(new[:, 5:], fresh[key].unflatten(0, (3, 7))[:, 5:])
    entry = next(e for e in report.entries if e.target == "model.27.m.0.weight")
    assert entry == ("partly", "model.27.m.0.weight", "model.24.m.0.weight", (21, 64, 1, 1), entry.reason)
    assert "the classes differ in number" in entry.reason


def test_anchors_travel_with_the_head(base: DetectionModel) -> None:
    model = build_model(insert(load_spec("yolov5n.yaml", nc=2), "SE"))
    transfer(model, base)
    assert torch.equal(model.detect.anchors, base.detect.anchors)


def test_another_number_of_anchors_starts_the_head_afresh(base: DetectionModel) -> None:
    model = build_model(checked_spec({**layout("yolov5", 5), "anchors": 5}))
    report = transfer(model, base)
    fresh = {e.target: e.reason for e in report.entries if e.fate == "new"}
    assert len(fresh) == 7
    assert fresh["model.24.anchors"] == "the source has 3 anchors on 3 levels, 3 of them alike"


def test_levels_are_matched_by_stride(base: DetectionModel) -> None:
    model = build_model(checked_spec(layout("p34", 5)))
    report = transfer(model, base)
    assert torch.equal(model.detect.m[1].weight, base.detect.m[1].weight)
    assert torch.equal(model.detect.anchors, base.detect.anchors[:2])
    assert report.count("partly") == 1
    wide = build_model(checked_spec(layout("p2", 5)))
    fates = {e.target: e.fate for e in transfer(wide, base).entries}
    assert fates["model.31.m.0.weight"] == "new"  # P2, which the base does not have
    for level in range(3):
        assert torch.equal(wide.detect.m[level + 1].weight, base.detect.m[level].weight)
        assert torch.equal(wide.detect.anchors[level + 1], base.detect.anchors[level])


def test_from_a_model_with_attention_to_its_base(base: DetectionModel) -> None:
    source = build_model(insert(base.spec, ["CBAM@neck", "SE@backbone.P3"]))
    model = build_model(base.spec)
    report = transfer(model, source)
    arrived(source, model)
    assert report.count("new") == 0
    unused = [e for e in report.entries if e.fate == "unused"]
    assert len(unused) == len(source.state_dict()) - 349
    assert {e.reason for e in unused} == {"its row has no counterpart"}


def test_between_placements(base: DetectionModel) -> None:
    source = build_model(insert(base.spec, ["CoordAtt@neck.P3,neck.P4"]))
    model = build_model(insert(base.spec, ["CoordAtt@neck.P4,neck.P5", "SE@0"]))
    report = transfer(model, source)
    old, new = source.state_dict(), model.state_dict()
    assert torch.equal(new["model.22.conv1.weight"], old["model.22.conv1.weight"])  # P4: behind SE, before nothing
    assert report.count("loaded") + report.count("shifted") == 349 + len(list(source.model[22].state_dict()))
    assert match_rows(source.spec, model.spec)[22] == 22


def test_through_files(base: DetectionModel, tmp_path: Path) -> None:
    spec = insert(base.spec, "CBAM@neck.P3,neck.P4")
    source = build_model(spec)
    save_model(source, tmp_path / "trained.pt")
    (tmp_path / "list.yaml").write_text(layer_list(spec), encoding="utf-8")
    for target in (insert(base.spec, "CBAM@neck"), load_spec(tmp_path / "list.yaml"), base.spec):
        model = build_model(target)
        report = transfer(model, tmp_path / "trained.pt")
        assert report.source == "trained.pt"
        arrived_rows = {layer.base_row: row for row, layer in enumerate(spec.layers)}
        rows = match_rows(spec, target)
        assert all(rows[i] == arrived_rows[x.base_row] for i, x in enumerate(target.layers) if x.base_row is not None)
        assert torch.equal(model.detect.m[0].weight, source.detect.m[0].weight)
    assert "CBAM" in (tmp_path / "list.yaml").read_text(encoding="utf-8")


def test_from_the_original(shared: Path) -> None:
    file = shared / "weights" / "roadsign_yolov5n_original.pt"
    model = build_model(insert(load_spec("yolov5n.yaml", nc=4), "ECA@neck", start="identity"))
    report = transfer(model, file)
    assert report.count("loaded") + report.count("shifted") == 349
    assert report.summary.startswith("349 of 349 tensors of roadsign_yolov5n_original.pt arrived (")
    one_class = build_model(load_spec("yolov5n.yaml", nc=1))
    assert transfer(one_class, file).count("partly") == 6


def test_from_a_fork_that_knows_the_module_under_another_name() -> None:
    data = layout("yolov5", 5)
    data["head"].insert(14, [-1, 1, "CBAMBlock", [1024]])
    data["head"][-1][0] = [17, 20, 24]
    fork = build_model(checked_spec(data, "fork.yaml"))
    model = build_model(insert(load_spec("yolov5n.yaml", nc=5), ["CBAM@neck.P5", "SE@neck.P3"]))
    report = transfer(model, fork)
    assert torch.equal(model.model[25].state_dict()["ca.se.0.weight"], fork.model[24].state_dict()["ca.se.0.weight"])
    assert report.count("unused") == 0
    assert report.count("new") == len(model.model[18].state_dict())


def test_attention_inside_c3_is_new_and_its_row_is_not(base: DetectionModel) -> None:
    data = layout("yolov5", 5)
    data["backbone"][4][3] = [256, {"attention": {"SE": {"start": "identity"}}}]
    model = build_model(checked_spec(data))
    report = transfer(model, base)
    assert {e.target.split(".")[4] for e in report.entries if e.fate == "new"} == {"attention"}
    assert report.count("loaded") == 349
    entry = next(e for e in report.entries if e.fate == "new")
    assert entry.reason == "row 4 of the source has no such tensor"


def test_nothing_fits(base: DetectionModel) -> None:
    message = r"nothing of yolov5n.yaml fits yolov5s.yaml: are the size \(width_multiple 0.25 and 0.5\) and the layout"
    with pytest.raises(ValueError, match=message):
        transfer(build_model(load_spec("yolov5s.yaml", nc=5)), base)


def test_a_fused_model_is_no_source(base: DetectionModel) -> None:
    fused = build_model(base.spec).eval().fuse()
    with pytest.raises(ValueError, match="a fused model is no source of weights"):
        transfer(build_model(base.spec), fused)


def test_the_report_is_a_table(base: DetectionModel, tmp_path: Path) -> None:
    model = build_model(insert(load_spec("yolov5n.yaml", nc=2), "SE@neck.P5"))
    report = transfer(model, base)
    lines = str(report).splitlines()
    assert (
        lines[0]
        == report.summary
        == ("349 of 349 tensors of yolov5n.yaml arrived (342 loaded, 1 shifted, 6 partly, 2 new)")
    )
    assert len(lines) == 1 + 1 + 6 + 2
    assert "partly  model.25.m.0.weight" in str(report)
    assert report.overview.splitlines() == [
        report.summary,
        "new        2 in row 24: inserted row, or no row of the source fits",
        "partly     6 in row 25: box and objectness channels; the classes differ in number",
    ]
    report.save(tmp_path / "transfer.csv")
    rows = list(csv.DictReader((tmp_path / "transfer.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == len(model.state_dict())
    key = "model.0.conv.weight"
    assert rows[0] == {"fate": "loaded", "target": key, "source": key, "shape": "16x3x6x6", "reason": ""}


def test_every_overlay_takes_every_tensor_of_its_base() -> None:
    """By the rows alone, for all overlays shipped for yolov5n."""
    base = load_spec("yolov5n.yaml")
    for file in sorted((FOLDER / "overlays").glob("yolov5n_*.yaml")):
        spec = load_spec(file)
        rows = match_rows(base, spec)
        assert sorted(s for t, s in rows.items() if spec.layers[t].base_row is not None) == list(range(25)), file.name


def test_the_report_asks_about_wiring_that_leaves_fitting_tensors_over(base: DetectionModel) -> None:
    data = layout("yolov5", 5)
    data["backbone"].insert(7, [-1, 1, "CBAM", []])
    data["head"][-1][0] = [18, 21, 24]
    report = transfer(build_model(checked_spec({**data, "wiring": "free"}, "half.yaml")), base)
    last = report.overview.splitlines()[-1]
    assert last.startswith("Is the wiring meant? Behind the inserted row 7 (CBAM), 56 tensors in row 21, 24 start at")
    data["head"][9][0], data["head"][12][0] = [-1, 15], [-1, 11]
    for spec in (checked_spec(data), insert(base.spec, "CBAM@6"), base.spec):
        assert transfer(build_model(spec), base).question == ""
