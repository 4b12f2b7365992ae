"""The scan names every defect, drops only what is broken, and its cache follows the files."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import data.dataset.label_cache
import data.dataset.label_scan
from data.dataset.dataset_yaml import list_images, load_dataset_spec
from data.dataset.label_place import label_path
from data.dataset.label_scan import LabelScan, cache_file, scan_labels
from data.images import write_image

Build = Callable[..., Path]
BOX = [0, 0.5, 0.5, 0.2, 0.2]


def scan(file: Path, *, cache: Path | None = None, progress: bool = False) -> LabelScan:
    spec = load_dataset_spec(file)
    images = list_images(spec.entries("train"))
    return scan_labels(images, spec.nc, split="train", cache=cache, progress=progress)


@pytest.fixture
def defects(build_set: Build) -> Path:
    """Build a data set with every defect once."""
    file = build_set(
        {
            "a_good.jpg": ((40, 60), [BOX, [1, 0.2, 0.2, 0.1, 0.1]]),
            "b_missing.jpg": ((40, 60), None),
            "c_empty.jpg": ((40, 60), ""),
            "d_rows.jpg": ((50, 50), "0 0.5 0.5 0.2 0.2\n7 0.5 0.5 0.2 0.2\n0 0.5 0.5\n0 0.5 0.5 0.2 nan\n"),
            "e_twice.jpg": ((40, 60), [BOX, BOX]),
            "f_truncated.jpg": ((40, 60), [BOX]),
            "g_small.jpg": ((9, 60), [BOX]),
            "h_text.jpg": ((40, 60), [BOX]),
            "i_binary_label.jpg": ((40, 60), [BOX]),
            "图 é.png": ((30, 20), [BOX]),
        }
    )
    images = file.parent / "images/train"
    content = (images / "f_truncated.jpg").read_bytes()
    (images / "f_truncated.jpg").write_bytes(content[: len(content) // 2])
    (images / "h_text.jpg").write_text("not an image")
    (file.parent / "labels/train/i_binary_label.txt").write_bytes(b"\xff\xfe\x00")
    return file


def test_every_defect_is_named_and_only_that_is_dropped(defects: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = scan(defects, progress=True)
    names = [Path(path).name for path in result.paths]
    assert names == ["a_good.jpg", "b_missing.jpg", "c_empty.jpg", "d_rows.jpg", "e_twice.jpg", "图 é.png"]
    assert [len(rows) for rows in result.labels] == [2, 0, 0, 1, 1, 1]
    assert result.shapes_wh.tolist() == [[60, 40], [60, 40], [60, 40], [50, 50], [60, 40], [20, 30]]
    report = result.report
    assert [Path(line.split(": ")[0]).name for line in report.corrupt] == [
        "f_truncated.jpg",
        "g_small.jpg",
        "h_text.jpg",
        "i_binary_label.jpg",
    ]
    assert "60 x 9 px" in report.corrupt[1]
    assert [line.split("d_rows.txt: ")[1].split(":")[0] for line in report.bad_rows] == ["row 2", "row 3", "row 4"]
    assert "class 7 but the data set has 2 classes" in report.bad_rows[0]
    assert report.duplicates[0].endswith("e_twice.txt: row 2: repeats row 1")
    assert [Path(path).name for path in report.missing] == ["b_missing.jpg"]
    assert [Path(path).name for path in report.empty] == ["c_empty.jpg"]
    assert report.boxes == 5
    printed = capsys.readouterr().out
    assert "train: 4 images, 2 backgrounds, 4 corrupt, 3 bad rows, 1 duplicate boxes, 5 boxes" in printed
    for line in report.lines():
        assert line in printed
    assert "train: 1 backgrounds without a label file: b_missing.jpg\n" in printed
    assert "train: 1 backgrounds with an empty label file: c_empty.jpg\n" in printed


def test_the_report_shows_the_first_of_many(build_set: Build, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"9 0.5 0.5 0.2 0.{number:02d}\n" for number in range(1, 31))
    result = scan(build_set({"a.jpg": ((20, 20), "0 0.5 0.5 0.2 0.2\n" + rows)}), progress=True)
    assert len(result.report.bad_rows) == 30
    printed = capsys.readouterr().out
    assert "row 21: class 9" in printed
    assert "row 22: class 9" not in printed
    assert "bad row, dropped: and 10 more" in printed


def test_many_backgrounds_take_one_line(build_set: Build) -> None:
    file = build_set({f"{number:02d}.jpg": ((20, 20), None if number else [BOX]) for number in range(26)})
    (line,) = scan(file).report.lines(20)
    assert line.startswith("train: 25 backgrounds without a label file: 01.jpg, 02.jpg, ")
    assert line.endswith("20.jpg and 5 more")


def test_all_rows_broken_is_an_error(build_set: Build) -> None:
    file = build_set({"a.jpg": ((20, 20), "5 0.5 0.5 0.2 0.2\n"), "b.jpg": ((20, 20), "x\n")})
    with pytest.raises(ValueError, match=r"all 2 label rows are broken; first: .*a\.txt: row 1: class 5"):
        scan(file)


def test_no_usable_image_is_an_error(build_set: Build) -> None:
    file = build_set({"a.jpg": ((20, 20), [BOX])})
    (file.parent / "images/train/a.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"none of 1 images can be used; first: .*a\.jpg: the file is empty"):
        scan(file)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the names of the images that are really scanned."""
    scanned: list[str] = []
    original = data.dataset.label_scan.scan_image

    def record(image: str, label: str, class_count: int) -> data.dataset.label_cache.Entry:
        scanned.append(Path(image).name)
        return original(image, label, class_count)

    monkeypatch.setattr(data.dataset.label_scan, "scan_image", record)
    return scanned


