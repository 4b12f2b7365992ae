"""Labels are found in the places that people use, one place a split, and what is missing is explained."""

from collections.abc import Callable
from pathlib import Path

import pytest

from data.dataset.dataset_yaml import list_images
from data.dataset.label_place import find_labels, no_labels_text
from data.dataset.label_scan import scan_labels

Build = Callable[..., Path]


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/train/a.jpg", "labels/train/a.txt"),
        ("images/set/images/a.jpg", "images/set/labels/a.txt"),
        ("images/images/a.jpg", "labels/images/a.txt"),
        ("images/train/a.jpg", "images/train/a.txt"),
        ("train/a.jpg", "train/a.txt"),
        ("JPEGImages/a.jpg", "labels/a.txt"),
        ("train/a.jpg", "train/labels/a.txt"),
    ],
)
def test_where_labels_may_lie(tmp_path: Path, image: str, label: str) -> None:
    touch(tmp_path / image, tmp_path / label)
    assert find_labels([str(tmp_path / image)]).paths == [str(tmp_path / label)]


def test_text_beside_a_background_is_not_taken_for_its_labels(tmp_path: Path) -> None:
    images = [tmp_path / "images/a.jpg", tmp_path / "images/b.jpg"]
    touch(*images, tmp_path / "labels/a.txt", tmp_path / "images/b.txt")
    found = find_labels(list(map(str, images)))
    assert found.paths == [str(tmp_path / "labels/a.txt"), str(tmp_path / "labels/b.txt")]
    assert not found.unusual


def test_the_scan_reads_labels_beside_images_and_says_so(build_set: Build, capsys: pytest.CaptureFixture[str]) -> None:
    file = build_set({"a.jpg": ((20, 20), "\ufeff1\t0.5\t0.5\t0.2\t0.2\r\n1 2 0.5 0.2 0.2\r\n")})
    folder = file.parent / "images/train"
    (file.parent / "labels/train/a.txt").rename(folder / "a.txt")
    result = scan_labels(list_images([folder]), 2, split="train")
    assert [rows.tolist() for rows in result.labels] == [[[1, 0.5, 0.5, pytest.approx(0.2), pytest.approx(0.2)]]]
    assert result.report.bad_rows[0].startswith(f"{folder / 'a.txt'}: row 2: ")
    assert f"train: labels are read beside the images, as {folder / 'a.txt'}" in capsys.readouterr().out


def test_what_lies_there_instead_of_labels_is_named(tmp_path: Path) -> None:
    touch(tmp_path / "images/a.jpg")
    text = no_labels_text(str(tmp_path / "images/a.jpg"))
    assert "for a.jpg looked for" in text
    assert str(tmp_path / "labels/a.txt") in text
    assert "data.convert" not in text
    touch(tmp_path / "annotations/a.xml")
    text = no_labels_text(str(tmp_path / "images/a.jpg"))
    assert f"{tmp_path / 'annotations/a.xml'} may be Pascal VOC" in text
