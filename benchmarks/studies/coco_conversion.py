"""Time and memory of converting a COCO JSON of two sizes: the memory has to stay far below that of the text.

    python -m benchmarks.studies.coco_conversion --megabytes 100 1000

Generates the file, with outlines of 20 points and 100 objects an image, converts it in a process of its own, and prints
a row for each size. Everything is written to a temporary folder and removed. Linux and macOS.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.images import write_image

SIDE_PX, OBJECTS, POINTS, PICTURES = 160, 100, 20, 16


def generate(folder: Path, megabytes: int) -> int:
    """Write `annotations.json` of about that size and its images, hard links of a few; gives the number of objects."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    for k in range(PICTURES):
        write_image(folder / f".{k}.png", rng.integers(0, 256, (SIDE_PX, SIDE_PX, 1), np.uint8).repeat(3, 2))
    images: list[str] = []
    objects = 0
    with (folder / "annotations.json").open("w") as stream:
        stream.write('{"annotations": [')
        while stream.tell() < megabytes * 1_000_000:
            image_id = len(images)
            os.link(folder / f".{image_id % PICTURES}.png", folder / "images" / f"{image_id}.png")
            image = {"id": image_id, "file_name": f"{image_id}.png", "width": SIDE_PX, "height": SIDE_PX}
            images.append(json.dumps(image))
            outlines = rng.uniform(0, SIDE_PX - 40, (OBJECTS, 1, 2)) + rng.uniform(0, 40, (OBJECTS, POINTS, 2))
            for outline in outlines.round(2):
                low, high = outline.min(0), outline.max(0)
                box = np.concatenate([low, high - low]).round(2).tolist()
                own = {"id": objects, "image_id": image_id, "category_id": objects % 80, "bbox": box}
                rest = {"iscrowd": 0, "area": box[2] * box[3], "segmentation": [outline.ravel().tolist()]}
                stream.write((", " if objects else "") + json.dumps(own | rest))
                objects += 1
        categories = json.dumps([{"id": k, "name": f"class {k}"} for k in range(80)])
        stream.write(f'], "images": [{", ".join(images)}], "categories": {categories}}}')
    return objects


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every size, smallest first: the system keeps the greatest memory of any child alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[100, 1000], help="sizes of the JSON")
    print("| JSON, MB | images | objects | seconds | peak memory, MB |\n|---|---|---|---|---|")
    for megabytes in sorted(parser.parse_args(arguments).megabytes):
        with tempfile.TemporaryDirectory() as temporary:
            source, out = Path(temporary, "set"), Path(temporary, "out")
            objects = generate(source, megabytes)
            size = (source / "annotations.json").stat().st_size
            start = time.perf_counter()
            command = [sys.executable, "-m", "data.convert", "coco", str(source), "--out", str(out), "--link"]
            subprocess.run([*command, "--near-duplicate-bits", "-1"], check=True, capture_output=True)
            seconds = time.perf_counter() - start
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            images = len(list((source / "images").iterdir()))
            print(f"| {size / 1e6:.0f} | {images} | {objects} | {seconds:.0f} | {peak / 1e6:.0f} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
