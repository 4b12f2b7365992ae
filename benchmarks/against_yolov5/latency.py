"""How long one image takes here and in another checkout, as in front of a camera: batch 1, all threads on that image.

python -m benchmarks.against_yolov5.latency --peer /path/to/yolov5 --weights best.pt --source street.jpg --threads 2
The time is that from the letterboxed pixels to the detections: to floating point, network, suppression; the network's
part is told apart. Processes of both take turns. Each prints its median; the table has the median of the rounds and
their range. Both run as their detect.py does by default: the original in fp32, this one in bf16 where the CPU is fast
at it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.against_yolov5.detect import quiet_environment
from files.find import ROOT

# Run in the checkout's root with weights, picture, side in pixels and number of images; prints two times in ms.
_TIMED = """
import statistics, sys, time
import cv2, torch
weights, picture, side, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
pixels = cv2.cvtColor(cv2.resize(cv2.imread(picture), (side, side)), cv2.COLOR_BGR2RGB)
{prepare}
whole, network = [], []
with torch.inference_mode():
    for turn in range(count + 10):
        start = time.perf_counter()
        {once}
        if turn >= 10:
            whole.append(1000 * (time.perf_counter() - start))
            network.append(network_ms)
print("ms", statistics.median(whole), statistics.median(network))
"""
_ORIGINAL = _TIMED.format(
    prepare="""
from models.common import DetectMultiBackend
from utils.general import non_max_suppression
model = DetectMultiBackend(weights, device=torch.device("cpu"))
pixels = pixels.transpose(2, 0, 1).copy()
""",
    once="""
        image = (torch.from_numpy(pixels).to(model.device).float() / 255)[None]
        before = time.perf_counter()
        predictions = model(image)
        network_ms = 1000 * (time.perf_counter() - before)
        non_max_suppression(predictions, 0.25, 0.45, max_det=1000)
""".strip(),
)
_THIS = _TIMED.format(
    prepare="""
from engine.inference.open_weights import open_network
from engine.inference.predictor import Predictor
predictor = Predictor(open_network([weights], torch.device("cpu"), "auto"), image_px=side)
prepared = predictor.prepare(pixels)
""",
    once="network_ms = 1000 * predictor.timed_detect([prepared])[1]",
)


def main() -> int:
    """Run, print a table."""
    parser = argparse.ArgumentParser(prog="benchmarks/against_yolov5/latency.py", description=__doc__)
    parser.add_argument("--peer", required=True, help="checkout of the original")
    parser.add_argument("--weights", required=True, nargs="+", help=".pt files that both read")
    parser.add_argument("--source", required=True, help="an image")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, default=60, help="in a process")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print("| weights | where | one image, ms | network, ms | original / this: image | network |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for weights in args.weights:
        runs: dict[str, list[list[float]]] = {"original": [], "this": []}
        for _ in range(args.rounds):
            runs["original"].append(_run(Path(args.peer), _ORIGINAL, weights, args))
            runs["this"].append(_run(ROOT, _THIS, weights, args))
        middle = {
            place: [statistics.median(times) for times in zip(*done, strict=True)] for place, done in runs.items()
        }
        for place, done in runs.items():
            cells = [_range(times) for times in zip(*done, strict=True)]
            ratios = [f"{was / now:.2f}" for was, now in zip(middle["original"], middle["this"], strict=True)]
            row = [Path(weights).name, place, *cells, *(ratios if place == "this" else ["", ""])]
            print(f"| {' | '.join(row)} |", flush=True)
    return 0


def _range(times: Sequence[float]) -> str:
    return f"{statistics.median(times):.1f} ({min(times):.1f}-{max(times):.1f})"


def _run(folder: Path, script: str, weights: str, args: argparse.Namespace) -> list[float]:
    """Milliseconds of an image, and of the network's part."""
    environment = quiet_environment(args.threads)
    # The script is on standard input, so the checkout must be named for its imports.
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(folder.resolve()), environment.get("PYTHONPATH"))))
    words = [str(Path(weights).resolve()), str(Path(args.source).resolve()), str(args.imgsz), str(args.images)]
    command = [sys.executable, "-", *words]
    done = subprocess.run(
        command, cwd=folder, env=environment, input=script, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{folder}: ended with code {done.returncode}:\n{done.stderr[-2000:]}")
    return [float(word) for word in done.stdout.splitlines()[-1].split()[1:]]


if __name__ == "__main__":
    raise SystemExit(main())
