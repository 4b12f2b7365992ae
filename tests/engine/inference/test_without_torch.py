"""detect.py on an .onnx file in an interpreter that has no torch, against the same command with it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BLOCKED = ("torch", "torchvision", "ultralytics", "albumentations", "lightning", "tensorboard", "psutil", "matplotlib")
WITHOUT = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""
RUN = """
import sys
import detect
from engine.config.parser import run_cli
raise SystemExit(run_cli(detect.main))
"""


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory, root) -> Path:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    weights = tmp_path_factory.mktemp("有 空格") / "yolov5n.pt"
    weights.write_bytes((root / "weights" / "yolov5n.pt").read_bytes())
    command = [sys.executable, "export.py", "--weights", str(weights), "--include", "onnx", "--dynamic"]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    return weights.with_suffix(".onnx")


def detect(root: Path, before: str, *words: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", before + RUN, *map(str, words)]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, encoding="utf-8")


def rows(folder: Path) -> dict[str, np.ndarray]:
    return {file.name: np.loadtxt(file, ndmin=2) for file in sorted((folder / "labels").glob("*.txt"))}


@pytest.mark.parametrize("flags", [(), ("--agnostic-nms", "--conf-thres", "0.05"), ("--classes", "0", "--max-det", 3)])
def test_same_boxes_with_and_without(root, tmp_path, onnx_file, flags):
    found = []
    for name, before in (("with", ""), ("without", WITHOUT)):
        run = detect(
            root, before, "--weights", onnx_file, "--source", root / "data" / "images", "--save-txt", "--save-conf",
            "--project", tmp_path, "--name", name, *flags,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        assert ("without torch" in run.stdout) == bool(before)
        found.append(rows(tmp_path / name))
    expected, given = found
    assert expected
    assert given.keys() == expected.keys()
    for name, boxes in expected.items():
        np.testing.assert_allclose(given[name], boxes, atol=2e-5)


REFUSED = [("--track",), ("--device", "0"), ("--augment",), ("--visualize",), ("--weights", "weights/yolov5n.pt")]


@pytest.mark.parametrize("flags", REFUSED)
def test_what_needs_torch_is_refused_in_a_line(root, tmp_path, onnx_file, flags):
    run = detect(root, WITHOUT, "--weights", onnx_file, "--project", tmp_path, *flags)
    assert run.returncode == 2
    assert "needs torch, which is not installed" in run.stderr
    assert "Traceback" not in run.stderr
