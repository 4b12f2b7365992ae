"""The demonstration behind `make demo`: train, validate and detect with the very commands a user would type."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path

from engine.config.files import ROOT

EPOCHS = 40
DATA = "signs_demo.yaml"


def commands(folder: Path) -> list[tuple[str, list[str]]]:
    """What the demonstration runs, each with the sentence that announces it.

    Args:
        folder: Where every result goes.
    """
    best = str(folder / "train" / "weights" / "best.pt")
    unseen = str(ROOT / "datasets" / "signs_demo" / "images" / "test")
    place = ["--project", str(folder), "--exist-ok", "--name"]
    size = ["--img", "320"]
    train = ["--cfg", "yolov5n_ca.yaml", "--data", DATA, "--hyp", "hyp.no-mirror.yaml", *size]
    train += ["--epochs", str(EPOCHS), "--batch", "16", *place]
    return [
        ("Train YOLOv5n with coordinate attention on generated street scenes", ["train.py", *train, "train"]),
        ("Measure the best weights", ["val.py", "--weights", best, "--data", DATA, *size, *place, "val"]),
        (
            "Detect on images it has not seen",
            ["detect.py", "--weights", best, "--source", unseen, *size, *place, "detect"],
        ),
    ]


def main() -> int:
    """Run the commands one after another; the first that fails ends the demonstration with its exit code."""
    started = time.perf_counter()
    folder = Path("runs") / "demo"
    steps = commands(folder)
    for number, (what, command) in enumerate(steps, 1):
        print(f"\n[{number}/{len(steps)}] {what}\n$ python {shlex.join(command)}\n", flush=True)
        code = subprocess.run([sys.executable, *command], cwd=ROOT, check=False).returncode
        if code:
            return code
    minutes, seconds = divmod(round(time.perf_counter() - started), 60)
    print(f"\nDone in {minutes} min {seconds} s. Open these folders:")
    print(f"  {folder / 'train'}    curves (results.png), batches, weights")
    print(f"  {folder / 'val'}      mAP table, PR curve, confusion matrix")
    print(f"  {folder / 'detect'}   unseen images with their detections")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
