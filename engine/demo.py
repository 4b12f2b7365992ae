"""The demonstration behind `make demo`: train, validate and detect with the very commands a user would type."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.dataset.dataset_yaml import load_dataset_spec
from data.images import letterbox, read_image, write_image
from files.find import ROOT

ATTENTION = "CoordAtt@neck.P3,neck.P4,neck.P5"
SETS = {  # flags of train.py beside those of every demonstration
    "roadsigns": ["--epochs", "15", "--batch", "8", "--class-map", "stop=stop sign"],
    "signs": ["--epochs", "15", "--batch", "16"],
}
COLUMNS, TILE_PX = 4, 480  # of the contact sheet


def commands(name: str, folder: Path) -> list[tuple[str, list[str]]]:
    """What the demonstration runs, each with the sentence that announces it.

    Args:
        name: One of `SETS`.
        folder: Where every result goes.
    """
    best, data = str(folder / "train" / "weights" / "best.pt"), f"{name}_demo.yaml"
    place = ["--project", str(folder), "--exist-ok", "--name"]
    size = ["--img", "320"]
    train = ["--weights", "yolov5n.pt", "--attention", ATTENTION, "--data", data, *size, *SETS[name], *place]
    what = "street photographs" if name == "roadsigns" else "generated street scenes"
    unseen = load_dataset_spec(data).test[0]
    source = unseen.relative_to(ROOT) if unseen.is_relative_to(ROOT) else unseen
    return [
        (f"Train YOLOv5n with coordinate attention on {what}, from the COCO weights", ["train.py", *train, "train"]),
        ("Measure the best weights", ["val.py", "--weights", best, "--data", data, *size, *place, "val"]),
        (
            "Detect on images it has not seen",
            ["detect.py", "--weights", best, "--source", str(source), *size, "--visualize", *place, "detect"],
        ),
    ]


def contact_sheet(pictures: Sequence[str]) -> np.ndarray:
    """Pictures side by side, each fitted into a square tile: (H, W, 3) uint8 RGB.

    Args:
        pictures: At least one image file.
    """
    tiles = [letterbox(read_image(picture), TILE_PX).image for picture in pictures]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % COLUMNS)
    return np.vstack([np.hstack(tiles[first : first + COLUMNS]) for first in range(0, len(tiles), COLUMNS)])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the commands one after another; the first that fails ends the demonstration with its exit code."""
    parser = argparse.ArgumentParser(prog="python -m engine.demo", description=__doc__)
    parser.add_argument("set", nargs="?", choices=list(SETS), default="roadsigns", help="what is detected")
    name = parser.parse_args(argv).set
    started = time.perf_counter()
    folder = Path("runs") / "demo"
    steps = commands(name, folder)
    for number, (what, command) in enumerate(steps, 1):
        print(f"\n[{number}/{len(steps)}] {what}\n$ python {shlex.join(command)}\n", flush=True)
        code = subprocess.run([sys.executable, *command], cwd=ROOT, check=False).returncode
        if code:
            return code
    sheet = ROOT / folder / "contact_sheet.jpg"
    detected = ROOT / folder / "detect"
    write_image(sheet, contact_sheet(sorted(map(str, detected.glob("*.jpg")))), jpeg_quality=85)
    heat = sorted(map(str, detected.glob("explained/*/cam_class_*.png")))
    if heat:
        write_image(ROOT / folder / "heat_sheet.jpg", contact_sheet(heat), jpeg_quality=85)
    _say_what_next(folder, round(time.perf_counter() - started))
    return 0


def _say_what_next(folder: Path, seconds: int) -> None:
    best = folder / "train" / "weights" / "best.pt"
    print(f"\nDone in {seconds // 60} min {seconds % 60} s.")
    print(f"  {folder / 'train'}    curves (results.png), batches, weights")
    print(f"  {folder / 'val'}      mAP table, PR curve, confusion matrix")
    print(f"  {folder / 'detect'}   unseen images with their detections")
    print("Next, on a picture and on a data set of yours:")
    print(f"  python detect.py --weights {best} --source picture.jpg")
    print(f"  python train.py --data my.yaml --img 640 --attention {ATTENTION}")
    if (ROOT / folder / "heat_sheet.jpg").exists():
        print(f"What it looked at: {folder / 'heat_sheet.jpg'}, one by one: {folder / 'detect' / 'index.html'}")
    print(f"What it found, on one page: {folder / 'contact_sheet.jpg'}")


if __name__ == "__main__":
    raise SystemExit(main())
