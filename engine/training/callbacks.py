"""What happens around the training steps: validation, results, weights, pictures. Each callback does one thing."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping

from engine.runtime.console import say
from engine.runtime.distributed import Processes, rebuild_gradient_exchange, running_statistics
from engine.training.best_epoch import Best
from engine.training.class_balance import average_precisions
from engine.training.optimizer_and_schedule import BIAS, DECAYED, NORM
from engine.training.progress_bar import Progress
from engine.training.results_csv import ResultsFile
from engine.training.training_plots import plot_train_batch
from models.freeze import freeze
from models.weights.checkpoint import save_model

if TYPE_CHECKING:
    from data.loading.loader import Batch
    from data.loading.samples import DetectionDataset
    from engine.training.lightning_module import DetectionModule
    from engine.validation.result_table import EvalResult
    from models.yolo import DetectionModel

FITNESS = "fitness"
TRAIN_PICTURES = 3
NAMED_IMAGES = 10

Validate = Callable[["DetectionModel"], "EvalResult"]


class KeepSignals(pl.Callback):
    """Leaves SIGTERM to us: where several processes train, Lightning answers it with a broadcast that may never end."""

    def setup(self, trainer: pl.Trainer, pl_module: DetectionModule, stage: str) -> None:
        """Remember who hears it, before Lightning does."""
        self.handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: pl.Trainer, pl_module: DetectionModule) -> None:
        """Put it back, as Lightning itself does in the end."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.handler)


