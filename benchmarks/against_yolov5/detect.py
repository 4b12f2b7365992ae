"""detect.py and val.py of this repository beside those of another checkout, as whole processes, taking turns.

python -m benchmarks.against_yolov5.detect --peer ../yolov5 --weights best.pt --source images/val --data data.yaml
Both get the same flags and write the same: pictures from detection, plots from validation. Each figure is the median
of the rounds, the wall clock's with its range; CPU seconds are of the process and its children, and say more than the
clock on a busy machine.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from files.find import ROOT

_SPEED = re.compile(r"([\d.]+)ms inference")


class Run(NamedTuple):
    """One process."""

    wall_s: float
    cpu_s: float
    network_ms: float


def main() -> int:
    """Run, print a table."""
    args = _arguments()
    work: list[tuple[str, list[str]]] = []
    size = ["--img", str(args.imgsz)]
    if args.source:
        work.append(("detect.py", ["detect.py", "--source", str(Path(args.source).resolve()), *size]))
        work.append(
            ("detect.py --nosave", ["detect.py", "--source", str(Path(args.source).resolve()), "--nosave", *size])
        )
    if args.data:
        work.append(("val.py", ["val.py", "--data", str(Path(args.data).resolve()), "--batch-size", "16", *size]))
    print("| command | where | wall s | CPU s | network ms an image | original / this: wall | CPU | network |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, words in work:
        runs: dict[str, list[Run]] = {"original": [], "this": []}
        for _ in range(args.rounds):
            runs["original"].append(_run(Path(args.peer), words, args, []))
            runs["this"].append(_run(ROOT, words, args, args.extra if "detect" in name else []))
        middle = {place: Run(*map(statistics.median, zip(*done, strict=True))) for place, done in runs.items()}
        for place, done in runs.items():
            walls = sorted(run.wall_s for run in done)
            now = middle[place]
            ratios = [f"{was / is_now:.2f}" for was, is_now in zip(middle["original"], now, strict=True)]
            cells = [name, place, f"{now.wall_s:.1f} ({walls[0]:.1f}-{walls[-1]:.1f})", f"{now.cpu_s:.1f}"]
            cells += [f"{now.network_ms:.1f}", *(ratios if place == "this" else ["", "", ""])]
            print(f"| {' | '.join(cells)} |", flush=True)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/against_yolov5/detect.py", description=__doc__)
    parser.add_argument("--peer", required=True, help="checkout of the original")
    parser.add_argument("--weights", required=True, help="a .pt file that both read")
    parser.add_argument("--source", help="images for detect.py")
    parser.add_argument("--data", help="data set for val.py")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--extra", nargs="*", default=[], help="more flags, for this detect.py only")
    return parser.parse_args()


def quiet_environment(threads: int) -> dict[str, str]:
    """This process' environment for a child that uses so many threads and asks no network for anything."""
    counts = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")}
    return {**os.environ, **counts, "YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "false"}


def _run(folder: Path, words: list[str], args: argparse.Namespace, more: list[str]) -> Run:
    """One process in its own run folder."""
    environment = quiet_environment(args.threads)
    with tempfile.TemporaryDirectory() as project:
        command = [sys.executable, *words, "--weights", str(Path(args.weights).resolve()), "--device", "cpu"]
        command += ["--project", project, *more]
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{folder}: {' '.join(command)} ended with code {done.returncode}:\n{done.stderr[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = _SPEED.findall(done.stdout + done.stderr)
    return Run(wall, cpu, float(found[-1]) if found else float("nan"))


if __name__ == "__main__":
    raise SystemExit(main())
