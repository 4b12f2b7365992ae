"""The ultralytics package's own models with attention: outputs to the bit, strides, every weight, every mistake."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from models.attention import ATTENTION
from models.insertion.insert import Insertion
from models.newer_family import ultralytics_models as newer
from models.weights.checkpoint import read_checkpoint

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ultralytics"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ultralytics"),
]

FAMILY = {"yolov5nu.yaml": 24, "yolov8n.yaml": 22, "yolo11n.yaml": 23, "yolo26n.yaml": 23}  # row of Detect


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def base_model(name: str, nc: int = 3) -> nn.Module:
    """A model whose normalisations do something, with weights that fp16 holds exactly."""
    torch.manual_seed(0)
    model = newer.build(name, nc=nc)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 2)
    return model.half().float().eval()


def save(model: nn.Module, file: Path) -> Path:
    """As the package's trainer writes a checkpoint: the whole averaged model in fp16."""
    from copy import deepcopy

    from ultralytics.utils import IterableSimpleNamespace

    model.args = IterableSimpleNamespace(imgsz=640)
    state = {"epoch": 3, "model": None, "ema": deepcopy(model).half(), "updates": 4, "train_args": {"lr0": 0.01}}
    torch.save(state, file)
    return file


def raw(model: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    """Every tensor of the output, in order."""
    with torch.no_grad():
        waiting, found = [model.eval()(images)], []
        while waiting:
            value = waiting.pop(0)
            if isinstance(value, torch.Tensor):
                found.append(value)
            else:
                waiting += value.values() if isinstance(value, dict) else value
        return found


@pytest.mark.parametrize("name", FAMILY)
def test_outputs_stay_bit_for_bit_and_every_weight_arrives(name: str, images: torch.Tensor, tmp_path: Path) -> None:
    base = base_model(name)
    every = ",".join(newer.places(base))
    assert every.startswith("backbone.P1,backbone.P2,backbone.P3,backbone.P4,backbone.P5,backbone.sppf,neck.P3,neck.P4")
    requests = [f"CBAM(kernel_size=3)@{every}", "CoordAtt@1,neck.P4"]
    model = newer.build(name, requests, nc=3, start="identity")
    assert len(model.model) == FAMILY[name] + 1 + 9 + 2
    report = newer.transfer(model, save(base, tmp_path / "base.pt"))
    assert report.count("loaded") + report.count("shifted") == len(base.state_dict())
    assert report.count("unused") == 0
    assert report.count("new") == len(model.state_dict()) - len(base.state_dict()) > 0
    assert model.stride.tolist() == base.stride.tolist() == [8, 16, 32]
    expected, got = raw(base, images), raw(model, images)
    assert len(expected) == len(got) >= 3
    assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=True))
    paper = newer.build(name, requests, nc=3, start="paper")
    newer.transfer(paper, base)
    assert not torch.equal(raw(paper, images)[0], expected[0])  # so the comparison can fail


def test_every_module_of_the_zoo_keeps_the_outputs(images: torch.Tensor) -> None:
    """All of them at one place, one behind the other."""
    zoo = sorted(set(ATTENTION) - {"Timm"})
    base = base_model("yolo11n.yaml")
    model = newer.build("yolo11n.yaml", [f"{name}@neck.P5" for name in zoo], nc=3, start="identity")
    assert [type(m).__name__ for m in model.model if m.base_row is None] == zoo
    report = newer.transfer(model, base)
    assert report.count("loaded") + report.count("shifted") == len(base.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(raw(base, images), raw(model, images), strict=True))


def test_both_ways_and_between_placements(tmp_path: Path) -> None:
    source = newer.build("yolo11n.yaml", ["SE@neck.P3,neck.P4", "CBAM@backbone.P3"], nc=3)
    file = save(source.half().float(), tmp_path / "attention.pt")
    back = newer.build("yolo11n.yaml", nc=3)
    report = newer.transfer(back, file)
    assert report.count("new") == 0
    assert {e.source.split(".")[1] for e in report.entries if e.fate == "unused"} == {"5", "18", "22"}
    other = newer.build("yolo11n.yaml", ["SE@neck.P4,neck.P5"], nc=3)
    report = newer.transfer(other, file)
    new = {e.target.split(".")[1] for e in report.entries if e.fate == "new"}
    assert [type(other.model[int(row)]).__name__ for row in new] == ["SE"]
    se = next(m for m in other.model if type(m).__name__ == "SE")  # at P4, which the source has too
    assert all(torch.equal(v, source.model[22].state_dict()[k]) for k, v in se.state_dict().items())


