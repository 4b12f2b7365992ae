"""train.py beside that of a checkout of the original YOLOv5: whole epochs in whole processes, taking turns.

    python -m benchmarks.against_yolov5.train --peer ../yolov5 --data roadsigns.yaml --cfg yolov5n.yaml --img 320

Both get the same images, batch, image size, loader processes, hyperparameter file and random weights of the same
layers, and keep all decoded images in memory; with --cache default each does what it does of itself. An epoch is the
time between two rows of results.csv, so it holds loader, step and book-keeping, and no validation; the first (start-up,
first calls) and the last (validation, finished weights) are left out. Start-up is the time to the end of the first
epoch less that of a later one. The ratio is of the medians over rounds and epochs. With --attention further rows show
what a module costs. The share of the matrix rate counts a backward pass as two forward passes and leaves out everything
but convolutions and matrix products.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from benchmarks.against_yolov5.detect import quiet_environment
from data.dataset.dataset_yaml import list_images, load_dataset_spec
from engine.config.parser import run_cli
from files.find import ROOT
from models.model_yaml import find_spec

PLACES = "neck.P3,neck.P4,neck.P5"
VAL_IMAGES = 16
POLL_S = 0.02
MATRIX = 2048


@dataclass
class Arm:
    """One train.py with its own flags, and what its runs took."""

    title: str
    folder: Path
    flags: Sequence[str] = ()
    epochs_s: list[float] = field(default_factory=list)
    start_s: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)

    def run(self, common: Sequence[str], epochs: int, environment: dict[str, str]) -> None:
        """One run.

        Raises:
            ValueError: If it fails; with the end of its log.
        """
        with tempfile.TemporaryDirectory() as project, tempfile.TemporaryFile() as log:
            command = [sys.executable, "train.py", *common, *self.flags, "--project", project, "--name", "run"]
            began = time.perf_counter()
            process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)
            rows_s, peak_mb = _watch(process, Path(project) / "run" / "results.csv", began)
            if process.returncode or len(rows_s) != epochs:
                log.seek(0)
                end = log.read()[-2000:].decode(errors="replace")
                raise ValueError(f"{self.folder}: {' '.join(command)} ended with code {process.returncode}:\n{end}")
        whole = [after - before for before, after in itertools.pairwise(rows_s[:-1])]
        self.epochs_s += whole
        self.start_s.append(rows_s[0] - statistics.median(whole))
        self.peak_mb.append(peak_mb)


def _watch(process: subprocess.Popen[bytes], results: Path, began: float) -> tuple[list[float], float]:
    """Seconds from `began` to each row of results.csv, and the most memory of the main process, in MB."""
    rows_s: list[float] = []
    peak_mb, lines = 0.0, 0
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        time.sleep(POLL_S)
        if results.exists():
            now = results.read_bytes().count(b"\n")
            rows_s += [time.perf_counter() - began] * (now - max(lines, 1))
            lines = max(now, 1)
        try:
            mark = [line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM")]
        except OSError:
            continue  # it has just ended
        peak_mb = max([peak_mb, *(int(line.split()[1]) / 1e3 for line in mark)])
    return rows_s, peak_mb


def write_data(name: str, images: int, folder: Path) -> tuple[Path, int]:
    """A data set YAML that both read, with the first images of the training split, and how many those are."""
    spec = load_dataset_spec(name)
    train = list_images(spec.entries("train"), root=spec.path)[: images or None]
    for split, paths in (("train", train), ("val", train[:VAL_IMAGES])):
        (folder / f"{split}.txt").write_text("".join(f"{Path(path).resolve()}\n" for path in paths), encoding="utf-8")
    data = {"path": str(folder), "train": "train.txt", "val": "val.txt", "nc": spec.nc, "names": spec.names}
    file = folder / "data.yaml"
    file.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    return file, len(train)


def step_gigaflops(cfg: str, nc: int, image_px: int) -> float:
    """Operations of forward and backward pass of one image, in units of 1e9."""
    from models import build_model, load_spec
    from models.cost import gigaflops

    return 3 * (gigaflops(build_model(load_spec(cfg).with_classes(nc)), image_px) or 0.0)


def matrix_gigaflops_s() -> float:
    """The best of a few bf16 products of square matrices, in 1e9 operations a second."""
    import torch

    a, b = (torch.randn(MATRIX, MATRIX, dtype=torch.bfloat16) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        began = time.perf_counter()
        torch.matmul(a, b)
        best = min(best, time.perf_counter() - began)
    return 2 * MATRIX**3 / best / 1e9


def table(arms: Sequence[Arm], images: int, step: float, rate: float) -> str:
    """Markdown; ratios to the first arm."""
    lines = ["| train.py | images/s (slowest to fastest epoch) | ratio | bf16 matrix rate | peak MB | start-up s |"]
    lines.append("|---|---|---|---|---|---|")
    speeds = [images / statistics.median(arm.epochs_s) for arm in arms]
    for arm, speed in zip(arms, speeds, strict=True):
        spread = f"{images / max(arm.epochs_s):.1f} to {images / min(arm.epochs_s):.1f}"
        figures = f"{speed:.1f} ({spread}) | {speed / speeds[0]:.2f} | {speed * step / rate:.0%}"
        lines.append(
            f"| {arm.title} | {figures} | {statistics.median(arm.peak_mb):.0f} | {statistics.median(arm.start_s):.1f} |"
        )
    return "\n".join(lines)


def parse_args() -> argparse.Namespace:
    """Read the command line.

    Raises:
        ValueError: If a value cannot be used.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="checkout of the original; without, this train.py alone")
    parser.add_argument("--data", default="roadsigns.yaml", help="dataset YAML")
    parser.add_argument("--cfg", default="yolov5n.yaml", help="model YAML of both")
    parser.add_argument("--precision", nargs="+", default=["bf16", "32"], help="of this train.py, one row each")
    parser.add_argument("--attention", nargs="*", default=[], help=f"modules to insert at {PLACES}, one row each")
    for name, value in (("img", 320), ("batch", 16), ("workers", 1), ("epochs", 4), ("rounds", 2), ("images", 0)):
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default {value}")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="OMP_NUM_THREADS of both")
    parser.add_argument("--cache", choices=("ram", "default"), default="ram", help="decoded images of both")
    parser.add_argument("--compile", action="store_true", help="one more row: the first precision with --compile")
    parser.add_argument("--device", default="cpu", help="cpu or a GPU number")
    args = parser.parse_args()
    if args.epochs < 3:
        raise ValueError(f"--epochs {args.epochs}: expected at least 3, as the first and the last are not counted")
    if args.peer and not (args.peer / "train.py").is_file():
        raise ValueError(f"--peer {args.peer}: there is no train.py in it")
    return args


