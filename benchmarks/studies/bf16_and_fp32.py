"""bf16 beside fp32: the runs without attention of comparisons that differ in --precision, paired by seed.

    python compare.py --attention none --seeds 3 … --name signs
    python compare.py --attention none --seeds 3 … --precision 32 --name signs_fp32
    python -m benchmarks.studies.bf16_and_fp32 runs/compare/signs runs/compare/signs_fp32

Writes curves.csv, curves.png and table.md to --out. The interval is Student's over the seeds' differences.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from scipy import special

from analysis.compare.execute.run_folder import FINISHED, folders
from analysis.compare.plan.command_line import NONE
from engine.config.parser import run_cli
from engine.training.results_csv import ResultsFile

COLUMNS = {
    "mAP50-95": "metrics/mAP_0.5:0.95",
    "train box loss": "train/box_loss",
    "train obj loss": "train/obj_loss",
    "train cls loss": "train/cls_loss",
}
COLOURS = {"auto": "C0", "bf16": "C0", "32": "C1"}

Row = dict[str, str | int | float]


def read_runs(comparisons: Iterable[Path]) -> list[Row]:
    """Figures of every epoch of the finished runs without attention.

    Raises:
        ValueError: If a folder has no such run.
    """
    rows: list[Row] = []
    for comparison in comparisons:
        found = [run for run in folders(comparison) if run.state == FINISHED and run.plan.module == NONE]
        if not found:
            raise ValueError(f"{comparison}: expected a folder of compare.py with finished runs of --attention none")
        for run in found:
            plan = run.plan
            where: Row = {"data": plan.data, "precision": plan.train["precision"], "seed": plan.seed}
            for epoch, figures in enumerate(ResultsFile(run.path / "results.csv").rows(), 1):
                rows.append({**where, "epoch": epoch, **{name: figures[key] for name, key in COLUMNS.items()}})
    return rows


def last_by_seed(rows: Sequence[Row], data: str, precision: str, name: str) -> dict[int, float]:
    """From seed to a figure of the last epoch."""
    mine = [row for row in rows if row["data"] == data and row["precision"] == precision]
    return {row["seed"]: row[name] for row in sorted(mine, key=lambda row: row["epoch"])}  # type: ignore[misc]


def precisions(rows: Sequence[Row], data: str) -> tuple[str, str]:
    """The lower and the full precision of a data set's runs.

    Raises:
        ValueError: If there are not two with the same seeds.
    """
    names = list(dict.fromkeys(str(row["precision"]) for row in rows if row["data"] == data))
    if len(names) != 2 or "32" not in names:
        raise ValueError(f"{data}: expected runs with --precision 32 and with one other, but got {', '.join(names)}")
    low = next(name for name in names if name != "32")
    seeds = [set(last_by_seed(rows, data, name, "mAP50-95")) for name in (low, "32")]
    if seeds[0] != seeds[1]:
        raise ValueError(f"{data}: expected the same seeds in both precisions, but got {seeds[0]} and {seeds[1]}")
    return low, "32"


def table(rows: Sequence[Row]) -> str:
    """Markdown: mean ± standard deviation after the last epoch, and the paired difference with its interval."""
    lines = [
        "| data | figure | seeds | lower precision | fp32 | difference, 95 % interval |",
        "|---|---|---|---|---|---|",
    ]
    for data in dict.fromkeys(str(row["data"]) for row in rows):
        low, full = precisions(rows, data)
        for name in COLUMNS:
            pairs = [last_by_seed(rows, data, precision, name) for precision in (low, full)]
            a, b = (np.array([pair[seed] for seed in sorted(pair)]) for pair in pairs)
            spreads = " | ".join(
                f"{x.mean():.4f} ± {x.std(ddof=1):.4f}" if len(x) > 1 else f"{x[0]:.4f}" for x in (a, b)
            )
            lines.append(f"| {data} | {name} | {len(a)} | {spreads} | {_interval(a - b)} |")
    return "\n".join(lines) + "\n"


def _interval(differences: np.ndarray) -> str:
    mean, count = differences.mean(), len(differences)
    if count < 2:
        return f"{mean:+.4f}"
    half = special.stdtrit(count - 1, 0.975) * differences.std(ddof=1) / count**0.5
    return f"{mean:+.4f} ({mean - half:+.4f} to {mean + half:+.4f})"


def plot(rows: Sequence[Row], file: Path) -> None:
    """Draw every figure over the epochs, a row of panels a data set; each seed thin, the mean of the seeds thick."""
    from matplotlib.figure import Figure

    sets = list(dict.fromkeys(str(row["data"]) for row in rows))
    figure = Figure(figsize=(4 * len(COLUMNS), 3.2 * len(sets)), layout="constrained")
    grid = figure.subplots(len(sets), len(COLUMNS), squeeze=False)
    for line, data in zip(grid, sets, strict=True):
        for axis, name in zip(line, COLUMNS, strict=True):
            for precision in precisions(rows, data):
                mine = [row for row in rows if row["data"] == data and row["precision"] == precision]
                seeds = sorted({row["seed"] for row in mine})
                curves = np.array([[row[name] for row in mine if row["seed"] == seed] for seed in seeds])
                epochs = np.arange(1, curves.shape[1] + 1)
                axis.plot(epochs, curves.T, color=COLOURS[precision], lw=0.6, alpha=0.6)
                axis.plot(epochs, curves.mean(0), color=COLOURS[precision], lw=2, label=f"--precision {precision}")
            axis.set(title=f"{data}: {name}", xlabel="epoch")
            axis.grid(alpha=0.3)
        line[0].legend(fontsize=8)
    figure.savefig(file, dpi=110)


def main() -> None:
    """Read the folders and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparisons", nargs="+", type=Path, help="folders of compare.py")
    parser.add_argument("--out", type=Path, default=Path("docs/results/precision"), help="folder for the results")
    args = parser.parse_args()
    rows = read_runs(args.comparisons)
    text = table(rows)
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / "curves.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    (args.out / "table.md").write_text(text, encoding="utf-8")
    plot(rows, args.out / "curves.png")
    print(text)


if __name__ == "__main__":
    sys.exit(run_cli(main))
