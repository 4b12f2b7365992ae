"""Checkpoints of attention forks: whole pickled models whose modules have the fork's names and the released tensors."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import models.common
from models import build_model, insert, load_model, load_spec
from models.graph.checked import checked_spec
from models.weights.transfer import transfer
from tests.support.model_layouts import as_original, layout


class ChannelAttention(nn.Module):
    """The channel half of CBAM in its widely used release."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = channels // reduction
        self.se = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False), nn.ReLU(), nn.Conv2d(hidden, channels, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        return (self.se(x.amax((2, 3), keepdim=True)) + self.se(x.mean((2, 3), keepdim=True))).sigmoid()


class SpatialAttention(nn.Module):
    """The spatial half."""

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(torch.cat((x.amax(1, keepdim=True), x.mean(1, keepdim=True)), 1)).sigmoid()


class CBAMBlock(nn.Module):
    """CBAM with the residual inside, as released."""

    def __init__(self, channels: int, kernel_size: int = 7) -> None:
        super().__init__()
        self.ca = ChannelAttention(channels)
        self.sa = SpatialAttention(kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        y = x * self.ca(x)
        return y * self.sa(y) + x


class SEAttention(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = channels // reduction
        layers = nn.Linear(channels, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, channels, bias=False)
        self.fc = nn.Sequential(*layers, nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


class CoordAtt(nn.Module):
    """Coordinate attention, with the output channels as second argument."""

    def __init__(self, inp: int, oup: int, reduction: int = 32) -> None:
        super().__init__()
        hidden = max(8, inp // reduction)
        self.conv1 = nn.Conv2d(inp, hidden, 1)
        self.bn1 = nn.BatchNorm2d(hidden, eps=1e-3)
        self.conv_h = nn.Conv2d(hidden, oup, 1)
        self.conv_w = nn.Conv2d(hidden, oup, 1)

    def forward(self, x: Tensor) -> Tensor:
        height = x.shape[2]
        both = torch.cat((x.mean(3, keepdim=True), x.mean(2, keepdim=True).transpose(2, 3)), 2)
        both = nn.functional.hardswish(self.bn1(self.conv1(both)))
        rows, columns = both[:, :, :height], both[:, :, height:].transpose(2, 3)
        return x * self.conv_h(rows).sigmoid() * self.conv_w(columns).sigmoid()


def fork_layout() -> dict:
    """YOLOv5n with a module behind each level and C3CA in the backbone, all renumbered by hand."""
    data = layout("yolov5", 3)
    head = data["head"]
    head.insert(8, [-1, 1, "CBAMBlock", [256]])
    head.insert(12, [-1, 1, "SEAttention", [512, 16]])
    head.insert(16, [-1, 1, "CoordAtt", [1024, 1024]])
    head[-1][0] = [18, 22, 26]
    data["backbone"][4][2] = "C3CA"
    return data


@pytest.fixture
def fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, nn.Module]:
    """A file as such a fork writes it, and the model in it."""
    torch.manual_seed(0)
    data = fork_layout()
    model = build_model(checked_spec(data, "fork.yaml"))
    for row, module in zip((18, 22, 26), (CBAMBlock(64), SEAttention(128), CoordAtt(256, 256)), strict=True):
        model.model[row] = module
    for bottleneck in model.model[4].m:
        bottleneck.ca = bottleneck._modules.pop("attention")  # the fork's name for it
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 2)
    with monkeypatch.context() as fork_only:  # in the fork these classes are in models/common.py
        for name in ("ChannelAttention", "SpatialAttention", "CBAMBlock", "SEAttention", "CoordAtt"):
            fork_only.setattr(globals()[name], "__module__", "models.common")
            fork_only.setattr(models.common, name, globals()[name], raising=False)
        torch.save(as_original(model, data), tmp_path / "fork.pt")
    for bottleneck in model.model[4].m:
        bottleneck.attention = bottleneck._modules.pop("ca")
    return tmp_path / "fork.pt", model.float().eval()


def test_a_fork_loads_strictly_and_gives_its_own_outputs(fork: tuple[Path, nn.Module]) -> None:
    file, model = fork
    loaded = load_model(file)
    assert [type(loaded.model[row]).__name__ for row in (18, 22, 26)] == ["CBAM", "SE", "CoordAtt"]
    torch.testing.assert_close(loaded.state_dict(), model.state_dict(), rtol=0, atol=0)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), model(images), rtol=1e-5, atol=1e-4)


def test_a_fork_transfers_completely(fork: tuple[Path, nn.Module]) -> None:
    file, model = fork
    data = layout("yolov5", 3)
    data["backbone"][4][2] = "C3CoordAtt"
    target = build_model(insert(checked_spec(data), ["CBAM@neck.P3", "SE@neck.P4", "CoordAtt@neck.P5"]))
    report = transfer(target, file)
    assert report.count("loaded") + report.count("shifted") == len(model.state_dict())
    assert report.count("unused") == report.count("new") == report.count("partly") == 0
    assert torch.equal(target.model[18].sa.conv.weight, model.model[18].sa.conv.weight)


def test_a_fork_gives_its_base_to_yolov5(fork: tuple[Path, nn.Module]) -> None:
    file, model = fork
    target = build_model(load_spec("yolov5n.yaml", nc=3))
    report = transfer(target, file)
    assert report.count("loaded") + report.count("shifted") == 349
    assert report.count("new") == 0
    unused = {e.source.split(".")[1] for e in report.entries if e.fate == "unused"}
    assert unused == {"4", "18", "22", "26"}
    assert torch.equal(target.model[23].cv3.conv.weight, model.model[25].cv3.conv.weight)


@pytest.mark.parametrize("bottleneck_e", [0.5, 1.0])
def test_c3se_with_its_layers_in_the_bottleneck(tmp_path: Path, bottleneck_e: float) -> None:
    """A common C3SE has no SE module: its bottlenecks, of half the width in most forks, hold the layers l1 and l2."""
    torch.manual_seed(0)
    data = layout("yolov5", 3)
    data["backbone"][4][2:] = ["C3SE", [256, {"bottleneck_e": bottleneck_e}]]
    model = build_model(checked_spec(data, "fork.yaml")).half().float().eval()  # the file holds half precision
    assert model.model[4].m[0].cv2.conv.weight.shape == (32, 32 * bottleneck_e, 3, 3)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = model(images)
    tensors = len(model.state_dict())
    for bottleneck in model.model[4].m:
        gate = bottleneck._modules.pop("attention").fc
        bottleneck.l1, bottleneck.relu, bottleneck.l2, bottleneck.sig = gate
    data["backbone"][4][2:] = ["C3SE", [256]]  # nothing in the fork's own list tells the width
    torch.save(as_original(model, data), tmp_path / "fork.pt")
    loaded = load_model(tmp_path / "fork.pt")
    assert len(loaded.state_dict()) == tensors
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), expected, rtol=1e-5, atol=1e-4)