def main() -> None:
    """Run all arms in turn, round by round, and print the table after each round."""
    args = parse_args()
    arms = [Arm("original", args.peer.resolve())] if args.peer else []
    arms += [Arm(f"this, {precision}", ROOT, ("--precision", precision)) for precision in args.precision]
    first = ("--precision", args.precision[0])
    arms += [Arm(f"this, {first[1]}, {m}", ROOT, (*first, "--attention", f"{m}@{PLACES}")) for m in args.attention]
    if args.compile:
        arms.append(Arm(f"this, {first[1]}, compiled", ROOT, (*first, "--compile")))
    environment = {**quiet_environment(args.threads), "WANDB_MODE": "disabled"}
    with tempfile.TemporaryDirectory() as folder:
        data, images = write_data(args.data, args.images, Path(folder))
        cfg = find_spec(args.cfg).resolve()
        hyp = ROOT / "data" / "hyps" / "hyp.scratch-low.yaml"
        common = ["--weights", "", "--cfg", cfg, "--data", data, "--hyp", hyp, "--img", args.img]
        common += ["--batch", args.batch, "--epochs", args.epochs, "--workers", args.workers, "--device", args.device]
        common += ["--cache", "ram"] if args.cache == "ram" else []
        common += ["--noval", "--nosave", "--noplots", "--noautoanchor", "--seed", 0]
        step = step_gigaflops(str(cfg), load_dataset_spec(str(data)).nc, args.img)
        for number in range(args.rounds):
            for arm in arms if number % 2 == 0 else reversed(arms):
                arm.run([str(word) for word in common], args.epochs, environment)
                print(
                    f"round {number + 1}: {arm.title}, {arm.epochs_s[-1]:.1f} s an epoch", file=sys.stderr, flush=True
                )
            print(table(arms, images, step, matrix_gigaflops_s()), flush=True)


if __name__ == "__main__":
    sys.exit(run_cli(main))
