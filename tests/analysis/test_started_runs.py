"""Runs that are started from a page: what is checked before, and how they are told to stand."""

import json
import os
import time
from pathlib import Path

import psutil
import pytest

from analysis import started_runs
from analysis.started_runs import (
    compare_request,
    estimate_comparison,
    resume_comparison,
    resume_training,
    start_training,
    view_comparison,
    view_training,
)
from engine.runtime.background import stop
from engine.training.results_csv import ResultsFile
from tests.engine.conftest import workshop as workshop
from tests.support.tiny_runs import make_config

LOG = """\
      Epoch     memory   box_loss   obj_loss   cls_loss  Instances       Size   images/s   run left
       0/19      0.9G     0.1101    0.03402    0.02712          9         64       31.2    0:01:35  mAP50 0.1  5.0 s
       1/19      0.9G     0.1001    0.03302    0.02612          9         64       31.2    0:01:30  mAP50 0.2  5.0 s
interrupted
"""


@pytest.fixture
def values(workshop: Path) -> dict:
    config = make_config(workshop, workshop / "runs").to_dict()
    return {name: value for name, value in config.items() if name not in ("project", "name")}


@pytest.fixture
def begun(monkeypatch) -> list:
    """What would have been started."""
    calls = []
    monkeypatch.setattr(started_runs, "start", lambda words, folder: calls.append((list(words), folder)))
    return calls


def test_a_training_gets_a_folder_of_its_own(values, begun, tmp_path) -> None:
    first, second = (start_training(values, tmp_path / "runs", "exp") for _ in range(2))
    assert [first.name, second.name] == ["exp", "exp2"]
    words, folder = begun[1]
    assert folder == second
    assert words[0] == "train.py"
    assert words[words.index("--name") + 1] == "exp2"
    assert words[words.index("--epochs") + 1] == "2"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epochs": 0}, "epochs"),
        ({"data": "nowhere.yaml"}, "nowhere.yaml"),
        ({"cfg": "yolov9.yaml"}, "yolov9.yaml"),
        ({"attention": ("CBAM@neck.P9",)}, "no place"),
        ({"cfg": ""}, "expected --cfg, --weights or both"),
    ],
)
def test_mistakes_are_told_before_a_folder_is_made(values, begun, tmp_path, change, said) -> None:
    with pytest.raises(ValueError, match=said):
        start_training({**values, **change}, tmp_path / "runs", "exp")
    assert begun == []
    assert not (tmp_path / "runs").exists()


def test_how_a_training_stands_is_read_from_its_folder(tmp_path) -> None:
    results = ResultsFile(tmp_path / "results.csv")
    for epoch in range(2):
        results.append(epoch, {"train/box_loss": 0.11 - 0.01 * epoch, "metrics/mAP_0.5": 0.1 * epoch})
    (tmp_path / "log.txt").write_text(LOG)
    view = view_training(tmp_path)
    assert (view.state, view.epochs, view.left) == ("failed", (2, 20), "")  # no weights were saved
    note = {"words": ["train.py"], "process": os.getpid(), "began_s": psutil.Process().create_time()}
    (tmp_path / ".started.json").write_text(json.dumps(note))
    view = view_training(tmp_path)
    assert (view.state, view.epochs, view.left) == ("running", (2, 20), "0:01:30")
    assert {"epoch": 1, "curve": "metrics/mAP_0.5", "value": 0.1, "loss": False} in view.curves()
    with pytest.raises(ValueError, match="nothing to resume"):
        resume_training(tmp_path)


def test_before_the_first_epoch_the_command_says_how_many_there_will_be(tmp_path) -> None:
    (tmp_path / ".started.json").write_text(
        json.dumps({"words": ["train.py", "--epochs", "7"], "process": 0, "began_s": 0})
    )
    assert view_training(tmp_path).epochs == (0, 7)


def test_a_comparison_is_gone_on_with_by_the_command_that_began_it(begun, tmp_path) -> None:
    with pytest.raises(ValueError, match="was not started here"):
        resume_comparison(tmp_path)
    words = ["compare.py", "--name", "signs"]
    (tmp_path / ".started.json").write_text(json.dumps({"words": words, "process": 0, "began_s": 0}))
    assert view_comparison(tmp_path).resumable
    resume_comparison(tmp_path)
    assert begun == [(words, tmp_path)]


def test_mistakes_of_a_comparison_are_raised() -> None:
    with pytest.raises(ValueError, match="seeds"):
        compare_request(["--cfg", "yolov5n.yaml", "--attention", "none", "--seeds", "0"])
    with pytest.raises(ValueError, match="--nonsense"):
        compare_request(["--nonsense"])


@pytest.mark.slow
def test_the_estimate_is_that_of_the_dry_run(workshop, tmp_path) -> None:
    words = ["--cfg", str(workshop / "nano.yaml"), "--data", str(workshop / "set.yaml"), "--attention", "none", "SE"]
    words += ["--seeds", "2", "--epochs", "2", "--imgsz", "64", "--batch-size", "2", "--device", "cpu"]
    told = estimate_comparison([*words, "--project", str(tmp_path), "--name", "tiny"])
    assert "4 runs are left, about 0:0" in told
    assert not (tmp_path / "tiny").exists()
    with pytest.raises(ValueError, match="yolov9"):
        estimate_comparison(["--cfg", "yolov9.yaml", "--attention", "none"])


@pytest.mark.slow
def test_a_real_training_stops_with_its_weights_and_is_resumed(values, tmp_path) -> None:
    folder = start_training({**values, "epochs": 60}, tmp_path, "exp")

    def until(*states: str, epochs: int = 0) -> None:
        end = time.monotonic() + 120
        while (view := view_training(folder)).state not in states or view.epochs[0] < epochs:
            assert time.monotonic() < end, view.log
            time.sleep(0.2)

    until("running", epochs=2)
    stop(folder)
    until("stopped")
    assert (folder / "weights/last.pt").is_file()
    done = view_training(folder).epochs[0]
    resume_training(folder)
    until("running", epochs=done + 1)
    stop(folder)
    until("stopped", "finished")
