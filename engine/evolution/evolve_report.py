"""What `--evolve` leaves beside its trials: evolve.csv, hyp_evolve.yaml and evolve.png."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from data.hyp import Hyperparameters
from engine.drawing.figure_style import COUNTS, PALETTE
from engine.training.results_csv import COLUMNS
from files.atomic import write_atomically

METRICS = tuple(name for name in COLUMNS if name.startswith(("metrics/", "val/")))
COLUMNS_OF_THE_PLOT = 6


@dataclass(frozen=True)
class Outcome:
    """A trial that has ended.

    Attributes:
        number: From 0, the hyperparameters that were given.
        hyp: What it was trained with.
        fitness: Of its best epoch; None where it failed.
        figures: Of that epoch, by the names of results.csv.
        error: Why it failed.
    """

    number: int
    hyp: Hyperparameters
    fitness: float | None
    figures: dict[str, float]
    error: str = ""


def best_of(outcomes: Sequence[Outcome]) -> Outcome | None:
    """The trial of the highest fitness, the earlier one of equals; None where all have failed."""
    done = [outcome for outcome in outcomes if outcome.fitness is not None]
    return max(done, key=lambda outcome: (outcome.fitness, -outcome.number), default=None)


def write_report(outcomes: Sequence[Outcome], searched: Sequence[str], folder: Path) -> None:
    """Write the three files anew, each at once, so that another worker never reads half of one.

    Args:
        outcomes: In order of their numbers.
        searched: Names of the hyperparameters that differ from trial to trial.
        folder: Where to.
    """
    names = ("trial", "fitness", *METRICS, *searched)
    lines = [",".join(f"{name:>20}" for name in names)]
    for outcome in outcomes:
        values = outcome.hyp.to_dict()
        row = [outcome.figures.get(name, math.nan) for name in METRICS] + [values[name] for name in searched]
        fitness = math.nan if outcome.fitness is None else outcome.fitness
        lines.append(",".join([f"{outcome.number:20d}", *(f"{value:20.5g}" for value in (fitness, *row))]))
    write_atomically(folder / "evolve.csv", "\n".join(lines) + "\n")
    best = best_of(outcomes)
    if best is None:
        return
    head = f"# The best of {len(outcomes)} trials: trial {best.number}, fitness {best.fitness:.5g}\n"
    head += "".join(f"# {name} {best.figures[name]:.5g}\n" for name in METRICS if name in best.figures)
    text = yaml.safe_dump(best.hyp.to_dict(), sort_keys=False)
    write_atomically(folder / "hyp_evolve.yaml", head + text)
    _plot(outcomes, searched, best, folder / "evolve.png")


def _plot(outcomes: Sequence[Outcome], searched: Sequence[str], best: Outcome, file: Path) -> None:
    """Fitness over each hyperparameter, later trials brighter, the best one marked."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    done = [outcome for outcome in outcomes if outcome.fitness is not None]
    columns = min(max(len(searched), 2), COLUMNS_OF_THE_PLOT)  # the title needs the width of two
    rows = math.ceil(len(searched) / columns)
    figure = Figure(figsize=(3 * columns, 2.8 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    fitness = np.array([outcome.fitness for outcome in done], float)
    ages = [outcome.number for outcome in done]
    points = best_point = None
    for axis, name in itertools.zip_longest(axes.ravel(), searched):
        if name is None:
            axis.set_axis_off()
            continue
        values = [outcome.hyp.to_dict()[name] for outcome in done]
        chosen = best.hyp.to_dict()[name]
        points = axis.scatter(values, fitness, c=ages, cmap=COUNTS, edgecolors="grey", label="a trial")
        (best_point,) = axis.plot(
            chosen, best.fitness or 0.0, "+", color=PALETTE[3], markersize=16, markeredgewidth=2, label="the best"
        )
        axis.xaxis.set_major_locator(MaxNLocator(3))  # more run into each other
        axis.set_title(f"{name} = {chosen:.3g} in the best", fontsize=9)
        axis.set_xlabel(name, fontsize=8)
        axis.set_ylabel("fitness", fontsize=8)
        axis.tick_params(labelsize=7)
    if points is not None and best_point is not None:
        figure.colorbar(points, ax=axes, label="trial", fraction=0.02)
        figure.legend(handles=[points, best_point], loc="outside upper right", ncols=2)
    figure.suptitle("Fitness (0.1 mAP@0.5 + 0.9 mAP@0.5:0.95) of each trial")
    temporary = file.with_name(f".{file.name}")
    figure.savefig(temporary, dpi=90, format="png")
    temporary.replace(file)
