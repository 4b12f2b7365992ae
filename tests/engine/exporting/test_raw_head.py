"""Files that end with the head's maps, decoded where they are read."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from analysis.cost.exported_formats import benchmark
from engine.config.export_config import ExportConfig
from engine.exporting.run_export import export
from engine.inference.exported_metadata import Metadata
from engine.inference.exported_network import open_exported
from engine.inference.open_weights import open_network
from engine.inference.raw_head import HeadDecoding

CPU = torch.device("cpu")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
FACTS = {"strides": [8.0, 16.0], "anchors_px": [[10.0, 13.0, 16.0, 30.0], [30.0, 61.0, 62.0, 45.0]]}


@pytest.fixture(scope="module")
def weights(tmp_path_factory, root) -> Path:
    return Path(shutil.copy(root / "weights" / "yolov5n_ca_signs.pt", tmp_path_factory.mktemp("raw") / "signs.pt"))


def test_decoding_is_yolov5s_formula_written_slowly() -> None:
    nc, rng = 3, np.random.default_rng(0)
    maps = [rng.normal(size=(1, 2 * (5 + nc), side, side + 1)).astype(np.float32) for side in (4, 2)]
    found = HeadDecoding(FACTS, nc)(maps)[0].numpy()
    row = 0
    for level, given in enumerate(maps):
        for anchor in range(2):
            width, height = FACTS["anchors_px"][level][2 * anchor : 2 * anchor + 2]
            for y in range(given.shape[2]):
                for x in range(given.shape[3]):
                    s = 1 / (
                        1 + np.exp(-given[0, anchor * (5 + nc) : (anchor + 1) * (5 + nc), y, x].astype(np.float64))
                    )
                    stride = FACTS["strides"][level]
                    box = [(2 * s[0] - 0.5 + x) * stride, (2 * s[1] - 0.5 + y) * stride]
                    want = [*box, (2 * s[2]) ** 2 * width, (2 * s[3]) ** 2 * height, *s[4:]]
                    np.testing.assert_allclose(found[row], want, rtol=1e-5)
                    row += 1
    assert row == len(found)


@pytest.mark.parametrize("name", ["onnx", "openvino", "torchscript", "ncnn"])
def test_files_give_what_the_source_gives(name: str, weights: Path) -> None:
    if name == "ncnn":
        pytest.importorskip("ncnn")
        pytest.importorskip("pnnx")
    (done,) = export(ExportConfig(weights=str(weights), include=(name,), imgsz=(64, 96), raw_head=name != "ncnn"))
    network, source = open_network([str(done.path)], CPU), open_network([str(weights)], CPU)
    images = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(network(images), source(images), rtol=1e-3, atol=1e-3)
    assert network.metadata.raw_head["strides"] == [8, 16, 32]
    anchors = source.model.yaml["anchors"]
    assert network.metadata.raw_head["anchors_px"] == [pytest.approx(level, rel=1e-3) for level in anchors]


def test_the_maps_are_those_of_the_convolutions(weights: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    config = ExportConfig(weights=str(weights), include=("onnx",), imgsz=(64, 64), raw_head=True, dynamic=True)
    (done,) = export(config)
    session = onnxruntime.InferenceSession(str(done.path))
    image = np.random.default_rng(0).random((1, 3, 32, 64), dtype=np.float32)
    names = [output.name for output in session.get_outputs()]
    assert names == ["output0", "output1", "output2"]
    found = session.run(names, {"images": image})
    model = open_network([str(weights)], CPU).model
    with torch.no_grad():
        features = model.features(torch.from_numpy(image))
        for conv, x, got in zip(model.detect.m, features, found, strict=True):
            np.testing.assert_allclose(got, conv(x).numpy(), atol=1e-3)


def test_maps_that_the_facts_do_not_speak_of() -> None:
    with pytest.raises(ValueError, match=r"expected 2 maps \(images, 16, H, W\) by its facts"):
        HeadDecoding(FACTS, 3)([np.zeros((1, 16, 4, 4), np.float32)])
    facts = {"names": {0: "a"}, "stride": 32, "raw_head": {"strides": [8, 16], "anchors_px": [[1, 2]]}}
    with pytest.raises(ValueError, match="as many anchors in each of its 2 levels"):
        Metadata.read(facts, "x.onnx")


@pytest.mark.parametrize("missing", ["model.ncnn.param", "model.ncnn.bin", "metadata.yaml"])
def test_a_damaged_ncnn_folder_gives_one_line(missing: str, tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    folder = tmp_path / "x_ncnn_model"
    folder.mkdir()
    (folder / "metadata.yaml").write_text(yaml.safe_dump(Metadata({0: "a"}, 32, raw_head=FACTS).to_dict()))
    for name in ("model.ncnn.param", "model.ncnn.bin"):
        (folder / name).write_bytes(b"")
    (folder / missing).unlink()
    with pytest.raises(ValueError, match=missing):
        open_exported(str(folder), CPU, "32")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"include": ("engine",), "raw_head": True}, "--raw-head is written for torchscript, onnx and openvino"),
        ({"include": ("onnx",), "raw_head": True, "nms": True}, "--nms and --raw-head contradict each other"),
        ({"include": ("ncnn",), "nms": True}, "--nms is written for torchscript, onnx and openvino, not for ncnn"),
        ({"include": ("ncnn",), "dynamic": True}, "one image of one size in fp32"),
        ({"include": ("ncnn",), "half": True}, "one image of one size in fp32"),
        ({"benchmark": True}, "give it with --data"),
    ],
)
def test_what_does_not_go_together(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ExportConfig(**settings)


@pytest.mark.slow
def test_benchmark_lists_every_format(weights: Path, root: Path, capsys: pytest.CaptureFixture) -> None:
    table = benchmark(
        ExportConfig(weights=str(weights), imgsz=(64, 64), data=str(root / "data/signs_tiny.yaml"), benchmark=True)
    )
    rows = [line.split("|") for line in table.splitlines()[4:]]
    assert [row[1].strip() for row in rows][:4] == ["PyTorch", "PyTorch", "torchscript", "onnx"]
    assert all(float(row[4]) > 0 for row in rows)
    exact = {row[1].strip(): float(row[6]) for row in rows if row[2].strip() == "fp32"}
    assert exact.pop("PyTorch") == 0
    assert all(abs(difference) <= 0.001 for difference in exact.values())
    assert [file.name for file in weights.parent.iterdir() if "v0" in file.name] == []