class JoinStatistics(pl.Callback):
    """Gives all processes the same running statistics at an epoch's end: the mean over them, in model and average."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: DetectionModule) -> None:
        """Join them before the average is validated and saved."""
        for model in (pl_module.model, pl_module.ema.model):
            self.processes.average_(running_statistics(model))


class ValidateEpoch(pl.Callback):
    """Measures the averaged weights after every epoch and writes the row of results.csv.

    Args:
        validate: Measures a model.
        results: The file.
        best: Told about each epoch.
        progress: Shows the figures.
        epochs: Length of the run.
        only_last: Validate after the last epoch only.
    """

    def __init__(
        self, validate: Validate, results: ResultsFile, best: Best, progress: Progress, *, epochs: int, only_last: bool
    ) -> None:
        self.validate, self.results, self.best, self.progress = validate, results, best, progress
        self.epochs, self.only_last = epochs, only_last

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: DetectionModule) -> None:
        """Validate, then record."""
        # Lightning calls callbacks before the module: the last batch's losses are still on their way.
        pl_module.settle_losses(int(trainer.num_training_batches))
        epoch = pl_module.current_epoch
        columns = ("train/box_loss", "train/obj_loss", "train/cls_loss")
        values: dict[str, float] = dict(zip(columns, pl_module.mean_losses(), strict=True))
        text = ""
        if not self.only_last or epoch == self.epochs - 1:
            result = self.validate(pl_module.ema.model)
            values |= _metric_columns(result)
            text = _metric_text(result)
            self.best.take(epoch, result.fitness)
            self.best.class_ap = average_precisions(result)
            pl_module.log(FITNESS, result.fitness, logger=False)
        for column, position in (("x/lr0", BIAS), ("x/lr1", DECAYED), ("x/lr2", NORM)):
            values[column] = pl_module.optimizer.param_groups[position]["lr"]
        if trainer.is_global_zero:
            self.results.append(epoch, values)
        self.progress.finish_epoch(pl_module, text)


def _metric_text(result: EvalResult) -> str:
    figures = (result.precision, result.recall, result.map50, result.map50_95)
    return "  ".join(
        f"{name} {value:.4f}" for name, value in zip(("P", "R", "mAP50", "mAP50-95"), figures, strict=True)
    )


def _metric_columns(result: EvalResult) -> dict[str, float]:
    box, obj, cls = result.loss or (math.nan,) * 3
    return {
        "metrics/precision": result.precision,
        "metrics/recall": result.recall,
        "metrics/mAP_0.5": result.map50,
        "metrics/mAP_0.5:0.95": result.map50_95,
        "val/box_loss": box,
        "val/obj_loss": obj,
        "val/cls_loss": cls,
    }


class SaveWeights(Checkpoint):
    """Writes `last.pt` after every epoch, `best.pt` when an epoch is the best, and `epoch<n>.pt` if asked for.

    A checkpoint's model is the average; beside it lies everything a resumed run needs. Being a `Checkpoint`, it runs
    after all other callbacks of the epoch's end.

    Args:
        folder: The run's `weights` folder.
        best: The best epoch so far.
        settings: Plain data that goes into every file: the run's configuration and hyperparameters.
        epochs: Length of the run.
        only_last: Save after the last epoch only.
        period: Also keep every so many epochs; below 1 never.
        stopping: Early stopping, whose count is stored.
    """

    def __init__(
        self,
        folder: Path,
        best: Best,
        settings: Mapping[str, Any],
        *,
        epochs: int,
        only_last: bool = False,
        period: int = -1,
        stopping: EarlyStopping | None = None,
    ) -> None:
        self.folder, self.best, self.settings = folder, best, dict(settings)
        self.epochs, self.only_last, self.period, self.stopping = epochs, only_last, period, stopping

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: DetectionModule) -> None:
        """Save."""
        epoch = pl_module.current_epoch
        if not trainer.is_global_zero:
            return
        if self.only_last and epoch < self.epochs - 1 and not trainer.should_stop:
            return
        state = self.training_state(trainer, pl_module)
        names = []
        if self.best.epoch == epoch:
            names.append("best.pt")
        if self.period > 0 and epoch % self.period == 0:
            names.append(f"epoch{epoch}.pt")
        # last.pt comes last: a run that is killed in between does the epoch again, and writes the others again.
        for name in [*names, "last.pt"]:
            save_model(pl_module.ema.model, self.folder / name, training=state)

    def training_state(self, trainer: pl.Trainer, pl_module: DetectionModule) -> dict[str, Any]:
        """Tensors and plain data. Random states are not among them: an epoch begins from its seed and number."""
        return {
            **self.settings,
            "epoch": pl_module.current_epoch,
            "model": {name: value.detach().cpu() for name, value in pl_module.model.state_dict().items()},
            "optimizer": pl_module.optimizer.state_dict(),
            "ema_updates": pl_module.ema.updates,
            "last_update_step": pl_module.last_update_step,
            "best_fitness": self.best.fitness,
            "best_epoch": self.best.epoch,
            "class_ap": list(self.best.class_ap),
            "early_stopping": self.stopping.state_dict() if self.stopping else {},
            "scaler": trainer.precision_plugin.state_dict(),
        }


class Thaw(pl.Callback):
    """Ends a warm start: from epoch `after` on all is trained but what `wanted`, the words of --freeze, names.

    The schedule goes on as it is. Optimiser state begins for a tensor with its first step, so a run that is resumed
    before the thaw goes on like one that was not interrupted.
    """

    def __init__(self, after: int, wanted: Sequence[str]) -> None:
        self.after, self.wanted = after, wanted

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: DetectionModule) -> None:
        """Thaw when the epoch has come; the module, which goes into training mode afterwards, wakes the norms."""
        if pl_module.current_epoch == self.after:
            say(f"Thawed before epoch {self.after}; {freeze(pl_module.model, self.wanted)}")
            rebuild_gradient_exchange(trainer)


class DrawTrainBatches(pl.Callback):
    """Draws the first batches of the run as train_batch0.jpg, train_batch1.jpg and so on."""

    def __init__(self, folder: Path, names: Mapping[int, str]) -> None:
        self.folder, self.names = folder, names

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: DetectionModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        """Draw the batch if it is among the first."""
        if pl_module.current_epoch == 0 and batch_idx < TRAIN_PICTURES:
            plot_train_batch(batch, self.names, self.folder / f"train_batch{batch_idx}.jpg")


class CountUnreadable(pl.Callback):
    """Says after an epoch which training images it could not read; others stood in for them."""

    def __init__(self, dataset: DetectionDataset) -> None:
        self.dataset, self.known = dataset, 0

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: DetectionModule) -> None:
        """Say so if there are more than after the epoch before."""
        unreadable = self.dataset.unreadable
        if len(unreadable) > self.known:
            self.known = len(unreadable)
            names = ", ".join(unreadable[:NAMED_IMAGES]) + (", …" if self.known > NAMED_IMAGES else "")
            say(f"{self.known} of {len(self.dataset)} training images could not be read and were left out: {names}")


def early_stopping(patience: int) -> EarlyStopping | None:
    """Stop after so many epochs without a better fitness; None for patience 0."""
    if patience == 0:
        return None
    return EarlyStopping(FITNESS, patience=patience, mode="max", strict=False, check_on_train_epoch_end=True)
