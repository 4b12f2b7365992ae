"""The clockwork of benchmarks/against_yolov5/train.py, with a stand-in for train.py."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from benchmarks.against_yolov5.train import Arm, table, write_data

SCRIPT = """
import pathlib, sys, time
at = sys.argv.index("--project")
run = pathlib.Path(sys.argv[at + 1], sys.argv[at + 3])
run.mkdir()
memory = bytearray(60_000_000)
time.sleep(0.7)
with (run / "results.csv").open("a") as file:
    print("epoch", file=file)
    for seconds in (0.0, 0.5, 0.5, 3.0):
        time.sleep(seconds)
        print(seconds, file=file, flush=True)
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(SCRIPT)
    return tmp_path


def test_epochs_between_the_first_and_the_last_are_counted(folder):
    arm = Arm("fake", folder)
    arm.run(["0"], 4, dict(os.environ))
    assert len(arm.epochs_s) == 2
    assert all(0.4 < seconds < 2.5 for seconds in arm.epochs_s)  # neither the first, nor the last
    assert -1 < arm.start_s[0] < 3
    assert arm.peak_mb[0] > 60


@pytest.mark.parametrize(("code", "epochs"), [("3", 4), ("0", 5)])
def test_a_run_that_fails_or_stops_early_does_not_count(folder, code, epochs):
    arm = Arm("fake", folder)
    with pytest.raises(ValueError, match=f"ended with code {code}"):
        arm.run([code], epochs, dict(os.environ))
    assert not arm.epochs_s


def test_ratios_are_to_the_first_row():
    slow, fast = Arm("original", Path()), Arm("this", Path())
    slow.epochs_s, slow.start_s, slow.peak_mb = [10.0, 20.0, 11.0], [5.0], [100.0]
    fast.epochs_s, fast.start_s, fast.peak_mb = [4.0, 5.0, 6.0], [3.0], [90.0]
    rows = table([slow, fast], images=110, step=2.0, rate=88.0).splitlines()
    assert rows[2] == "| original | 10.0 (5.5 to 11.0) | 1.00 | 23% | 100 | 5.0 |"
    assert rows[3] == "| this | 22.0 (18.3 to 27.5) | 2.20 | 50% | 90 | 3.0 |"


def test_the_data_are_the_first_images_by_full_path(tmp_path):
    images = tmp_path / "set" / "images" / "train"
    images.mkdir(parents=True)
    for i in range(5):
        cv2.imwrite(str(images / f"{i}.png"), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "set.yaml").write_text(
        f"path: {tmp_path / 'set'}\ntrain: images/train\nval: images/train\nnames: [a]\n"
    )
    out = tmp_path / "out"
    out.mkdir()
    file, count = write_data(str(tmp_path / "set.yaml"), 3, out)
    assert count == 3
    assert (out / "train.txt").read_text().split() == [str(images / f"{i}.png") for i in range(3)]
    assert yaml.safe_load(file.read_text())["names"] == {0: "a"}
