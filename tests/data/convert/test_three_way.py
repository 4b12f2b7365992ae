"""A test split made from a set with two: val as it was becomes test, near-duplicates stay together."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from data.convert.__main__ import main
from data.dataset.dataset_yaml import list_images, load_dataset_spec


@pytest.fixture
def two_sided(tmp_path) -> Path:
    """Forty training images, every second a copy of the one before at another JPEG quality, and six to validate."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 40), ("val", 6)):
        for kind in ("images", "labels"):
            (tmp_path / "set" / kind / split).mkdir(parents=True)
        for i in range(count):
            if i % 2 == 0:
                picture = cv2.resize(rng.integers(0, 255, (9, 9, 3), dtype=np.uint8), (64, 64))
            quality = [cv2.IMWRITE_JPEG_QUALITY, 95 - 20 * (i % 2)]
            cv2.imwrite(str(tmp_path / "set" / "images" / split / f"{i:02d}.jpg"), picture, quality)
            (tmp_path / "set" / "labels" / split / f"{i:02d}.txt").write_text(f"{i // 2 % 2} 0.5 0.5 0.3 0.3\n")
    text = {"path": ".", "train": "images/train", "val": "images/val", "names": ["even", "odd"]}
    (tmp_path / "set" / "set.yaml").write_text(yaml.safe_dump(text))
    return tmp_path / "set" / "set.yaml"


def images(file: Path, split: str) -> set[str]:
    dataset = load_dataset_spec(file)
    return {Path(image).name for image in list_images(dataset.entries(split), root=dataset.path)}


def test_val_becomes_test_and_train_gives_a_new_val(two_sided, tmp_path, capsys) -> None:
    assert main(["three-way", str(two_sided), "--out", str(tmp_path / "three"), "--val", "0.2"]) == 0
    file = tmp_path / "three" / "three.yaml"
    assert str(file) in capsys.readouterr().out
    assert images(file, "test") == images(two_sided, "val")
    train, val = images(file, "train"), images(file, "val")
    assert train | val == images(two_sided, "train")
    assert not train & val
    assert len(val) == 8
    for i in range(0, 40, 2):
        assert (f"{i:02d}.jpg" in val) == (f"{i + 1:02d}.jpg" in val)
    assert load_dataset_spec(file).names == {0: "even", 1: "odd"}
    assert main(["three-way", str(two_sided), "--out", str(tmp_path / "again"), "--val", "0.2"]) == 0
    assert images(tmp_path / "again" / "again.yaml", "val") == val


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--val", "1"], "--val 1.0: expected a share between 0 and 1"),
        ([], "the folder is not empty; choose another"),
    ],
)
def test_mistakes(two_sided, tmp_path, capsys, words, message) -> None:
    (tmp_path / "three").mkdir()
    (tmp_path / "three" / "kept.txt").write_text("kept")
    assert main(["three-way", str(two_sided), "--out", str(tmp_path / "three"), *words]) == 2
    assert message in capsys.readouterr().err


def test_a_set_that_has_three_splits_needs_no_more(two_sided, tmp_path, capsys) -> None:
    content = yaml.safe_load(two_sided.read_text()) | {"test": "images/val"}
    two_sided.write_text(yaml.safe_dump(content))
    assert main(["three-way", str(two_sided), "--out", str(tmp_path / "three")]) == 2
    assert "has a test split already" in capsys.readouterr().err
