"""The figures of all runs of a comparison, as rows and as `results.csv`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.compare.execute.run_folder import FINISHED, RunFolder, folders
from analysis.compare.judge.latency import known
from analysis.compare.plan.expand_plan import RunPlan
from engine.validation.error_types import COSTS
from engine.validation.prediction_files import COCO_FIGURES
from files.text import write_rows

_LATENCY = {"latency_ms": "ms", "latency_low_ms": "low", "latency_high_ms": "high"}  # median and quartiles
ERROR_FIGURES = {f"dAP_{name}": name for name in COSTS}
_SETTINGS = ("epochs", "batch_size", "optimizer", "precision", "device")


@dataclass(frozen=True)
class Row:
    """One run.

    Attributes:
        folder: Where it is.
        plan: What was planned.
        state: How far it is.
        figures: `P`, `R`, `mAP50`, `mAP50-95`, COCO's twelve, what the kinds of mistakes cost, `parameters`, `MACs`,
            `training_seconds`, `latency_ms` with its quartiles; None where unknown, empty unless finished.
        error: Why it failed, empty otherwise.
    """

    folder: RunFolder
    plan: RunPlan
    state: str
    figures: Mapping[str, float | None]
    error: str


def collect(comparison: Path) -> list[Row]:
    """Every run of a comparison's folder.

    Raises:
        ValueError: If a file of a run is damaged.
    """
    latency = known(comparison)
    return [_row(folder, latency) for folder in folders(comparison)]


def _row(folder: RunFolder, latency: Mapping[str, Any]) -> Row:
    plan, state = folder.plan, folder.state
    figures: dict[str, float | None] = {}
    if state == FINISHED:
        figures = {
            **_measured(folder),
            "training_seconds": folder.seconds,
            **{name: latency.get(plan.config, {}).get(key) for name, key in _LATENCY.items()},
        }
    error = (folder.read("error") or {}).get("error", "")
    return Row(folder, plan, state, figures, error)


def _measured(folder: RunFolder) -> dict[str, float | None]:
    measured = folder.read("measured")
    try:
        return {
            "P": measured["precision"],
            "R": measured["recall"],
            "mAP50": measured["map50"],
            "mAP50-95": measured["map50_95"],
            # COCO writes -1 where there is nothing to measure.
            **{name: value if value >= 0 else None for name, value in measured["coco"].items()},
            # Runs from before the mistakes were told apart have none of these.
            **{name: measured.get("errors", {}).get("dap", {}).get(kind) for name, kind in ERROR_FIGURES.items()},
            "parameters": measured["parameters"],
            "MACs": measured["macs"],
        }
    except KeyError as error:
        file = folder.path / "measured.json"
        raise ValueError(f"{file}: has no {error}; remove it to have the run measured again") from error


FIGURES = (
    *("P", "R", "mAP50", "mAP50-95"),
    *COCO_FIGURES,
    *ERROR_FIGURES,
    *("parameters", "MACs", "training_seconds", *_LATENCY),
)


def write_csv(rows: Sequence[Row], file: Path) -> None:
    """One row a run; figures that are not known are left empty."""
    names = ("run", "attention", "options", "at", "start", "seed", "cfg", "weights", "data", "imgsz", *_SETTINGS)
    with file.open("w", newline="", encoding="utf-8") as stream:
        write_rows(stream, [[*names, *FIGURES, "status", "error", "key", "config", "group", "data_digest"]])
        for row in rows:
            plan = row.plan
            write_rows(stream, [[
                *(row.folder.path.name, plan.module, plan.options, plan.at, plan.start, plan.seed, plan.cfg),
                *(Path(plan.train["weights"]).name, plan.data, plan.train["imgsz"]),
                *(plan.train[name] for name in _SETTINGS),
                *(_text(row.figures.get(name)) for name in FIGURES),
                *(row.state, row.error, plan.key, plan.config, plan.group, plan.data_digest),
            ]])  # fmt: skip


def _text(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.6g}"