def test_gradient_in_every_parameter_and_rows_in_the_packages_terms() -> None:
    model = newer.build("yolov8n.yaml", ["SE@4", Insertion("CBAM", ("neck.P3",), readers=(22,))], nc=2)
    assert [(m.i, m.f, m.base_row) for m in model.model][4:7] == [(4, -1, 4), (5, -1, None), (6, -1, 5)]
    assert model.model[15].f == [-1, 5]  # the join that read row 4
    assert (model.model[17].f, type(model.model[17]).__name__) == (-1, "CBAM")
    assert model.model[18].f == 16  # reads past it, as only Detect was to read it
    assert model.model[-1].f == [17, 20, 23]
    assert model.yaml["head"][-1] == [[17, 20, 23], 1, "Detect", ["nc"]]
    assert model.yaml["backbone"][5] == [-1, 1, "SE", []]
    assert all(m.eps == 1e-3 for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    output = model.train()(torch.rand(2, 3, 64, 64))
    sum(x.square().mean() for x in (*output["feats"], output["boxes"], output["scores"])).backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None]
    assert missing == ["model.24.dfl.conv.weight"]  # the package's constant
    again = len(model.model)
    newer.insert(model, "ECA@backbone.P3")
    assert len(model.model) == again + 1
    assert [m.base_row for m in model.model if m.base_row is not None] == list(range(23))


def test_the_packages_parser_stops_at_an_inserted_row() -> None:
    """A model built anew from the layer list must not lose its attention without a word."""
    from ultralytics.nn.tasks import DetectionModel

    model = newer.build("yolo11n.yaml", "CBAM@neck.P3")
    with pytest.raises(KeyError, match="CBAM"):
        DetectionModel(model.yaml, verbose=False)


def test_overlays_and_scales(tmp_path: Path) -> None:
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("base: yolo26n.yaml\nnc: 4\ninsert: [{after: neck, attention: SE, reduction: 4}]", "utf-8")
    model = newer.build(overlay)
    assert [type(model.model[i]).__name__ for i in model.model[-1].f] == ["SE"] * 3
    assert model.model[-1].nc == 4
    widths = [newer.build(name).model[0].conv.out_channels for name in ("yolov8n-p2.yaml", "yolo11s.yaml")]
    assert widths == [16, 32]
    assert "neck.P2" in newer.places(newer.build("yolov8n-p2.yaml"))


def test_another_number_of_classes(images: torch.Tensor) -> None:
    base, model = base_model("yolov8n.yaml"), newer.build("yolov8n.yaml", "SE@neck", nc=7)
    report = newer.transfer(model, base)
    fresh = [e.target for e in report.entries if e.fate == "new" and e.target.startswith("model.25.")]
    assert fresh == [f"model.25.cv3.{level}.2.{name}" for level in range(3) for name in ("weight", "bias")]


