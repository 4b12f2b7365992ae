"""What a user sees while training: YOLOv5's line of figures, as a bar on terminals and one line an epoch elsewhere."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from tqdm import tqdm

from engine.runtime.console import clock, say

if TYPE_CHECKING:
    from data.loading.loader import Batch
    from engine.training.lightning_module import DetectionModule

HEADER = ("%11s" * 9) % (
    "Epoch", "memory", "box_loss", "obj_loss", "cls_loss", "Instances", "Size", "images/s", "run left"
)  # fmt: skip


class Progress(pl.Callback):
    """Shows epoch, memory, mean losses, instances, image size, speed and the time left for the run.

    Args:
        epochs: Length of the run.
        batches: Batches per epoch.
        terminal: A live bar instead of one line per epoch; None asks stderr.
        processes: That train together; the speed is that of all.
    """

    def __init__(self, epochs: int, batches: int, *, terminal: bool | None = None, processes: int = 1) -> None:
        self.epochs, self.batches, self.processes = epochs, batches, processes
        self.terminal = sys.stderr.isatty() if terminal is None else terminal
        self.images = self.instances = 0
        self.epoch_start = 0.0
        self.train_seconds = 0.0
        self.epoch_seconds: list[float] = []
        self.bar: tqdm[Any] | None = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: DetectionModule) -> None:
        """Open the bar."""
        self.images, self.epoch_start = 0, time.perf_counter()
        if self.terminal:
            print("\n" + HEADER, file=sys.stderr)
            self.bar = tqdm(total=self.batches, bar_format="{l_bar}{bar:10}{r_bar}", file=sys.stderr)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: DetectionModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        """Count, and refresh the bar."""
        self.images += len(batch.images) * self.processes
        self.instances = len(batch.targets)
        if self.bar is not None:
            self.bar.set_description_str(self._line(pl_module), refresh=False)
            self.bar.update()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: DetectionModule) -> None:
        """Close the bar; runs before validation."""
        self.train_seconds = time.perf_counter() - self.epoch_start
        if self.bar is not None:
            self.bar.set_description_str(self._line(pl_module))
            self.bar.close()
            self.bar = None

    def finish_epoch(self, pl_module: DetectionModule, validation: str) -> None:
        """Report the epoch after its validation.

        Args:
            pl_module: The module in training.
            validation: The validation figures as text, empty without validation.
        """
        self.epoch_seconds.append(time.perf_counter() - self.epoch_start)
        if not self.terminal and len(self.epoch_seconds) == 1:
            say(HEADER)
        text = "" if self.terminal else self._line(pl_module)
        took = f"{self.epoch_seconds[-1]:.1f} s"
        say("  ".join(part for part in (text, validation, took) if part))

    def on_exception(self, trainer: pl.Trainer, pl_module: DetectionModule, exception: BaseException) -> None:
        """Leave the cursor on a line of its own."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def _line(self, module: DetectionModule) -> str:
        seconds = max(self.train_seconds if self.bar is None else time.perf_counter() - self.epoch_start, 1e-9)
        box, obj, cls = module.mean_losses()
        epoch = f"{module.current_epoch}/{self.epochs - 1}"
        return ("%11s" * 2 + "%11.4g" * 3 + "%11d" * 2 + "%11.1f" + "%11s") % (
            *(epoch, memory_text(module.device), box, obj, cls),
            *(self.instances, module.network_px, self.images / seconds, self._time_left(module.current_epoch)),
        )

    def _time_left(self, epoch: int) -> str:
        """Of the run: from the mean of the finished epochs, or from this one's speed so far."""
        spent = time.perf_counter() - self.epoch_start
        if self.epoch_seconds:
            mean = sum(self.epoch_seconds) / len(self.epoch_seconds)
        else:
            mean = spent * self.batches / max(self.bar.n if self.bar is not None else self.batches, 1)
        return clock((self.epochs - epoch) * mean - spent)


def memory_text(device: torch.device) -> str:
    """Memory in use: reserved by torch on a GPU, of this process elsewhere; `-` where it is not known."""
    if device.type == "cuda":
        return f"{torch.cuda.memory_reserved(device) / 1e9:.3g}G"
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return "-"
    return f"{pages * 4096 / 1e9:.3g}G"