def test_a_bottleneck_with_a_tensor_of_its_own_is_named_as_a_misfit(tmp_path: Path) -> None:
    data = layout("yolov5", 3)
    data["backbone"][4][2] = "C3SE"
    model = build_model(checked_spec(data, "fork.yaml"))
    model.model[4].m[0].extra = nn.Linear(3, 3)
    torch.save(as_original(model, data), tmp_path / "fork.pt")
    with pytest.raises(ValueError, match=r"2 tensors differ .* in row 4 \(C3SE\), e.g. model.4.m.0.extra"):
        load_model(tmp_path / "fork.pt")


def test_a_fork_with_an_unknown_module_names_rows_and_nearest(tmp_path: Path) -> None:
    data = layout("yolov5", 3)
    model = build_model(checked_spec(data))
    data["backbone"][2][2] = "C3CBMA"
    data["head"][7][2] = "CoordAttn"
    torch.save(as_original(model, data), tmp_path / "fork.pt")
    target = build_model(load_spec("yolov5n.yaml", nc=3))
    with pytest.raises(ValueError, match=r"fork.pt: 2 rows with unknown modules") as caught:
        transfer(target, tmp_path / "fork.pt")
    assert "row 2 'C3CBMA' (nearest known: C3CBAM" in str(caught.value)
    assert "row 17 'CoordAttn' (nearest known: CoordAtt" in str(caught.value)
