"""What loading the base's weights past inserted attention is worth, against loading by equal keys as forks do.

    python -m benchmarks.studies.transfer --base runs/train/mask/weights/best.pt --data roadsigns.yaml --seeds 3

For every module, way of loading and start, a short training run from the same base weights; and one without attention.
Runs are ordinary runs of train.py below --project; a run that is finished is not repeated, so the command can be
stopped and given again, and two commands with --part 1/2 and --part 2/2 share the work. Results so far are written to
--out after each run: curves.csv, curves.png and table.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.dataset.dataset_yaml import load_dataset_spec
from engine.config.parser import run_cli
from engine.runtime.child_process import last_words, run_process
from engine.training.results_csv import ResultsFile
from files.text import write_rows

if TYPE_CHECKING:
    from models.yolo import DetectionModel

PLACES = "neck.P3,neck.P4,neck.P5"
METRICS = {"mAP50": "metrics/mAP_0.5", "mAP50-95": "metrics/mAP_0.5:0.95"}
COLOURS = {
    ("naive", "paper"): "C3",
    ("naive", "identity"): "C1",
    ("transfer", "paper"): "C0",
    ("transfer", "identity"): "C2",
}


@dataclass(frozen=True)
class Arm:
    """One configuration; `module` is empty for the base without attention."""

    module: str
    loading: str
    start: str

    @property
    def title(self) -> str:
        """As in the table and the plot."""
        return f"{self.module}, {self.loading}, {self.start} start" if self.module else "no attention, transfer"

    def folder(self, seed: int) -> str:
        """Name of the run."""
        return "_".join(filter(None, (self.module or "none", self.loading, self.start, f"s{seed}")))


def arms(modules: Sequence[str]) -> list[Arm]:
    """The base, then each module loaded in both ways with both starts."""
    ways = [(loading, start) for loading in ("naive", "transfer") for start in ("paper", "identity")]
    return [Arm("", "transfer", ""), *(Arm(module, *way) for module in modules for way in ways)]


def initial_model(arm: Arm, base: Path, nc: int, seed: int) -> DetectionModel:
    """The arm's model at step 0.

    Naive loading copies the entries whose key and shape agree with the base's, which is what YOLOv5 does with
    `--weights` and `--cfg`: a row behind an inserted one finds another row's weights under its key, or none.
    """
    import torch

    from models import build_model, insert
    from models.weights.checkpoint import read_checkpoint
    from models.weights.transfer import transfer

    source = read_checkpoint(base)
    spec = source.spec.with_classes(nc)
    if arm.module:
        spec = insert(spec, f"{arm.module}@{PLACES}", start=arm.start)
    torch.manual_seed(seed)
    model = build_model(spec)
    if arm.loading == "transfer":
        transfer(model, source)
        return model
    own = model.state_dict()
    fitting = {key: value for key, value in source.state_dict.items() if key in own and own[key].shape == value.shape}
    model.load_state_dict({**own, **fitting})
    return model


def run(arm: Arm, seed: int, args: argparse.Namespace) -> None:
    """Train one arm as a run of train.py of its own.

    Raises:
        ValueError: If the run fails; its log names the cause.
    """
    from models import save_model

    folder = args.project / arm.folder(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (folder / "results.csv", folder / "weights" / "last.pt", folder / "train.log"):
        stale.unlink(missing_ok=True)
    names = load_dataset_spec(args.data).names
    save_model(initial_model(arm, args.base, len(names), seed), folder / "start.pt", names=names)
    command = [sys.executable, "train.py", "--weights", folder / "start.pt", "--data", args.data]
    command += ["--img", args.img, "--batch", args.batch, "--epochs", args.epochs, "--workers", args.workers]
    command += ["--seed", seed, "--cache", "ram", "--noplots", "--device", args.device]
    command += ["--project", args.project, "--name", folder.name, "--exist-ok"]
    log = folder / "train.log"
    if code := run_process([str(word) for word in command], log, one_thread=False):
        raise ValueError(f"{log}: train.py ended with exit code {code}: {last_words(log)}")


def curve(folder: Path) -> list[dict[str, float]]:
    """One row an epoch, as far as the run came."""
    return ResultsFile(folder / "results.csv").rows()


def collect(project: Path, chosen: Sequence[Arm], seeds: range, epochs: int) -> Iterator[dict[str, object]]:
    """A row for every epoch of every finished run."""
    for arm in chosen:
        for seed in seeds:
            rows = curve(project / arm.folder(seed))
            if len(rows) == epochs:
                for row in rows:
                    figures = {name: row[column] for name, column in METRICS.items()}
                    epoch = int(row["epoch"]) + 1
                    yield {**vars(arm), "title": arm.title, "seed": seed, "epoch": epoch, **figures}


def write_results(rows: Sequence[dict[str, object]], out: Path) -> None:
    """Write curves.csv, table.md and curves.png."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "curves.csv").open("w", newline="", encoding="utf-8") as file:
        write_rows(file, [rows[0], *(row.values() for row in rows)])
    (out / "table.md").write_text(table(rows), encoding="utf-8")
    plot(rows, out / "curves.png")


