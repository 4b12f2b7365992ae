"""Files found by the names that users of YOLOv5 give them."""

from pathlib import Path

import pytest

from files.find import ROOT, find_file

MODELS = (ROOT / "models",)


def test_files_by_path_and_by_bare_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_file("yolov5s.yaml", MODELS, "model") == ROOT / "models" / "yolov5s.yaml"
    assert find_file("yolov5s", (ROOT / "data", ROOT / "models"), "model") == ROOT / "models" / "yolov5s.yaml"
    assert find_file("models/yolov5s.yaml", (), "model").is_file()
    assert find_file(ROOT / "models" / "yolov5s.yaml", (), "model") == ROOT / "models" / "yolov5s.yaml"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "yolov5s.yaml").touch()
    assert find_file("yolov5s.yaml", MODELS, "model") == Path("yolov5s.yaml")  # the one here goes first
    (tmp_path / "a.v2").touch()
    (tmp_path / "a.v2.yaml").touch()
    assert find_file("a.v2", (), "x") == Path("a.v2")


@pytest.mark.parametrize("name", ["", ".", "yolo5s", "a\0b", "x" * 3000, "/nowhere/yolov5s.yaml"])
def test_files_that_are_not_there(name: str) -> None:
    with pytest.raises(ValueError, match=r"model file .* was not found; looked in the current folder, models/"):
        find_file(name, MODELS, "model")


def test_the_nearest_names_are_offered() -> None:
    with pytest.raises(ValueError, match=r"model file 'yolo5s.yaml' was not found.*; nearest: yolov5s.yaml"):
        find_file("yolo5s.yaml", MODELS, "model")
