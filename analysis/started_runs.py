"""Trainings and comparisons that are started from a page: begun, gone on with, and looked at while they run."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.compare.execute.run_folder import INTERRUPTED, TRAINED, WAITING, RunFolder, folders
from analysis.compare.plan.command_line import CompareRequest, parse_compare_args
from analysis.insertion_trial import base_spec
from data.dataset.dataset_yaml import read_dataset_spec
from engine.config.files import MARK, new_run_folder
from engine.config.parser import errors_raised
from engine.config.train_config import TrainConfig
from engine.config.train_parser import run_words
from engine.runtime.background import is_running, log_tail, start, started
from engine.training.results_csv import ResultsFile
from files.disk import require_writable
from files.find import ROOT
from files.yaml_file import read_yaml
from models.insertion.insert import insert

RUNNING, STOPPED, FINISHED, FAILED = "running", "stopped", "finished", "failed"
_LOG_LINES = 40
CURVES = ("train/box_loss", "train/obj_loss", "train/cls_loss", "metrics/mAP_0.5", "metrics/mAP_0.5:0.95")


@dataclass(frozen=True)
class TrainingView:
    """A training run as it stands.

    Attributes:
        state: One of RUNNING, STOPPED (it can be resumed), FINISHED and FAILED.
        epochs: (done, asked for); the latter 0 while it is not known.
        left: Of its time, h:mm:ss; empty if not known.
        rows: Of results.csv.
        log: Its end.
    """

    state: str
    epochs: tuple[int, int]
    left: str
    rows: list[dict[str, float]]
    log: str

    def curves(self) -> list[dict[str, Any]]:
        """The losses and mAPs by epoch, a dict a point: epoch, curve, value, and whether it is a loss."""
        return [
            {"epoch": int(row["epoch"]), "curve": name, "value": row[name], "loss": "loss" in name}
            for row in self.rows
            for name in CURVES
        ]


def start_training(values: Mapping[str, Any], project: Path, name: str) -> Path:
    """Start train.py in a new folder below `project`, and return the folder.

    What can be known at once is checked; whatever else is wrong train.py says in its log.

    Args:
        values: By the names of `TrainConfig`.
        project: Parent of the folder.
        name: Of the folder; a number is added where it is taken.

    Raises:
        ValueError: If a value, the data set's YAML, the model or its attention is wrong, or the folder takes no files.
    """
    config = TrainConfig.from_dict(values)
    read_dataset_spec(config.data)
    spec = base_spec(config.cfg, config.weights)
    if config.attention:
        insert(spec, config.attention)
    require_writable(project, "project")
    folder = new_run_folder(project, name)
    start(["train.py", *run_words(config.to_dict(), folder, resume=False)], folder)
    return folder


def resume_training(folder: Path) -> None:
    """Go on with a run that was stopped.

    Raises:
        ValueError: If it is running, or there is nothing to go on with.
    """
    if RunFolder(folder).progress != INTERRUPTED:
        raise ValueError(f"{folder}: there is nothing to resume, no unfinished weights/last.pt")
    start(["train.py", "--resume", str(RunFolder(folder).last)], folder)


def view_training(folder: Path) -> TrainingView:
    """How a run stands; also of one that was started on a command line, which is never taken for running."""
    rows = ResultsFile(folder / "results.csv").rows()
    log = log_tail(folder, _LOG_LINES)
    line = next((line.split() for line in reversed(log.splitlines()) if _is_epoch(line)), [])
    epochs = int(line[0].split("/")[1]) + 1 if line else _asked(folder)
    if is_running(folder):
        state = RUNNING
    else:
        state = {INTERRUPTED: STOPPED, TRAINED: FINISHED, WAITING: FAILED}[RunFolder(folder).progress]
    return TrainingView(state, (len(rows), epochs), line[8] if line and state == RUNNING else "", rows, log)


def _is_epoch(line: str) -> bool:
    """Whether it is an epoch's line of figures, as `engine.training.progress_bar` prints it."""
    words = line.split()
    return len(words) > 8 and words[0].count("/") == 1 and words[0].replace("/", "").isdigit()


def _asked(folder: Path) -> int:
    note = started(folder)
    words = note.words if note else ()
    if "--epochs" in words:
        return int(words[words.index("--epochs") + 1])
    options = folder / "opt.yaml"  # of a run that was started on a command line
    return int(read_yaml(options).get("epochs", 0)) if options.is_file() else 0


def compare_request(words: Sequence[str]) -> CompareRequest:
    """A command line of compare.py, after its checks.

    Raises:
        ValueError: As `compare.py` says it.
    """
    with errors_raised():
        return parse_compare_args(words)


def estimate_comparison(words: Sequence[str]) -> str:
    """What `compare.py --dry-run` prints: the runs, and how long they will take from a few timed steps.

    Raises:
        ValueError: As `compare.py` says it.
    """
    compare_request([*words, "--dry-run"])
    command = [sys.executable, "compare.py", *words, "--dry-run"]  # it takes memory and sets torch's threads
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise ValueError((done.stderr.strip().splitlines() or ["compare.py gave no reason"])[-1])
    return done.stdout


def start_comparison(words: Sequence[str]) -> Path:
    """Start compare.py, or go on with it, and return the comparison's folder.

    Raises:
        ValueError: As `compare.py` says it, or if it is running there.
    """
    folder = compare_request(words).folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()
    start(["compare.py", *words], folder)
    return folder


def resume_comparison(folder: Path) -> None:
    """Give the command again that a comparison was started with.

    Raises:
        ValueError: If it is running, or was not started by `start_comparison`.
    """
    note = started(folder)
    if note is None or note.words[0] != "compare.py":
        raise ValueError(f"{folder}: was not started here; the command that began it goes on with it")
    start(note.words, folder)


@dataclass(frozen=True)
class ComparisonView:
    """A comparison as it stands.

    Attributes:
        running: Whether it runs.
        resumable: Whether `resume_comparison` can go on with it.
        runs: From states, as `RunFolder.state`, to how many of its runs are in them.
        log: Its end.
    """

    running: bool
    resumable: bool
    runs: Mapping[str, int]
    log: str


def view_comparison(folder: Path) -> ComparisonView:
    """How a comparison stands."""
    running, note = is_running(folder), started(folder)
    resumable = not running and note is not None and note.words[0] == "compare.py"
    return ComparisonView(
        running, resumable, Counter(one.state for one in folders(folder)), log_tail(folder, _LOG_LINES)
    )
