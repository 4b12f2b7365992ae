"""Where `train.py --evolve` should take new values from: searches of equal length with each sampler, by seed.

python -m benchmarks.studies.evolve_samplers --data data/signs_tiny.yaml --trials 30 --seeds 0 1 2 --out runs/samplers

What follows `--` is for train.py. The same command goes on with searches that were interrupted.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from pathlib import Path

from engine.config.parser import run_cli
from engine.config.train_parser import SAMPLERS
from files.find import ROOT


def main() -> int:
    """Search, print a table of the best fitness after so many trials."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="dataset YAML")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/samplers"))
    parser.add_argument("words", nargs="*", help="flags of train.py, after --")
    args = parser.parse_args()
    marks = [number for number in (1, 5, 10, 20, 30, 50, 100, 300) if number <= args.trials]
    print(
        "| sampler | seed | "
        + " | ".join(f"{number} trials" for number in marks)
        + " | trials below half of the first |"
    )
    print("| --- | ---: |" + " ---: |" * (len(marks) + 1))
    for seed in args.seeds:
        for sampler in SAMPLERS:
            fitness = _search(args, sampler, seed)
            best = " | ".join(f"{max(fitness[:number]):.3f}" for number in marks)
            print(f"| {sampler} | {seed} | {best} | {sum(f < fitness[0] / 2 for f in fitness)} |", flush=True)
    return 0


def _search(args: argparse.Namespace, sampler: str, seed: int) -> list[float]:
    """The fitness of every trial, 0 for one that failed."""
    words = ["--data", args.data, "--seed", str(seed), "--evolve", str(args.trials), "--evolve-sampler", sampler]
    folder = args.out.resolve() / f"{sampler}{seed}"
    place = ["--project", str(folder.parent), "--name", folder.name, "--noplots"]
    subprocess.run([sys.executable, "train.py", *words, *place, *args.words], cwd=ROOT, check=True, stdout=sys.stderr)
    with (folder / "evolve.csv").open(newline="") as file:
        rows = [{name.strip(): value for name, value in row.items()} for row in csv.DictReader(file)]
    return [max(float(row["fitness"]), 0.0) if row["fitness"].strip() != "nan" else 0.0 for row in rows]


if __name__ == "__main__":
    raise SystemExit(run_cli(main))
