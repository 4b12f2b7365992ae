"""Every attention module at its default place is exported and agrees, at sizes it was not traced at, too."""

from pathlib import Path

import pytest
import torch

from engine.exporting.format_writers import write_onnx, write_openvino
from engine.exporting.traced_network import ExportModule
from engine.inference.exported_metadata import Metadata
from engine.inference.exported_network import open_exported
from models import build_model, load_spec

ROOT = Path(__file__).resolve().parents[3]
OVERLAYS = sorted((ROOT / "models" / "overlays").glob("yolov5n_*.yaml"))
CPU = torch.device("cpu")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.stem.removeprefix("yolov5n_"))
def test_agrees_in_onnxruntime_and_openvino(overlay, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    model = build_model(load_spec(overlay, nc=3)).eval()
    _stir(model)
    model.fuse()
    metadata = Metadata(dict(enumerate("abc")), model.stride_px, (96, 64), dynamic=True)
    file, folder = tmp_path / "x.onnx", tmp_path / "x_openvino_model"
    write_onnx(ExportModule(model).eval(), torch.zeros(1, 3, 96, 64), file, metadata, opset=17)
    write_openvino(file, folder, metadata)
    networks = [open_exported(str(path), CPU, "32") for path in (file, folder)]
    for shape in ((1, 3, 96, 64), (2, 3, 64, 160), (3, 3, 192, 128)):
        images = torch.rand(shape)
        with torch.no_grad():
            want = model(images)
        for network in networks:
            got = network(images)
            torch.testing.assert_close(got[..., 4:], want[..., 4:], rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(got[..., :4], want[..., :4], rtol=1e-3, atol=0.02)


def _stir(model):
    """Values that depend on the image: fresh norms and zero-initialised gates would hide mistakes."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 1.5)
        for parameter in model.parameters():
            if parameter.numel() and not parameter.any():
                parameter.normal_(std=0.1)
        for conv in model.detect.m:
            conv.weight.mul_(3)
