"""docs/results/detections.md: pictures of detections on real images, two mosaics of validation images.

python -m benchmarks.studies.detection_pictures road=road.pt:images/val mask=mask.pt:images/val
Each word is <name>=<weights>:<folder of images>; the images are spread evenly over the folder, not chosen.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from data.images import IMAGE_SUFFIXES, letterbox, read_image, write_image
from engine import load_model
from engine.config.parser import run_cli
from files.find import ROOT

_COLUMNS, _ROWS, _TILE_HW = 4, 3, (200, 240)
_FOLDER = ROOT / "docs" / "results"


def main() -> None:
    """Detect, draw, write."""
    parser = argparse.ArgumentParser(prog="benchmarks/studies/detection_pictures.py", description=__doc__)
    parser.add_argument("sets", nargs="+", help="<name>=<weights>:<folder>")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--conf-thres", type=float, default=0.25)
    args = parser.parse_args()
    for word in args.sets:
        name, _, rest = word.partition("=")
        weights, _, folder = rest.partition(":")
        if not folder:
            raise ValueError(f"{word}: expected <name>=<weights>:<folder>")
        file = _FOLDER / f"detections_{name}.jpg"
        found = _mosaic(weights, Path(folder), file, args)
        print(f"{file.relative_to(ROOT)}: {found} detections, {file.stat().st_size / 1000:.0f} kB")


def _mosaic(weights: str, folder: Path, file: Path, args: argparse.Namespace) -> int:
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    count = _COLUMNS * _ROWS
    if len(paths) < count:
        raise ValueError(f"{folder}: expected at least {count} images but got {len(paths)}")
    detector = load_model(weights, "cpu")
    detector.conf = args.conf_thres
    tiles, found = [], 0
    for index in range(count):
        path = paths[(2 * index + 1) * len(paths) // (2 * count)]
        image = read_image(path)
        scale = 480 / max(image.shape[:2])  # drawn at one size, so that lines and letters are alike
        (result,) = detector.predict(path, imgsz=args.imgsz)
        found += len(result)
        large = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        drawn = type(result)(
            large, result.boxes_xyxy_px * scale, result.confidences, result.class_ids, result.names, result.path
        ).plot(line_px=3)
        tiles.append(letterbox(drawn, _TILE_HW).image)
    rows = [np.hstack(tiles[start : start + _COLUMNS]) for start in range(0, count, _COLUMNS)]
    write_image(file, np.vstack(rows), jpeg_quality=80)
    return found


if __name__ == "__main__":
    raise SystemExit(run_cli(main))
