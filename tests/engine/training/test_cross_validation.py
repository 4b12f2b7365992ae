"""k-fold splits: every image validated once, classes spread, the split written down and kept by a resumed run."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from data.dataset.dataset_yaml import load_dataset_spec
from engine.config.train_request import ResumeRequest
from engine.training.cross_validation import deal, write_fold
from engine.training.run_training import train
from tests.support.tiny_runs import assert_same_weights, stop_in_epoch

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:lightning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:lightning"),
]


def rows(*classes: int) -> np.ndarray:
    return np.array([[number, 0.5, 0.5, 0.1, 0.1] for number in classes], np.float32).reshape(-1, 5)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.integers(0, 3), max_size=4), min_size=5, max_size=60), st.integers(2, 5), st.integers(0, 9))
def test_every_image_has_one_fold_and_folds_differ_by_one_image_at_most(contents, folds, seed):
    labels = [rows(*classes) for classes in contents]
    number = deal(labels, 4, folds, seed)
    sizes = np.bincount(number, minlength=folds)
    assert len(sizes) == folds
    assert sizes.max() - sizes.min() <= 1
    np.testing.assert_array_equal(number, deal(labels, 4, folds, seed))


def test_a_rare_class_is_in_every_fold():
    labels = [rows(0)] * 60 + [rows(0, 1)] * 30 + [rows(2)] * 5 + [rows()] * 5
    number = deal(labels, 3, 5, seed=3)
    for images, each in ((range(90, 95), 1), (range(60, 90), 6), (range(95, 100), 1)):
        assert np.bincount(number[list(images)], minlength=5).tolist() == [each] * 5
    assert (number != deal(labels, 3, 5, seed=4)).any()


def listed(folder: Path, split: str) -> list[str]:
    return (folder / f"{split}.txt").read_text(encoding="utf-8").splitlines()


def test_folds_of_one_seed_share_the_images_of_train_and_val(workshop, tmp_path):
    spec = load_dataset_spec(workshop / "set.yaml")
    validated = []
    for fold in range(3):
        folder = tmp_path / str(fold)
        folder.mkdir()
        written = load_dataset_spec(write_fold(spec, 3, fold, 0, folder))
        assert written.names == spec.names
        train, val = listed(folder, "train"), listed(folder, "val")
        assert (len(train), len(val)) == (6, 3)
        assert not set(train) & set(val)
        validated += val
    assert sorted(validated) == sorted(str(path) for path in (workshop / "set" / "images").glob("*/*.png"))
    with pytest.raises(ValueError, match=r"--folds 10: .*set.yaml has 9 usable images; expected one a fold"):
        write_fold(spec, 10, 0, 0, tmp_path)


def test_a_resumed_run_keeps_its_split_and_val_py_repeats_it(configure, monkeypatch, root):
    changes = {"epochs": 2, "folds": 3, "fold": 1}
    whole = train(configure(name="whole", **changes)).folder
    with monkeypatch.context() as patch:
        stop_in_epoch(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            train(configure(name="parts", **changes))
    parts = whole.with_name("parts")
    with monkeypatch.context() as patch:
        patch.setattr("engine.training.run_training.write_fold", None)  # not dealt again: images may have come since
        result = train(ResumeRequest(None, whole.parent))
    assert_same_weights(whole / "weights" / "last.pt", parts / "weights" / "last.pt")
    assert result.evaluation.images == 3
    words = ["val.py", "--data", str(parts / "data.yaml"), "--weights", str(result.weights), "--img", "64"]
    words += ["--batch", "2", "--workers", "0", "--device", "cpu", "--project", str(parts / "val")]
    done = subprocess.run([sys.executable, *words], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert any(line.split()[:3] == ["all", "3", str(result.evaluation.instances)] for line in done.stdout.splitlines())


def test_a_data_set_without_val_can_be_dealt(workshop, tmp_path):
    content = yaml.safe_load((workshop / "set.yaml").read_text())
    del content["val"]
    (tmp_path / "only.yaml").write_text(yaml.safe_dump(content))
    written = load_dataset_spec(write_fold(load_dataset_spec(tmp_path / "only.yaml"), 2, 0, 0, tmp_path))
    assert len(listed(tmp_path, "train")) == len(listed(tmp_path, "val")) == 3
    assert written.test == ()
