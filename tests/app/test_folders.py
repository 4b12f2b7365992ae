"""Which paths the page reaches."""

import os
from pathlib import Path

import pytest

from app.folders import Folders


@pytest.fixture
def folders(tmp_path, monkeypatch) -> Folders:
    (tmp_path / "open/weights").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key.pt").write_text("secret")
    monkeypatch.chdir(tmp_path / "open")
    return Folders(["."])


def test_paths_and_bare_names_below_a_folder(folders, tmp_path) -> None:
    file = tmp_path / "open/weights/a.pt"
    file.write_text("a")
    assert folders.path("weights/a.pt") == folders.path(str(file)) == folders.path(" weights/../weights/a.pt ") == file


@pytest.mark.parametrize(
    "text", ["../secret/key.pt", "weights/../../secret/key.pt", "/etc/passwd", "~/.ssh", "link.pt"]
)
def test_nothing_outside_is_reached(folders, tmp_path, text) -> None:
    (tmp_path / "open/link.pt").symlink_to(tmp_path / "secret/key.pt")
    with pytest.raises(ValueError, match=r"outside of .*--folder DIR|no such file"):
        folders.path(text)


@pytest.mark.parametrize("text", ["", " ", "a\0b", "none.pt", "x" * 5000])
def test_what_is_no_file(folders, text) -> None:
    with pytest.raises(ValueError, match=r"expected the path|no such file|outside"):
        folders.path(text)


def test_weights_are_listed_newest_first_and_no_link_leads_out(folders, tmp_path) -> None:
    run = tmp_path / "open/runs/train/exp/weights"
    run.mkdir(parents=True)
    names = ["weights/old.pt", "runs/train/exp/weights/best.pt", "weights/new.onnx", "here.pt"]
    for age, name in enumerate(reversed(names)):
        Path(name).write_text("")
        os.utime(name, (1e9 - age, 1e9 - age))
    Path("weights/link.pt").symlink_to(tmp_path / "secret/key.pt")
    Path("weights/notes.txt").write_text("")
    assert folders.weights() == names[::-1]


def test_without_folders_the_current_one_and_those_of_the_repository(root, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert set(Folders().roots) == {tmp_path, root / "weights", root / "data", root / "runs"}
    assert Folders().path("weights/yolov5n.pt") == root / "weights/yolov5n.pt"
