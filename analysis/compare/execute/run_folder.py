"""One run of a comparison: its folder, what state it is in, and the child processes that train and measure it.

A run is `train.py` in a process of its own, so that a crash ends one run and not the comparison. Its folder holds what
any training run leaves, and beside it:

    run.json        what was planned
    sessions.json   seconds of each time it was trained
    measured.json   the figures of its best weights; with it the run is finished
    images.npz      what it made of every image of the measured split
    error.json      why it failed, until it succeeds
    log.txt         what training and measuring printed
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.compare.plan.data_fingerprint import data_digest
from analysis.compare.plan.expand_plan import RunPlan
from data.dataset.dataset_yaml import load_dataset_spec
from engine.config.files import MARK
from engine.config.parser import module_words
from engine.config.train_parser import run_words
from engine.runtime.child_process import last_words, log_lines
from files.atomic import write_atomically
from models.user_modules import load_modules
from models.weights.checkpoint import read_checkpoint

WAITING, INTERRUPTED, TRAINED, FINISHED, FAILED = "waiting", "interrupted", "trained", "finished", "failed"
_LOG_TAIL = 2000  # characters of a failed run's log that its error keeps at most
Launch = Callable[[list[str], Path], int]


@dataclass(frozen=True)
class RunFolder:
    """A run's folder below `<comparison>/runs`."""

    path: Path

    @property
    def plan(self) -> RunPlan:
        """What was planned."""
        return RunPlan.from_dict(self.read("run"), str(self.path / "run.json"))

    @property
    def last(self) -> Path:
        """The weights after the last epoch so far."""
        return self.path / "weights" / "last.pt"

    @property
    def best(self) -> Path:
        """The weights of the best epoch, those of the last one where no epoch was validated."""
        best = self.path / "weights" / "best.pt"
        return best if best.is_file() else self.last

    @property
    def state(self) -> str:
        """How far the run is."""
        if (self.path / "measured.json").is_file():
            return FINISHED
        if (self.path / "error.json").is_file():
            return FAILED
        return self.progress

    @property
    def progress(self) -> str:
        """How far training is, whether it failed or not; weights that cannot be read count as none."""
        if not self.last.is_file():
            return WAITING
        try:
            training = read_checkpoint(self.last).training
        except ValueError:
            return WAITING
        return INTERRUPTED if "optimizer" in training else TRAINED

    @property
    def seconds(self) -> float | None:
        """What training took, all sessions together, start-up included; None if it was not written down."""
        sessions = self.read("sessions", [])
        return float(sum(sessions)) if sessions else None

    def read(self, name: str, missing: Any = None) -> Any:  # noqa: ANN401  (JSON)
        """The content of `<name>.json`, `missing` where there is none.

        Raises:
            ValueError: If it is not JSON.
        """
        file = self.path / f"{name}.json"
        if not file.is_file():
            return missing
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{file}: is not JSON: {error}; remove the folder to have the run done again") from error

    def write(self, name: str, values: Any) -> None:  # noqa: ANN401  (JSON)
        """Write `<name>.json`, whole or not at all."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / MARK).touch()  # train.py may write here too
        write_atomically(self.path / f"{name}.json", json.dumps(values, indent=1, ensure_ascii=False))


def folders(comparison: Path) -> list[RunFolder]:
    """The runs of a comparison's folder, those of it that are described."""
    return [RunFolder(file.parent) for file in sorted((comparison / "runs").glob("*/run.json"))]


def execute(folder: RunFolder, launch: Launch) -> str:
    """Bring a run to its end from wherever it is; its state afterwards.

    Args:
        folder: With its `run.json`.
        launch: Runs a command, its output appended to a file, and returns the exit status.
    """
    plan = folder.plan
    load_modules(plan.train.get("module", []))  # to read its weights
    (folder.path / "error.json").unlink(missing_ok=True)
    log = folder.path / "log.txt"
    if reason := _changed_data(plan):
        return _fail(folder, "reading the data", 1, reason)
    progress = folder.progress
    if progress != TRAINED:
        began = time.perf_counter()
        words = ["train.py", *run_words(plan.train, folder.path, resume=progress == INTERRUPTED)]
        try:
            status = launch([sys.executable, *words], log)
        finally:
            if folder.last.is_file():  # without, it starts afresh, and so does its time
                folder.write("sessions", [*folder.read("sessions", []), time.perf_counter() - began])
        if status:
            return _fail(folder, "training", status)
    if (batch := _batch_size(folder)) not in (None, plan.train["batch_size"]):
        wanted = plan.train["batch_size"]
        reason = f"--batch {wanted} did not fit into memory, so it was trained with {batch}, which the others were not"
        return _fail(folder, "training", 1, f"{reason}; choose a --batch that fits every model, and another --name")
    if reason := _changed_data(plan):
        return _fail(folder, "reading the data", 1, reason)
    status = launch([sys.executable, "-m", "analysis.compare.execute.measure", str(folder.path), *_module(plan)], log)
    if status or not (folder.path / "measured.json").is_file():
        return _fail(folder, "measuring", status)
    return FINISHED


def _module(plan: RunPlan) -> list[str]:
    return module_words(plan.train.get("module", []))


def _changed_data(plan: RunPlan) -> str:
    """Why the data is not what the run was planned for, empty if it is or if that is not known."""
    try:
        now = data_digest(load_dataset_spec(plan.train["data"]), plan.task) if plan.data_digest else ""
    except ValueError as error:
        return str(error)
    what = "images or labels have changed since the run was planned; run the same command again"
    return "" if now == plan.data_digest else f"{plan.train['data']}: {what}"


def _batch_size(folder: RunFolder) -> int | None:
    """With how many images a batch it was trained: train.py takes half of them where memory runs out."""
    return read_checkpoint(folder.last).training.get("config", {}).get("batch_size")


def _fail(folder: RunFolder, stage: str, status: int, reason: str = "") -> str:
    """Record why a run failed: `reason`, or the last thing it said."""
    log = folder.path / "log.txt"
    reason = reason or last_words(log)
    tail = "\n".join(log_lines(log))[-_LOG_TAIL:]
    folder.write("error", {"stage": stage, "status": status, "error": reason, "log": tail})
    return FAILED
