"""Every format is written, read back and used; the network is small and generated."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from data.images import letterbox, read_image, write_image
from engine.config.detect_config import parse_config
from engine.config.export_config import ExportConfig
from engine.detection.run_detection import run_detection
from engine.exporting.compare_with_source import FINISHED_LIMITS, LIMITS, Difference, compare
from engine.exporting.run_export import _is_ours, export
from engine.exporting.traced_network import Suppression
from engine.inference.exported_metadata import Metadata
from engine.inference.exported_network import open_exported
from engine.inference.network import Ensemble
from engine.inference.nms import non_max_suppression
from engine.inference.open_weights import is_exported, open_network
from models import load_model, save_model

CPU = torch.device("cpu")
# pytest turns warnings into errors; these come from the packages that write and read the files.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture(scope="module")
def weights(tmp_path_factory, root) -> Path:
    """The trained weights of the repository, with names in another script."""
    model = load_model(root / "weights" / "yolov5n_ca_signs.pt")
    file = tmp_path_factory.mktemp("weights") / "tiny.pt"
    save_model(model, file, names=[f"знак{i}'" for i in range(model.nc)])
    return file


@pytest.fixture(scope="module")
def source(weights):
    return open_network([str(weights)], CPU)


@pytest.fixture(scope="module")
def dynamic(weights, tmp_path_factory) -> dict[str, Path]:
    """In a folder of their own: tests write other files beside the weights."""
    own = str(shutil.copy(weights, tmp_path_factory.mktemp("dynamic")))
    done = export(ExportConfig(weights=own, include=("torchscript", "onnx"), imgsz=(64, 96), dynamic=True))
    return {item.format: item.path for item in done}


@pytest.mark.parametrize("name", ["torchscript", "onnx"])
def test_dynamic_files_take_any_size_and_give_yolov5s_layout(name, dynamic, source):
    network = open_exported(str(dynamic[name]), CPU, "32")
    assert (network.names, network.stride_px, network.image_hw) == (source.names, 32, None)
    assert network.metadata.spec == source.model.spec.to_dict()
    for shape in ((1, 3, 64, 96), (3, 3, 128, 32)):
        images = torch.rand(shape)
        with torch.no_grad():
            want = source(images)
        got = network(images)
        assert got.shape == (shape[0], 3 * (shape[2] // 8 * (shape[3] // 8)) * 21 // 16, 5 + source.nc)
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("opset", [12, 20])
def test_simplified_graphs_of_any_opset(weights, source, opset):
    onnx, _ = pytest.importorskip("onnx"), pytest.importorskip("onnxslim")
    nodes = []
    for simplify in (False, True):
        config = ExportConfig(
            weights=str(weights), include=("onnx",), imgsz=(64, 96), dynamic=True, opset=opset, simplify=simplify
        )
        (done,) = export(config)
        graph = onnx.load(str(done.path))
        assert {entry.version for entry in graph.opset_import if not entry.domain} == {opset}
        nodes.append(len(graph.graph.node))
    assert nodes[1] < nodes[0]
    images = torch.rand(2, 3, 96, 64)
    with torch.no_grad():
        torch.testing.assert_close(
            open_exported(str(done.path), CPU, "32")(images), source(images), rtol=1e-4, atol=1e-4
        )


def test_the_originals_loader_finds_its_facts(dynamic, source):
    onnx = pytest.importorskip("onnx")
    facts = {entry.key: entry.value for entry in onnx.load(str(dynamic["onnx"])).metadata_props}
    assert facts["names"] == repr(source.names)
    assert int(facts["stride"]) == 32
    extra = {"config.txt": ""}
    torch.jit.load(str(dynamic["torchscript"]), _extra_files=extra)
    assert json.loads(extra["config.txt"])["names"] == {str(i): name for i, name in source.names.items()}


def test_openvino_fixed_size_fills_the_batch(weights, source, capsys):
    pytest.importorskip("openvino")
    config = ExportConfig(weights=str(weights), include=("openvino",), imgsz=(64, 64), batch_size=2, half=True)
    (done,) = export(config)
    assert done.path.name == "tiny_openvino_model"
    assert "fp16" in capsys.readouterr().out
    assert yaml.safe_load((done.path / "tiny.yaml").read_text(encoding="utf-8"))["names"] == source.names
    network = open_network([str(done.path) + "/"], CPU)
    assert (network.image_hw, network.batch_size, network.metadata.half) == ((64, 64), 2, True)
    images = torch.rand(3, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(images), source(images), rtol=0.02, atol=0.05)


def test_suppression_inside_the_file(weights, source, root):
    pytest.importorskip("onnxruntime")
    (done,) = export(ExportConfig(weights=str(weights), include=("onnx",), imgsz=(320, 320), nms=True, topk_all=20))
    network = open_exported(str(done.path), CPU, "32")
    assert network.finished
    pixels = [letterbox(read_image(root / "data" / "images" / "drawn" / f"street_{i}.jpg"), 320).image for i in (1, 2)]
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        want = non_max_suppression(source(images), conf_thres=0.25, iou_thres=0.45, max_det=20)
    got = network.select(network(images), conf_thres=0.25, max_det=300)
    assert sum(map(len, want)) > 3
    for true, found in zip(want, got, strict=True):
        torch.testing.assert_close(found, true, rtol=1e-4, atol=1e-3)
    only = network.select(network(images), conf_thres=0.25, max_det=3, classes=[1])
    assert all(len(rows) <= 3 and (rows[:, 5] == 1).all() for rows in only)


def test_a_torchscript_file_with_suppression_opens_in_a_process_without_torchvision(weights, root):
    done = export(ExportConfig(weights=str(weights), imgsz=(64, 64), nms=True))[0]
    code = (
        "import sys, torch; from engine.inference.exported_network import open_exported; "
        "network = open_exported(sys.argv[1], torch.device('cpu'), '32'); "
        "print(network(torch.zeros(1, 3, 64, 64)).shape, network.description)"
    )
    words = [sys.executable, "-c", code, str(done.path)]
    told = subprocess.run(words, cwd=root, capture_output=True, text=True, check=True).stdout
    assert "[1, 100, 6]" in told
    assert "suppression inside (conf_thres 0.25, iou_thres 0.45, max_det 100)" in told


def test_a_wrong_suppression_inside_a_file_is_noticed(weights, source, root):
    suppression = Suppression(0.25, 0.45, 20)
    image = letterbox(read_image(root / "data" / "images" / "drawn" / "street_1.jpg"), 320).image
    images = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    finished = suppression(source(images))
    count = int((finished[..., 4] > 0.3).sum())
    assert count > 1

    def difference(rows):
        return compare(source, _Fixed(rows), [images], suppression)

    limits = FINISHED_LIMITS["fp32"]
    assert difference(finished).problem(limits) is None
    assert difference(finished).seen >= count
    moved, doubted, renamed = (finished.clone() for _ in range(3))
    moved[..., :4] += 3 * (finished[..., 4:5] > 0)
    doubted[..., 4] *= 0.98
    renamed[..., 5] += 1
    assert "boxes differ" in difference(moved).problem(limits)
    assert "confidences differ" in difference(doubted).problem(limits)
    assert "detections are lost" in difference(renamed).problem(limits)
    assert "detections are lost" in difference(torch.zeros_like(finished)).problem(limits)
    added = finished.clone()
    added[0, -1] = torch.tensor([0.0, 0.0, 20.0, 20.0, 0.9, 0.0])
    assert "1 of" in difference(added).problem(limits)


def test_a_file_that_differs_does_not_replace_the_former_one(dynamic, weights, monkeypatch):
    former = dynamic["torchscript"].read_bytes()
    monkeypatch.setattr("engine.exporting.run_export.write_torchscript", _write_another)
    with pytest.raises(ValueError, match=r"does not agree with .*confidences differ"):
        export(ExportConfig(weights=str(weights), imgsz=(96, 96)))
    assert dynamic["torchscript"].read_bytes() == former
    assert not list(weights.parent.glob(".export-*"))


def _write_another(module, images, file, metadata):
    from engine.exporting.format_writers import write_torchscript

    class Other(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.module = module

        def forward(self, images):
            rows = self.module(images)
            return torch.cat((rows[..., :4], rows[..., 4:] * 0.9), 2)

    write_torchscript(Other(), images, file, metadata)


def test_difference_counts_what_is_lost():
    rows = torch.tensor([[[50.0, 50, 20, 20, 0.9, 0.9], [150, 50, 20, 20, 0.9, 0.9]]])
    moved = rows.clone()
    moved[0, 1, 0] += 16
    source, other = _Fixed(rows), _Fixed(moved)
    difference = compare(source, other, [torch.zeros(1, 3, 32, 32)])
    assert difference == Difference(0.0, 0.5, 2, 2, 1)
    assert "boxes differ by up to 0.5" in difference.problem(LIMITS["fp32"])
    assert Difference(float("nan"), 0, 1, 1, 0).problem(LIMITS["int8"])
    assert "1 of 2 detections are lost" in Difference(0, 0, 2, 2, 1).problem(LIMITS["int8"])
    assert Difference(0, 0, 2, 2, 0).problem(LIMITS["fp32"]) is None


class _Fixed:
    finished = False
    device = CPU

    def __init__(self, rows):
        self.rows = rows

    def __call__(self, images):
        return self.rows


def test_metadata_round_trip_and_the_originals():
    facts = Metadata({0: "a'b", 1: "ж"}, 32, (64, 96), 2, True, nms={"conf_thres": 0.1}, spec={"nc": 2})
    assert Metadata.read(facts.to_properties(), "x") == facts
    assert Metadata.read(facts.to_dict(), "x") == facts
    assert Metadata.read({"stride": "32", "names": "['a', 'b']"}, "x").names == {0: "a", 1: "b"}
    with pytest.raises(ValueError, match="x: carries no class names"):
        Metadata.read({"stride": "32"}, "x")


@pytest.mark.parametrize("ending", [".torchscript", ".onnx", ".xml"])
def test_damaged_files_give_one_line(ending, tmp_path):
    file = tmp_path / f"x{ending}"
    with pytest.raises(ValueError, match="was not found"):
        open_network([str(file)], CPU)
    file.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a readable"):
        open_network([str(file)], CPU)


def test_foreign_files_give_one_line(tmp_path):
    network = torch.jit.trace(torch.nn.Conv2d(3, 6, 1), torch.zeros(1, 3, 8, 8))
    for facts, told in (
        ("no JSON", "carries no class names and stride"),
        ("[]", "carries no class names and stride"),
        ("{}", "carries no class names and stride"),
    ):
        torch.jit.save(network, tmp_path / "x.torchscript", _extra_files={"config.txt": facts})
        with pytest.raises(ValueError, match=told):
            open_network([str(tmp_path / "x.torchscript")], CPU)
    facts = json.dumps({"names": {"0": "a"}, "stride": 8, "shape": [1, 3, 8, 8], "nms": True})
    torch.jit.save(network, tmp_path / "y.torchscript", _extra_files={"config.txt": facts})
    other = open_network([str(tmp_path / "y.torchscript")], CPU)
    assert not other.finished
    with pytest.raises(ValueError, match=r"gives \(1, 6, 8, 8\); expected \(images, boxes, 6\)"):
        other(torch.zeros(1, 3, 8, 8))


def test_broken_images_are_left_out_of_the_comparison(weights, root, tmp_path, capsys):
    (tmp_path / "images").mkdir()
    data = tmp_path / "d.yaml"
    data.write_text("path: .\nval: images\nnames: [a]\n")
    (tmp_path / "images" / "a.jpg").write_bytes(b"nothing")
    config = ExportConfig(weights=str(weights), imgsz=(64, 64), data=str(data))
    with pytest.raises(ValueError, match=r"no image to compare on can be read.*a\.jpg"):
        export(config)
    (tmp_path / "images" / "b.jpg").write_bytes((root / "data" / "images" / "drawn" / "street_1.jpg").read_bytes())
    export(config)
    told = capsys.readouterr()
    assert told.err.count("left out") == 2  # once in each run
    assert "on 1 images" in told.out


def test_what_tensorrt_lacks_is_said_before_anything_is_written(weights, tmp_path):
    if importlib.util.find_spec("tensorrt") is not None:
        pytest.skip("TensorRT is installed")
    file = tmp_path / "w.pt"
    file.write_bytes(weights.read_bytes())
    with pytest.raises(ValueError, match="TensorRT engine needs the package tensorrt"):
        export(ExportConfig(weights=str(file), include=("torchscript", "engine"), imgsz=(64, 64)))
    assert [path.name for path in tmp_path.iterdir()] == ["w.pt"]


def test_files_of_other_programs_are_not_replaced(dynamic, weights, tmp_path, capsys):
    file = shutil.copy(weights, tmp_path / "w.pt")
    (tmp_path / "w.torchscript").write_bytes(b"of another program")
    for _ in range(2):
        (done,) = export(ExportConfig(weights=str(file), include=("torchscript",), imgsz=(64, 64)))
        assert done.path == tmp_path / "w2.torchscript"  # which is our own the second time
    assert "w.torchscript was not written by export.py and stays as it is" in capsys.readouterr().err
    assert (tmp_path / "w.torchscript").read_bytes() == b"of another program"
    assert all(_is_ours(path) for path in dynamic.values())


def test_endings():
    assert is_exported("a/best_openvino_model/")
    assert not is_exported("best.pt")
    with pytest.raises(ValueError, match="tflite files are not supported; write onnx"):
        open_network(["a.tflite"], CPU)


def test_options_that_do_not_go_with_a_file(dynamic, weights, capsys):
    file = str(dynamic["onnx"])
    with pytest.raises(ValueError, match=r"needs the \.pt file"):
        open_network([file], CPU, augment=True)
    open_network([file], CPU, "bf16")
    assert "note: --precision bf16 has no effect on" in (err := capsys.readouterr().err)
    assert "its own precision, 32" in err
    open_network([str(weights)], CPU, dnn=True)
    assert "OpenCV's DNN module reads .onnx files" in capsys.readouterr().err


def test_a_file_of_one_size_says_why_its_figures_differ_and_what_to_do(dynamic, weights, root, tmp_path, capsys):
    own = shutil.copy(weights, tmp_path)
    fixed = export(ExportConfig(weights=str(own), imgsz=(96, 96)))[0].path
    told = "images are padded to the file's one size, so its figures differ from the .pt file's; --dynamic"
    assert told in capsys.readouterr().err
    words = ["--source", str(root / "data" / "images" / "drawn" / "street_1.jpg"), "--imgsz", "96", "--nosave"]
    for file, notes in ((fixed, 1), (dynamic["torchscript"], 0), (weights, 0)):
        assert run_detection(parse_config(["--weights", str(file), *words, "--device", "cpu"])) == 0
        assert capsys.readouterr().err.count("for equal ones export with --dynamic") == notes


def test_ensemble_of_source_and_export(dynamic, weights, source):
    network = open_network([str(weights), str(dynamic["torchscript"])], CPU)
    assert isinstance(network, Ensemble)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        rows = network(images)
        torch.testing.assert_close(rows, torch.cat([source(images)] * 2, 1), rtol=1e-4, atol=1e-4)


def test_opencv_reads_the_onnx_file(weights, source):
    (done,) = export(ExportConfig(weights=str(weights), include=("onnx",), imgsz=(64, 64)))
    network = open_network([str(done.path)], CPU, dnn=True)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(images), source(images), rtol=1e-3, atol=1e-3)


def test_mistakes_of_size(weights):
    with pytest.raises(ValueError, match="multiples of the model's stride 32"):
        export(ExportConfig(weights=str(weights), imgsz=(100, 100)))


@pytest.mark.slow
def test_int8(weights, tmp_path):
    pytest.importorskip("nncf")
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(8):
        write_image(folder / f"{number}.jpg", np.random.default_rng(number).integers(0, 255, (64, 64, 3), np.uint8))
    data = tmp_path / "d.yaml"
    data.write_text("path: .\nval: images\nnames: [a]\n")
    config = ExportConfig(weights=str(weights), include=("openvino",), imgsz=(64, 64), int8=True, data=str(data))
    (done,) = export(config)
    assert done.path.name == "tiny_int8_openvino_model"
    assert open_network([str(done.path)], CPU).metadata.int8
