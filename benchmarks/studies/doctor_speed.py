"""How long the doctor of data sets takes without pixels, and how much memory, at two sizes.

python -m benchmarks.studies.doctor_speed --images 25000 100000
Small images and label files with one to nine boxes are written to a temporary folder; each figure is a process of its
own, first without and then with the label cache that the first one leaves.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from engine.config.parser import run_cli
from files.find import ROOT

CLASSES = 10


def main() -> None:
    """Write the sets, run the doctor, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", nargs="+", type=int, default=[25_000, 100_000])
    args = parser.parse_args()
    print("| label files | boxes | first time, s | again, s | memory, MB |\n|---:|---:|---:|---:|---:|")
    for images in args.images:
        with tempfile.TemporaryDirectory() as folder:
            boxes = write_set(Path(folder), images)
            times = [timed(Path(folder)) for _ in range(2)]
            memory_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3  # sizes ascend
            print(f"| {images:,} | {boxes:,} | {times[0]:.1f} | {times[1]:.1f} | {memory_mb:.0f} |", flush=True)


def write_set(root: Path, images: int) -> int:
    """A set with a tenth of its images in val; returns the number of boxes."""
    random = np.random.default_rng(0)
    for kind in ("images", "labels"):
        for split in ("train", "val"):
            (root / kind / split).mkdir(parents=True)
    pictures = []
    for _ in range(50):
        coarse = random.integers(0, 256, (8, 12, 3), dtype=np.uint8)
        pictures.append(cv2.imencode(".jpg", cv2.resize(coarse, (96, 64)))[1].tobytes())
    boxes = 0
    for number in range(images):
        split = "val" if number % 10 == 0 else "train"
        (root / "images" / split / f"{number:06d}.jpg").write_bytes(pictures[number % len(pictures)])
        count = int(random.integers(1, 10))
        boxes += count
        rows = np.column_stack((random.uniform(0.2, 0.8, (count, 2)), random.uniform(0.05, 0.35, (count, 2))))
        lines = (f"{random.integers(CLASSES)} " + " ".join(f"{v:.6f}" for v in row) + "\n" for row in rows.tolist())
        (root / "labels" / split / f"{number:06d}.txt").write_text("".join(lines))
    names = ", ".join(f"class{number}" for number in range(CLASSES))
    (root / "set.yaml").write_text(f"path: {root}\ntrain: images/train\nval: images/val\nnames: [{names}]\n")
    return boxes


def timed(root: Path) -> float:
    """Seconds of a whole process."""
    command = [sys.executable, "-m", "analysis.doctor", str(root / "set.yaml"), "--no-pixels", "--project", str(root)]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "MPLBACKEND": "Agg"}, capture_output=True, check=False)
    if done.returncode not in (0, 1):
        raise ValueError(f"the doctor failed: {done.stderr.decode(errors='replace')[-300:]}")
    return time.perf_counter() - start


if __name__ == "__main__":
    raise SystemExit(run_cli(main))
