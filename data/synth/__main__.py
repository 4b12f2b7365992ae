"""Command line: draw a set now, or look at it. `python -m data.synth --data signs.yaml --preview preview.png`."""

import argparse
import itertools
import sys
from pathlib import Path

import cv2
import numpy as np

from data.synth import CLASS_NAMES, SynthOptions, ensure, render
from files.paths import is_file
from files.signals import Terminated, signals_as_ctrl_c
from files.text import printable_lines
from files.yaml_file import read_yaml

ROOT = Path(__file__).resolve().parents[2]
PREVIEW_GRID = (4, 6)  # columns, rows
TILE_WIDTH_PX = 480  # at most


def main(argv: list[str] | None = None) -> int:
    """Draw the set of a dataset YAML, or with --preview only a sheet of its first training images."""
    parser = argparse.ArgumentParser(prog="python -m data.synth", description=__doc__)
    parser.add_argument("--data", default="signs.yaml", help="dataset YAML with a `synth:` mapping")
    parser.add_argument("--out", type=Path, help="folder of the set (default: datasets/<path of the YAML>)")
    parser.add_argument("--preview", type=Path, help="write a sheet of labelled images here and draw no set")
    arguments = parser.parse_args(argv)
    try:
        with signals_as_ctrl_c():
            _run(arguments)
    except ValueError as error:
        print(printable_lines(error), file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print("interrupted; run the same command again and it goes on", file=sys.stderr)
        return stop.code if isinstance(stop, Terminated) else 130
    return 0


def _run(arguments: argparse.Namespace) -> None:
    folder, options = _read(arguments.data)
    if arguments.preview:
        sheet = _free(arguments.preview)
        write_preview(sheet, SynthOptions.from_mapping(options))
        print(f"wrote {sheet}")
    else:
        ensure(arguments.out or folder, options)
        print(f"{arguments.out or folder} is complete")


def _read(name: str) -> tuple[Path, dict[str, object]]:
    """The folder and the options that a dataset YAML names."""
    path = next((p for p in (Path(name), ROOT / "data" / name) if is_file(p)), None)
    if path is None:
        raise ValueError(f"--data {name}: Expected a file here or in data/ but found none")
    content = read_yaml(path)
    if not isinstance(content, dict) or "synth" not in content:
        raise ValueError(f"{path}: Expected a `synth:` mapping but found none; only such a set is drawn by code")
    names = content.get("names")
    names = list(names.values()) if isinstance(names, dict) else names
    if names != list(CLASS_NAMES):
        raise ValueError(f"{path}: Expected `names` to be {list(CLASS_NAMES)} but got {names}")
    return ROOT / "datasets" / str(content.get("path", path.stem)), content["synth"]


def _free(file: Path) -> Path:
    """The file, or the next one of its name with a number where it is there."""
    others = (file.with_name(f"{file.stem}{number}{file.suffix}") for number in itertools.count(2))
    return next(one for one in itertools.chain([file], others) if not one.exists())


def write_preview(path: Path, options: SynthOptions, first: int = 0) -> None:
    """A sheet of training images with their boxes."""
    columns, rows = PREVIEW_GRID
    tiles = [_tile(options, first + i) for i in range(columns * rows)]
    sheet = np.concatenate([np.concatenate(tiles[r * columns : (r + 1) * columns], axis=1) for r in range(rows)])
    suffix = path.suffix or ".png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(suffix, sheet[..., ::-1])[1].tobytes())


def _tile(options: SynthOptions, index: int) -> np.ndarray:
    drawn = render(options.seed, "train", index, options.image_px)
    image = drawn.image.copy()
    for class_id, box in zip(drawn.classes, drawn.boxes_xyxy_px.round().astype(int), strict=True):
        x1, y1, x2, y2 = (int(v) for v in box)
        cv2.rectangle(image, (x1 - 2, y1 - 2), (x2 + 1, y2 + 1), (255, 255, 0), 1)
        cv2.putText(
            image, CLASS_NAMES[class_id][:9], (x1, max(10, y1 - 4)), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 0)
        )
    width = min(image.shape[1], TILE_WIDTH_PX)
    return cv2.resize(image, (width, image.shape[0] * width // image.shape[1]), interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    raise SystemExit(main())
