"""The folder of a run: made for it alone, and what is written into it before the first epoch."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml

from engine.config.files import new_run_folder
from engine.config.train_config import TrainConfig
from engine.runtime.folder_lock import trained_in
from engine.training.run_record import Run
from engine.training.training_plots import plot_correlogram, plot_labels
from files.disk import require_space
from models.insertion.insert import layer_list

if TYPE_CHECKING:
    from models.weights.transfer_report import TransferReport
    from models.yolo import DetectionModel

CHECKPOINT_COPIES = 3  # of the weights: their average, they themselves and the optimiser's momentum


def new_folder(config: TrainConfig, alone: ExitStack) -> Path:
    """The folder of a new run, which no other training takes until `alone` ends."""
    folder = new_run_folder(config.project, config.name, exist_ok=config.exist_ok)
    alone.enter_context(trained_in(folder))
    for file in (folder / "results.csv", *folder.glob("events.out.tfevents.*")):  # of the run that --exist-ok replaces
        file.unlink(missing_ok=True)
    return folder


def open_folder(run: Run, model: DetectionModel, report: TransferReport | None, *, new: bool) -> None:
    """Make sure that a checkpoint will fit, and write what is known before the first epoch."""
    needed_bytes = CHECKPOINT_COPIES * sum(parameter.nbytes for parameter in model.parameters())
    require_space(run.folder, needed_bytes, "a checkpoint")
    _write_options(run)
    if new:
        _describe_run(run, model)
    if report is not None:
        report.save(run.folder / "transfer.csv")


def _write_options(run: Run) -> None:
    """Write opt.yaml and hyp.yaml."""
    options = {**run.config.to_dict(), "save_dir": str(run.folder)}
    for name, values in (("opt", options), ("hyp", run.hyp.to_dict())):
        text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        (run.folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def _describe_run(run: Run, model: DetectionModel) -> None:
    """Write what the run is made of: model.yaml and, with pictures, labels.jpg."""
    (run.folder / "model.yaml").write_text(layer_list(model.spec), encoding="utf-8")
    labels = run.train.dataset.labels
    if not run.config.noplots and sum(map(len, labels)):
        plot_labels(np.concatenate(labels), run.names, run.folder / "labels.jpg")
        plot_correlogram(np.concatenate(labels), run.folder / "labels_correlogram.jpg")