def _by_seed(rows: Sequence[dict[str, object]], title: object, epoch: object, metric: str) -> list[float]:
    return [row[metric] for row in rows if row["title"] == title and row["epoch"] == epoch]  # type: ignore[misc]


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else f"{values[0]:.3f}"


def table(rows: Sequence[dict[str, object]]) -> str:
    """Mean ± standard deviation over seeds after the first, a middle and the last epoch, as Markdown."""
    last = max(row["epoch"] for row in rows)  # type: ignore[type-var]
    epochs = [1, last // 2, last]  # type: ignore[operator]
    lines = ["| model | seeds | " + " | ".join(f"mAP50-95, epoch {e}" for e in epochs) + f" | mAP50, epoch {last} |"]
    lines.append("|---" * (len(epochs) + 3) + "|")
    for title in dict.fromkeys(row["title"] for row in rows):
        cells = [_spread(_by_seed(rows, title, epoch, "mAP50-95")) for epoch in epochs]
        cells.append(_spread(_by_seed(rows, title, last, "mAP50")))
        lines.append(f"| {title} | {len(_by_seed(rows, title, last, 'mAP50'))} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def plot(rows: Sequence[dict[str, object]], file: Path) -> None:
    """Draw mAP50-95 over epochs, a panel a module, each seed thin and the mean of the seeds thick."""
    from matplotlib.figure import Figure

    modules = list(dict.fromkeys(row["module"] for row in rows if row["module"])) or [""]
    figure = Figure(figsize=(5.2 * len(modules), 4.2), layout="constrained")
    axes = figure.subplots(1, len(modules), sharey=True, squeeze=False)[0]
    for axis, module in zip(axes, modules, strict=True):
        shown = [row for row in rows if row["module"] in (module, "")]
        for title in dict.fromkeys(row["title"] for row in shown):
            mine = [row for row in shown if row["title"] == title]
            colour = COLOURS[mine[0]["loading"], mine[0]["start"]] if mine[0]["module"] else "0.35"  # type: ignore[index]
            epochs = sorted({row["epoch"] for row in mine})  # type: ignore[type-var]
            for seed in {row["seed"] for row in mine}:
                axis.plot(epochs, [r["mAP50-95"] for r in mine if r["seed"] == seed], color=colour, lw=0.6, alpha=0.5)
            means = [sum(values) / len(values) for e in epochs if (values := _by_seed(mine, title, e, "mAP50-95"))]
            axis.plot(epochs, means, color=colour, lw=2, label=title)
        axis.set(title=f"{module}@{PLACES}" if module else "", xlabel="epoch", ylabel="mAP50-95")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.savefig(file, dpi=120)


def parse_args() -> argparse.Namespace:
    """Read the command line.

    Raises:
        ValueError: If a value cannot be used.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="weights of a model without attention")
    parser.add_argument("--data", default="roadsigns.yaml", help="dataset YAML to train on")
    parser.add_argument("--modules", nargs="+", default=["CBAM", "CoordAtt"], help="attention modules")
    for name, value in (("seeds", 3), ("epochs", 12), ("img", 320), ("batch", 16), ("workers", 1)):
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default {value}")
    parser.add_argument("--device", default="cpu", help="cpu or a GPU number")
    parser.add_argument("--project", type=Path, default=Path("runs/transfer"), help="folder of the runs")
    parser.add_argument("--out", type=Path, default=Path("docs/results/transfer"), help="folder of the results")
    parser.add_argument("--part", default="1/1", help="i/n: do every n-th run, from the i-th")
    args = parser.parse_args()
    args.project, args.base = args.project.resolve(), args.base.resolve()
    index, _, count = args.part.partition("/")
    if not (index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
        raise ValueError(f"--part {args.part}: expected i/n with 1 <= i <= n, e.g. 1/2")
    args.part = slice(int(index) - 1, None, int(count))
    return args


def main() -> None:
    """Do the runs that are missing, seed by seed so that a study stopped half way is balanced."""
    args = parse_args()
    chosen = arms(args.modules)
    wanted = [(arm, seed) for seed in range(args.seeds) for arm in chosen][args.part]
    missing = [job for job in wanted if len(curve(args.project / job[0].folder(job[1]))) < args.epochs]
    began = time.monotonic()
    for done, (arm, seed) in enumerate(missing):
        left = f"; {(time.monotonic() - began) / done * (len(missing) - done) / 60:.0f} min left" if done else ""
        print(f"{done + 1} of {len(missing)}: {arm.title}, seed {seed}{left}", flush=True)
        run(arm, seed, args)
        write_results(list(collect(args.project, chosen, range(args.seeds), args.epochs)), args.out)
    rows = list(collect(args.project, chosen, range(args.seeds), args.epochs))
    write_results(rows, args.out)
    print(f"Results in {args.out}")


if __name__ == "__main__":
    sys.exit(run_cli(main))