def assert_same(first: LabelScan, second: LabelScan) -> None:
    assert first.paths == second.paths
    assert first.report == second.report
    np.testing.assert_array_equal(first.shapes_wh, second.shapes_wh)
    for one, two in zip(first.labels, second.labels, strict=True):
        np.testing.assert_array_equal(one, two)
    for ours, theirs in zip(first.polygons, second.polygons, strict=True):
        for one, two in zip(ours, theirs, strict=True):
            np.testing.assert_equal(one, two)


def test_the_cache_gives_the_same_scan_and_its_messages(defects: Path, tmp_path: Path, counted: list[str]) -> None:
    (defects.parent / "labels/train/a_good.txt").write_text("0 0.1 0.1 0.3 0.1 0.2 0.4\n1 0.5 0.5 0.1 0.1\n")
    cache = tmp_path / "new/scan.npz"
    first = scan(defects, cache=cache)
    assert len(counted) == 10
    counted.clear()
    assert_same(scan(defects, cache=cache), first)
    assert counted == []


@pytest.mark.parametrize("change", ["label", "image", "new label", "label gone", "new image"])
def test_a_changed_file_is_scanned_again_alone(
    build_set: Build, tmp_path: Path, counted: list[str], change: str
) -> None:
    images = {f"{letter}.jpg": ((20, 20), [BOX]) for letter in "abc"}
    file = build_set({**images, "d.jpg": ((20, 20), None)})
    cache = tmp_path / "scan.npz"
    scan(file, cache=cache)
    counted.clear()
    labels, pictures = file.parent / "labels/train", file.parent / "images/train"
    if change == "label":  # same size, other time
        (labels / "b.txt").write_text("1 0.5 0.5 0.2 0.2\n")
        os.utime(labels / "b.txt", ns=(1, 1))
    elif change == "image":
        write_image(pictures / "b.jpg", np.zeros((30, 50, 3), np.uint8))
    elif change == "new label":
        (labels / "d.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    elif change == "label gone":
        (labels / "b.txt").unlink()
    else:
        write_image(pictures / "e.jpg", np.zeros((30, 50, 3), np.uint8))
    result = scan(file, cache=cache)
    assert counted == [{"new label": "d.jpg", "new image": "e.jpg"}.get(change, "b.jpg")]
    assert_same(result, scan(file))
    assert_same(scan(file, cache=cache), result)


def test_another_number_of_classes_is_another_scan(build_set: Build, tmp_path: Path, counted: list[str]) -> None:
    images = list_images([build_set({"a.jpg": ((20, 20), [BOX, [1, 0.5, 0.5, 0.1, 0.1]])}).parent])
    cache = tmp_path / "scan.npz"
    assert scan_labels(images, 2, cache=cache, progress=False).report.boxes == 2
    assert scan_labels(images, 1, cache=cache, progress=False).report.boxes == 1
    assert len(counted) == 2


@pytest.mark.parametrize("damage", ["text", "cut", "empty", "version", "pickle", "folder"])
def test_a_damaged_cache_is_rebuilt(
    build_set: Build, tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = build_set({"a.jpg": ((20, 20), [BOX]), "b.jpg": ((20, 20), [BOX])})
    cache = tmp_path / "scan.npz"
    if damage == "version":
        monkeypatch.setattr(data.dataset.label_cache, "VERSION", data.dataset.label_cache.VERSION - 1)
    good = scan(file, cache=cache)
    monkeypatch.undo()
    content = cache.read_bytes()
    if damage == "text":
        cache.write_text("hello")
    elif damage == "cut":
        cache.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        cache.write_bytes(b"")
    elif damage == "pickle":
        np.savez(cache, version=np.array([{"a": 1}], dtype=object))
    elif damage == "folder":
        cache.unlink()
        cache.mkdir()
        (cache / "x").touch()
    assert_same(scan(file, cache=cache), good)
    if damage != "folder":
        with np.load(cache, allow_pickle=False) as arrays:
            assert len(arrays["counts"]) == 2


def test_where_the_cache_lies(build_set: Build, tmp_path: Path) -> None:
    file = build_set({"a.jpg": ((20, 20), [BOX])})
    root = file.parent
    folder = root / "images/train"
    images = list_images([folder])
    assert cache_file([folder], images) == root / "labels/train.labels.npz"
    listing = tmp_path / "mine.txt"
    listing.write_text(images[0])
    assert cache_file([listing], images) == tmp_path / "mine.labels.npz"
    both = cache_file([folder, listing], images)
    assert both.parent == root / "labels"
    assert both != cache_file([listing, folder], images)
    (root / "labels").chmod(0o555)
    try:
        elsewhere = cache_file([folder], images)
    finally:
        (root / "labels").chmod(0o755)
    assert elsewhere.is_relative_to(os.environ["XDG_CACHE_HOME"])


def test_real_data(shared: Path) -> None:
    spec = load_dataset_spec(shared / "data/roadsign877/roadsign877.yaml")
    boxes = 0
    for split, count in (("train", 704), ("val", 173)):
        images = list_images(spec.entries(split))
        result = scan_labels(images, spec.nc, split=split, progress=False)
        assert len(result.paths) == count
        assert result.report.lines() == []
        assert all(os.path.isfile(label_path(path)) for path in result.paths)
        boxes += result.report.boxes
    assert boxes == 1244


@pytest.mark.parametrize(
    "wrong",
    [
        {"counts": np.array([10**15])},
        {"counts": np.array([-1, 2])},
        {"labels": np.full((1, 5), np.nan, np.float32)},
        {"labels": np.zeros((1, 4), np.float32)},
        {"notes": np.frombuffer(b"[" * 100_000, np.uint8)},
        {"notes": np.frombuffer(b'[["labelled", [], [1]]]', np.uint8)},
        {"notes": np.frombuffer(b'[["\\u001b[31m", [], []]]', np.uint8)},
        {"images": np.frombuffer(b"[1]", np.uint8)},
        {"outline_sizes": np.array([2**62])},
        {"labels": np.zeros((40_000_000, 5), np.float32)},  # compresses a thousand times
    ],
    ids=range(10),
)
def test_a_cache_that_no_scan_wrote_is_not_used(
    build_set: Build, tmp_path: Path, counted: list[str], wrong: dict[str, np.ndarray]
) -> None:
    file = build_set({"0.png": ((16, 16), [[0, 0.5, 0.5, 0.5, 0.5]])})
    first = scan(file, cache=tmp_path / "cache.npz")
    with np.load(tmp_path / "cache.npz") as arrays:
        np.savez_compressed(tmp_path / "cache.npz", **{**arrays, **wrong})
    counted.clear()
    assert_same(scan(file, cache=tmp_path / "cache.npz"), first)
    assert len(counted) == 1
