"""Data set YAMLs: where images are looked for, class names, and what a mistake is told."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import data.dataset.dataset_yaml
import data.synth
from data.dataset.dataset_yaml import SPLITS, list_images, load_dataset_spec
from data.dataset.label_place import label_path

Build = Callable[..., Path]


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def test_a_complete_file(tmp_path: Path) -> None:
    touch(tmp_path / "images/train/a.jpg", tmp_path / "images/val/b.jpg", tmp_path / "images/test/c.jpg")
    file = write(
        tmp_path / "set.yaml",
        "path: .\ntrain: images/train\nval: images/val\ntest: images/test\nnc: 2\nnames: [停, 让行]\n",
    )
    spec = load_dataset_spec(file)
    assert spec.path == tmp_path
    assert (spec.names, spec.nc, spec.file_nc, spec.file) == ({0: "停", 1: "让行"}, 2, 2, file)
    for split in SPLITS:
        assert spec.entries(split) == (tmp_path / "images" / split,)


@pytest.mark.parametrize("names", ["[cat, 50]", "{0: cat, 1: 50}", "{1: 50, 0: cat}", "\n- cat\n- 50"])
def test_names_as_list_or_mapping(tmp_path: Path, names: str) -> None:
    touch(tmp_path / "images/a.jpg")
    spec = load_dataset_spec(write(tmp_path / "set.yaml", f"train: images\nnames: {names}\n"))
    assert spec.names == {0: "cat", 1: "50"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("{0: a, 2: b}", r"numbered 0 to 1, but 1 is missing \(found 2 instead\)"),
        ("{1: a, 2: b}", "but 0 is missing"),
        ("{a: 0}", "Expected whole numbers as keys"),
        ("{true: a}", "Expected whole numbers as keys"),
        ("[yes, no]", "Expected text but got True; put the name in quotes"),
        ("[]", "Expected `names:` to be a list or a mapping"),
        ("cat", "Expected `names:` to be a list or a mapping"),
        ("[a, b]\nnc: 3", "`nc: 3` disagrees with `names:`, which has 2 classes"),
    ],
)
def test_wrong_names(tmp_path: Path, names: str, message: str) -> None:
    touch(tmp_path / "images/a.jpg")
    with pytest.raises(ValueError, match=message):
        load_dataset_spec(write(tmp_path / "set.yaml", f"train: images\nnames: {names}\n"))


def test_single_class_keeps_the_file_classes_for_the_scan(tmp_path: Path) -> None:
    touch(tmp_path / "images/a.jpg")
    two = load_dataset_spec(write(tmp_path / "two.yaml", "train: images\nnames: [a, b]\n"), single_cls=True)
    assert (two.names, two.nc, two.file_nc) == ({0: "item"}, 1, 2)
    one = load_dataset_spec(write(tmp_path / "one.yaml", "train: images\nnames: [sign]\n"), single_cls=True)
    assert one.names == {0: "sign"}


@pytest.mark.parametrize("given", ["data/set", "../set", "./set"])
def test_relative_paths_are_tried_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    here = tmp_path / "here"
    root = Path(os.path.normpath(here / given))
    touch(root / "images/train/a.jpg")
    here.mkdir(exist_ok=True)
    monkeypatch.chdir(here)
    file = write(tmp_path / "elsewhere/set.yaml", f"path: {given}\ntrain: images/train\nnames: [a]\n")
    assert load_dataset_spec(file).path == root


def test_a_folder_without_the_split_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here/set").mkdir(parents=True)
    touch(tmp_path / "there/set/images/a.jpg")
    monkeypatch.chdir(tmp_path / "here")
    file = write(tmp_path / "there/set.yaml", "path: set\ntrain: images\nnames: [a]\n")
    assert load_dataset_spec(file).path == tmp_path / "there/set"


def test_a_yaml_inside_the_folder_it_names(tmp_path: Path) -> None:
    touch(tmp_path / "signs/images/a.jpg")
    file = write(tmp_path / "signs/signs.yaml", "path: signs\ntrain: images\nnames: [a]\n")
    assert load_dataset_spec(file).path == tmp_path / "signs"


def test_exports_that_climb_one_folder_too_many(tmp_path: Path) -> None:
    touch(tmp_path / "set/train/images/a.jpg")
    file = write(tmp_path / "set/data.yaml", "train: ../train/images\nval: ../valid/images\nnc: 1\nnames: ['a']\n")
    assert load_dataset_spec(file).train == (tmp_path / "set/train/images",)


def test_missing_images_list_the_places_tried_and_never_run_the_download(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    text = f"path: nowhere\ntrain: images\nval: images\nnames: [a]\ndownload: bash -c 'touch {mark}'\n"
    with pytest.raises(ValueError, match="images not found") as error:
        load_dataset_spec(write(tmp_path / "set.yaml", text))
    message = str(error.value)
    assert str(tmp_path / "nowhere") in message
    assert str(Path.cwd() / "nowhere") in message
    assert "never run from here; fetch it yourself" in message
    assert not mark.exists()


def test_one_missing_split_fails_when_it_is_asked_for(tmp_path: Path) -> None:
    touch(tmp_path / "images/train/a.jpg")
    spec = load_dataset_spec(write(tmp_path / "s.yaml", "train: images/train\nval: images/val\nnames: [a]\n"))
    assert spec.entries("train")
    with pytest.raises(ValueError, match=r"`val:` images not found: .*images/val"):
        spec.entries("val")
    with pytest.raises(ValueError, match="has no `test:` entry"):
        spec.entries("test")
    with pytest.raises(ValueError, match="Expected split to be one of train, val, test but got 'dev'"):
        spec.entries("dev")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "but got a list"),
        ("a: b: c", r"line 1: is not YAML: mapping values[^\n]*$"),
        ("trian: images\nnames: [a]", r"unknown entry `trian:`; did you mean `train:`\?"),
        ("names: [a]", "Expected at least one of `train:`"),
        ("train: 3\nnames: [a]", "train: Expected a folder, a pattern, a .txt file or a list of those but got 3"),
        ("train: x\npath: 3\nnames: [a]", "path: Expected a folder but got 3"),
        ("train: x\nsynth: 3\nnames: [a]", "Expected `synth:` to be a mapping"),
        ("train: x\nnames: !!python/name:os.system", "line 2: expected plain data but got the tag"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_dataset_spec(write(tmp_path / "set.yaml", text))


def test_entries_of_other_tools_are_left_alone(tmp_path: Path) -> None:
    touch(tmp_path / "images/a.jpg")
    text = "train: images\nnames: [a]\nroboflow: {license: CC}\nkpt_shape: [17, 3]\nauthor: x\ntrains: 5\n"
    assert load_dataset_spec(write(tmp_path / "set.yaml", text)).nc == 1


def test_a_missing_file_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"data set file .* was not found; looked in .*data/; nearest: .*signs.yaml"):
        load_dataset_spec("singns.yaml")


def test_listing_goes_by_suffix_and_skips_what_is_hidden(tmp_path: Path) -> None:
    wanted = [tmp_path / "b/y.JPG", tmp_path / "a.png", tmp_path / "b/c/图.webp"]
    touch(*wanted, tmp_path / "notes.txt", tmp_path / ".hidden.jpg", tmp_path / ".cache/z.jpg", tmp_path / "v.mp4")
    assert list_images([tmp_path]) == sorted(map(str, wanted))
    assert list_images([tmp_path, tmp_path / "b"]) == sorted(map(str, wanted))  # each once


def test_listing_follows_links_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path / "real/a.jpg")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/linked").symlink_to(tmp_path / "real")
    (tmp_path / "real/back").symlink_to(tmp_path / "set")
    assert list_images([tmp_path / "set"]) == [str(tmp_path / "set/linked/a.jpg")]


def test_text_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "images/a.jpg", tmp_path / "images/b é.jpg", tmp_path / "other/images/c.jpg")
    listing = write(
        tmp_path / "train.txt", f"\ufeff./images/a.jpg\n\nimages/b é.jpg\n{tmp_path}/other/images/c.jpg\n./gone.jpg\n"
    )
    spec = load_dataset_spec(write(tmp_path / "set.yaml", "train: [train.txt, other]\nnames: [a]\n"))
    expected = [tmp_path / "gone.jpg", tmp_path / "images/a.jpg", tmp_path / "images/b é.jpg"]
    assert list_images([listing]) == [*map(str, expected), str(tmp_path / "other/images/c.jpg")]
    assert list_images(spec.train, root=spec.path) == list_images([listing])
    monkeypatch.chdir(tmp_path / "other")
    assert list_images([write(tmp_path / "lists/x.txt", "images/c.jpg\n")]) == [str(tmp_path / "other/images/c.jpg")]


def test_listing_nothing_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no images; Expected files ending in"):
        list_images([tmp_path])
    with pytest.raises(ValueError, match="no such folder or file"):
        list_images([tmp_path / "gone"])
    (tmp_path / "latin.txt").write_bytes(b"\xe9.jpg\n")
    with pytest.raises(ValueError, match="Expected a UTF-8 list"):
        list_images([tmp_path / "latin.txt"])


def test_patterns_and_single_images(tmp_path: Path) -> None:
    touch(*(tmp_path / f"images/{name}" for name in ("a1/x.jpg", "a2/y.jpg", "b/z.jpg", "b/notes.txt")))
    text = "path: .\ntrain: images/a*\nval: ['images/**/z.jpg', images/a1/x.jpg]\ntest: images/c*\nnames: [a]\n"
    spec = load_dataset_spec(write(tmp_path / "set.yaml", text))
    assert list_images(spec.entries("train")) == [str(tmp_path / "images" / name) for name in ("a1/x.jpg", "a2/y.jpg")]
    assert list_images(spec.entries("val")) == [str(tmp_path / "images" / name) for name in ("a1/x.jpg", "b/z.jpg")]
    with pytest.raises(ValueError, match=r"`test:` images not found: .*images/c\*"):
        spec.entries("test")


@pytest.mark.skipif(os.sep == "\\", reason="there the rows are paths as they stand")
def test_a_list_written_on_windows(tmp_path: Path) -> None:
    touch(tmp_path / "obj/a.jpg")
    assert list_images([write(tmp_path / "train.txt", "obj\\a.jpg\r\n")]) == [str(tmp_path / "obj/a.jpg")]


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("/d/images/train/a.jpg", "/d/labels/train/a.txt"),
        ("/images/d/images/a.b.jpeg", "/images/d/labels/a.b.txt"),
        ("/d/pictures/a.jpg", "/d/pictures/a.txt"),
        ("/d/myimages/a.jpg", "/d/myimages/a.txt"),
    ],
)
def test_labels_lie_in_the_last_folder_called_images(image: str, label: str) -> None:
    assert label_path(image.replace("/", os.sep)) == label.replace("/", os.sep)


def test_a_synth_mapping_has_its_images_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def ensure(root: Path, options: object) -> None:
        calls.append((root, options))
        touch(root / "images/train/a.jpg")

    monkeypatch.setattr(data.synth, "ensure", ensure)
    root = tmp_path / "made"
    file = write(tmp_path / "s.yaml", f"path: {root}\ntrain: images/train\nnames: [a]\nsynth: {{seed: 3}}\n")
    assert load_dataset_spec(file).entries("train") == (root / "images/train",)
    assert calls == [(root, {"seed": 3})]


def test_reading_a_yaml_needs_no_torch(root: Path) -> None:
    code = "import sys, data.dataset.dataset_yaml, data.hyp; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_real_data(shared: Path) -> None:
    spec = load_dataset_spec(shared / "data/roadsign877/roadsign877.yaml")
    assert spec.names == {0: "trafficlight", 1: "stop", 2: "speedlimit", 3: "crosswalk"}
    assert len(list_images(spec.entries("train"))) == 704
    assert len(list_images(spec.entries("val"))) == 173


def test_our_own_sets_are_made_below_datasets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = tmp_path / "repository"
    monkeypatch.setattr(data.dataset.dataset_yaml, "ROOT", root)
    made = []
    monkeypatch.setattr(data.synth, "ensure", lambda root, options: made.append(root))
    for number, (path, expected) in enumerate([("signs", "datasets/signs"), ("datasets/x", "datasets/x")]):
        file = root / f"data/{number}.yaml"
        load_dataset_spec(write(file, f"path: {path}\ntrain: images\nnames: [a]\nsynth: {{seed: 0}}\n"))
        assert made.pop() == root / expected
    load_dataset_spec(write(tmp_path / "mine.yaml", "path: s\ntrain: images\nnames: [a]\nsynth: {seed: 0}\n"))
    assert made == [tmp_path / "s"]