@pytest.mark.parametrize(
    ("cfg", "attention", "message"),
    [
        ("yolo11n.yaml", "CBAM@neck.P6", r"yolo11n.yaml: no place 'neck.P6'; it has backbone.P1, .*neck.P5, neck, b"),
        ("yolo11n.yaml", "CBBM", "Expected the name of an attention module but got 'CBBM'; did you mean 'CBAM'"),
        ("yolo11n.yaml", "SE(x=1)@neck", "SE has no option 'x'; it takes start, reduction"),
        ("yolo11n.yaml", "SE@23", "no place 23"),
        ("yolo11.yaml", "SE", "yolo11.yaml: expected a scale behind the number, one of n, s, m, l, x"),
        ("yolo11n.yaml", "SE@each", "@each is a study of every place in turn, for compare.py"),
        ("yolo11q.yaml", "SE", "'yolo11q.yaml' is no file and no YAML of the ultralytics package"),
        ("yolo11n-seg.yaml", "SE", "yolo11-seg.yaml: expected a detection model but its head is Segment"),
    ],
)
def test_mistakes(cfg: str, attention: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        newer.build(cfg, attention)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([-1, 1, "load_checkpoint", ["x.pt"]], "row 1: no layer of the ultralytics package is named 'load_checkpoint'"),
        ([-1, 1, "TorchVision", [3, "resnet18"]], "row 1: no layer"),
        ([-1, 1, "CBAM", []], "row 1: no layer"),
        ([-1, 1], r"row 1: expected \[from, number, module, args\]"),
        ([-1, 1, "Conv", ["a", "b"]], "mine-n.yaml: the ultralytics package cannot build it"),
    ],
)
def test_lists_that_are_wrong(tmp_path: Path, row: list, message: str) -> None:
    import yaml

    data = {"nc": 1, "backbone": [[-1, 1, "Conv", [16, 3, 2]], row], "head": [[[-1], 1, "Detect", ["nc"]]]}
    file = tmp_path / "mine-n.yaml"
    file.write_text(yaml.safe_dump(data), "utf-8")
    with pytest.raises(ValueError, match=message):
        newer.build(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": "__import__('os').abort()"}, "mine-n.yaml: activation: expected one of nn.SiLU"),
        ({"backbone": None}, "mine-n.yaml: backbone: expected a list of rows but got None"),
        ({"head": []}, r"mine-n.yaml: head: expected a list of rows but got \[\]"),
        ({"scales": [1]}, "mine-n.yaml: scales: expected letters with"),
        ({"scales": {1: [1, 1, 1]}}, "mine-n.yaml: expected a scale behind the number, one of 1"),
        ({"base": "yolo11n.yaml"}, "mine-n.yaml: unknown key|mine-n.yaml: expected the keys"),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, change: dict, message: str) -> None:
    import yaml

    data = {"nc": 1, "backbone": [[-1, 1, "Conv", [16, 3, 2]]], "head": [[[-1], 1, "Detect", ["nc"]]]}
    file = tmp_path / "mine-n.yaml"
    file.write_text(yaml.safe_dump({**data, **change}), "utf-8")
    with pytest.raises(ValueError, match=message):
        newer.build(file)
    with pytest.raises(ValueError, match="nc: expected a positive whole number, at most 100000, but got 0"):
        newer.build("yolo11n.yaml", nc=0)


def test_sources_that_do_not_fit(tmp_path: Path) -> None:
    model = newer.build("yolo11n.yaml", nc=3)
    with pytest.raises(ValueError, match="row 2 of the base is C2f there and C3k2 here; expected weights of the same"):
        newer.transfer(model, newer.build("yolov8n.yaml"))
    with pytest.raises(ValueError, match=r"model\.0\.conv.weight is .* expected weights of the same scale"):
        newer.transfer(model, newer.build("yolo11s.yaml"))
    with pytest.raises(ValueError, match=r"model\.0\.bn\.weight is missing there .* not fused"):
        newer.transfer(model, newer.build("yolo11n.yaml", nc=3).eval().fuse(verbose=False))
    (tmp_path / "no.pt").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ValueError, match=r"refused: it names the global os\.system; nothing in it was run"):
        newer.transfer(model, tmp_path / "no.pt")
    torch.save({"model": 3}, tmp_path / "three.pt")
    for name in ("three.pt", "none.pt"):
        with pytest.raises(ValueError, match=f"{name}: expected a checkpoint of the ultralytics package"):
            newer.transfer(model, tmp_path / name)
    with pytest.raises(ValueError, match="a checkpoint of the ultralytics package"):
        read_checkpoint(save(model, tmp_path / "m.pt"))


def test_our_package_does_not_import_theirs(root: Path) -> None:
    code = "import sys, models, models.newer_family.ultralytics_models; print('ultralytics' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
