"""What `--evolve` leaves beside its trials: evolve.csv, hyp_evolve.yaml and evolve.png."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from data.hyp import Hyperparameters
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
    """Fitness over each hyperparameter, later trials darker, the best one marked."""
    from matplotlib.figure import Figure

    done = [outcome for outcome in outcomes if outcome.fitness is not None]
    rows = math.ceil(len(searched) / COLUMNS_OF_THE_PLOT)
    figure = Figure(figsize=(3 * COLUMNS_OF_THE_PLOT, 2.6 * rows))
    figure.subplots_adjust(0.045, 0.03, 0.99, 0.97, wspace=0.25, hspace=0.3)
    fitness = np.array([outcome.fitness for outcome in done], float)
    ages = [outcome.number for outcome in done]
    for position, name in enumerate(searched, 1):
        axis = figure.add_subplot(rows, COLUMNS_OF_THE_PLOT, position)
        axis.scatter(
            [outcome.hyp.to_dict()[name] for outcome in done], fitness, c=ages, cmap="Blues", edgecolors="grey"
        )
        chosen = best.hyp.to_dict()[name]
        axis.plot(chosen, best.fitness or 0.0, "k+", markersize=15)
        axis.set_title(f"{name} = {chosen:.3g}", fontsize=9)
        axis.tick_params(labelsize=7)
    temporary = file.with_name(f".{file.name}")
    figure.savefig(temporary, dpi=100, format="png")
    temporary.replace(file)
