"""The scripts alone and beside busy loops, one loop a core, as on a shared server or a laptop with a browser open.

python -m benchmarks.studies.busy_machine --data data/signs_tiny.yaml --rounds 3
python -m benchmarks.studies.busy_machine --data … --set "" --set GOMP_SPINCOUNT=300000  # as nothing set

Every command runs in turn with each `--set` of environment variables, alone and beside the loops, round by round. A
process that shares each core with one loop gets half of the machine, so 2 times its time alone is what is possible.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from engine.config.parser import run_cli
from files.cores import usable_cores
from files.find import ROOT

SCRIPTS = ("train", "val", "detect")


def main() -> int:
    """Run, print a table."""
    args = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        commands = _commands(args, Path(folder))
        times: dict[tuple[str, str, bool], list[float]] = {}
        for done in range(args.rounds):
            for name, words in commands.items():
                for variables in args.set:
                    for busy in (False, True):
                        times.setdefault((name, variables, busy), []).append(_timed(words, variables, busy))
            print(f"round {done + 1} of {args.rounds}", file=sys.stderr, flush=True)
    print("| command | set besides | alone s | beside busy loops s | ratio |\n| --- | --- | ---: | ---: | ---: |")
    for name in commands:
        for variables in args.set:
            alone, beside = times[name, variables, False], times[name, variables, True]
            ratio = statistics.median(beside) / statistics.median(alone)
            print(f"| {name} | {variables or 'nothing'} | {_spread(alone)} | {_spread(beside)} | {ratio:.2f} |")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="dataset YAML with a val split; train.py runs one epoch of it")
    parser.add_argument("--weights", nargs="+", default=["yolov5n.pt"], help="of detect.py; the first of all")
    parser.add_argument("--source", default=str(ROOT / "data/images"), help="of detect.py")
    parser.add_argument("--imgsz", "--img", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", action="append", help="NAME=VALUE,… of the environment; repeat to compare")
    parser.add_argument("--scripts", nargs="+", choices=SCRIPTS, default=SCRIPTS)
    args = parser.parse_args()
    args.set = args.set or [""]
    return args


def _commands(args: argparse.Namespace, folder: Path) -> dict[str, list[str]]:
    first, size = args.weights[0], ["--img", str(args.imgsz), "--project", str(folder)]
    commands: dict[str, list[str]] = {}
    if "train" in args.scripts:
        commands["train.py"] = [
            "train.py",
            "--weights",
            first,
            "--data",
            args.data,
            "--epochs",
            "1",
            "--noplots",
            *size,
        ]
    if "val" in args.scripts:
        commands["val.py"] = ["val.py", "--weights", first, "--data", args.data, "--single-cls", "--noplots", *size]
    if "detect" in args.scripts:
        for file in args.weights:
            commands[f"detect.py {Path(file).name}"] = ["detect.py", "--weights", file, "--source", args.source, *size]
    return commands


def _timed(words: list[str], variables: str, busy: bool) -> float:
    """Seconds of one process."""
    environment = {**os.environ, **dict(pair.split("=", 1) for pair in variables.split(",") if pair)}
    with _busy_loops(usable_cores() if busy else 0):
        begun = time.perf_counter()
        subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - begun


@contextmanager
def _busy_loops(number: int) -> Generator[None]:
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def _spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.1f} ({min(seconds):.1f}-{max(seconds):.1f})"


if __name__ == "__main__":
    raise SystemExit(run_cli(main))
