"""One training step: the LightningModule around a detection model.

Optimisation is manual because YOLOv5's warm-up changes, from step to step, how many batches make one optimiser step.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple, cast

import lightning.pytorch as pl
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.runtime.distributed import ALONE, Processes
from engine.training.forward_and_loss import batch_losses, scale_images
from engine.training.loss_and_memory_recovery import GoodState
from engine.training.optimizer_and_schedule import MAX_GRADIENT_NORM, Schedule, apply_settings
from engine.training.weight_average import ModelEMA

if TYPE_CHECKING:
    from lightning.pytorch.core.optimizer import LightningOptimizer
    from lightning.pytorch.strategies.parallel import ParallelStrategy

    from data.loading.loader import Batch
    from engine.runtime.device import Precision
    from engine.training.compiled_forward import CompiledForward
    from models.loss import DetectionLoss, LossParts
    from models.yolo import DetectionModel


class StepLosses(NamedTuple):
    """Losses of one batch on the host."""

    box: float
    obj: float
    cls: float
    paths: Sequence[str]


class LossTrail:
    """Brings each batch's losses, the mean over the processes, to the host one batch late: no step waits for them."""

    def __init__(self, processes: Processes = ALONE) -> None:
        self.processes = processes
        self._waiting: tuple[Tensor, torch.cuda.Event | None, Sequence[str]] | None = None

    def push(self, parts: LossParts, paths: Sequence[str]) -> StepLosses | None:
        """Hand in a batch's losses; returns those of the batch before."""
        before = self.flush()
        values, event = torch.stack((parts.box, parts.obj, parts.cls)), None
        self.processes.average_([values])
        if values.is_cuda:
            values = values.to("cpu", non_blocking=True)
            event = torch.cuda.Event()
            event.record()
        self._waiting = (values, event, paths)
        return before

    def flush(self) -> StepLosses | None:
        """The losses still on their way, if any."""
        if self._waiting is None:
            return None
        (values, event, paths), self._waiting = self._waiting, None
        if event is not None:
            event.synchronize()
        box, obj, cls = values.tolist()
        return StepLosses(box, obj, cls, paths)


class DetectionModule(pl.LightningModule):
    """Trains `model` and keeps its moving average.

    Args:
        model: On its device and in its memory format already, since `ema` holds a copy of it.
        loss: From raw maps and targets to `LossParts`.
        ema: The average of `model`; updated after every optimiser step.
        optimizer: Over the model's three parameter groups.
        schedule: Settings of every step.
        precision: The network's arithmetic.
        image_px: Training image size.
        multi_scale: Vary the image size from batch to batch.
        quad: The images of a batch come by four (`data.loading.quad`).
        seed: Of everything random; an epoch depends on the seed and its number only.
        fp32_steps: How many batches from the run's begin are computed in fp32, whatever `precision` says.
        processes: Those that train together; `schedule` counts the batches of all.
        compiled: `model`'s forward pass for --compile; left out for the `fp32_steps`.
    """

    def __init__(
        self,
        model: DetectionModel,
        loss: DetectionLoss,
        ema: ModelEMA,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        *,
        precision: Precision,
        image_px: int,
        multi_scale: bool = False,
        quad: bool = False,
        seed: int = 0,
        fp32_steps: int = 0,
        processes: Processes = ALONE,
        compiled: CompiledForward | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model, self.loss, self.ema = model, loss, ema
        self.optimizer, self.schedule, self.precision = optimizer, schedule, precision
        self.image_px, self.multi_scale, self.quad, self.seed = image_px, multi_scale, quad, seed
        self.fp32_steps, self.processes, self.compiled = fp32_steps, processes, compiled
        self._joint_loss = {"mean_of_processes": processes.mean} if processes.world > 1 else {}
        self._parameter_list = list(model.parameters())  # walking the modules takes longer than the clipping
        self.last_update_step = -1  # the batch after which the optimiser last stepped, counted from the run's begin
        self.trail = LossTrail(processes)
        self.good_state = GoodState(model, optimizer, ema)
        self.loss_sums = np.zeros(3)
        self.loss_count = 0
        self.network_px = image_px  # longer side of the last batch

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser; its schedule is written step by step."""
        return self.optimizer

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move the images only: targets are matched where they are, on the CPU."""
        return batch._replace(images=batch.images.to(device, non_blocking=True))

    def on_train_epoch_start(self) -> None:
        """Begin an epoch: random state from its number, no gradient left over from the last one."""
        seed_epoch(self.seed, self.current_epoch, self.processes.rank)
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        self.good_state.begin_epoch()
        self.loss_sums, self.loss_count = np.zeros(3), 0

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Forward, backward and, if it is time, an optimiser step."""
        step = self.current_epoch * self.schedule.batches + batch_idx
        settings = self.schedule.at(step, self.current_epoch)
        apply_settings(self.optimizer, settings)
        images = self._network_input(batch.images, batch_idx)
        in_fp32 = step < self.fp32_steps
        network = self.model if in_fp32 or self.compiled is None else self.compiled
        arithmetic = torch.autocast(images.device.type, enabled=False) if in_fp32 else nullcontext()
        images = images.float() if in_fp32 else images
        parts = batch_losses(network, self.loss, images, batch.targets, arithmetic, **self._joint_loss)
        if not self._count(self.trail.push(parts, batch.paths), batch_idx - 1):
            self.trail.flush()  # of this batch, computed with the weights that are given up
            self.last_update_step = step
            return
        self.good_state.offer(batch_idx)
        is_update = step - self.last_update_step >= settings.accumulate
        self._backward(parts.total * (4 if self.quad else 1), is_update)  # its images are a quarter as many
        if is_update:
            cast("LightningOptimizer", self.optimizers()).step()  # the only one
            self.optimizer.zero_grad(set_to_none=True)
            self.ema.update()
            self.last_update_step = step

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Limit the gradient's norm; it is unscaled here in fp16 too."""
        torch.nn.utils.clip_grad_norm_(self._parameter_list, MAX_GRADIENT_NORM, foreach=True)

    def settle_losses(self, batches: int) -> None:
        """Take in the losses that are still on their way; call before the epoch's mean and weights are read.

        Args:
            batches: Batches of the epoch.

        Raises:
            ValueError: If the weights are not numbers and going back did not help.
        """
        losses = self.trail.flush()
        if self._count(losses, batches - 1) and not self.good_state.is_sound():
            self.good_state.restore(
                "A weight", f"epoch {self.current_epoch}, last batch", losses.paths if losses else ()
            )

    def mean_losses(self) -> tuple[float, float, float]:
        """Box, objectness and class loss, mean over the epoch's batches so far."""
        box, obj, cls = self.loss_sums / max(self.loss_count, 1)
        return float(box), float(obj), float(cls)

    def _backward(self, total: Tensor, is_update: bool) -> None:
        """Add to the gradients; several processes exchange theirs when the optimiser is about to step.

        What is exchanged is the mean over the processes, and `total` of the whole batch is the sum.
        """
        world = self.processes.world
        if world == 1:
            self.manual_backward(total)
            return
        strategy = cast("ParallelStrategy", self.trainer.strategy)
        with nullcontext() if is_update else strategy.block_backward_sync():
            self.manual_backward(total * world)

    def _count(self, losses: StepLosses | None, batch_idx: int) -> bool:
        """Add the losses of a batch to the epoch's; False if they are not numbers and the good state is back."""
        if losses is None:
            return True
        values = np.array(losses[:3])
        if np.isfinite(values).all():
            self.good_state.confirm()
            self.loss_sums += values
            self.loss_count += 1
            return True
        box, obj, cls = values
        what = f"The loss (box {box:g}, obj {obj:g}, cls {cls:g})"
        self.good_state.restore(what, f"epoch {self.current_epoch}, batch {batch_idx}", losses.paths)
        return False

    def _network_input(self, images: Tensor, batch_idx: int) -> Tensor:
        """Uint8 images -> 0..1 in the compute type and layout."""
        if not self.multi_scale:
            self.network_px = max(images.shape[2:])
            return scale_images(images, self.precision)
        rng = np.random.default_rng((self.seed, self.current_epoch, batch_idx))
        stride_px = max(int(self.model.stride.max()), 32)
        low, high = self.image_px // 2, int(self.image_px * 1.5) + stride_px
        wanted_px = int(rng.integers(low, high)) // stride_px * stride_px
        factor = wanted_px / max(images.shape[2:])
        size = [max(math.ceil(side * factor / stride_px), 1) * stride_px for side in images.shape[2:]]
        self.network_px = max(size)
        pixels = images.float()
        if size != list(images.shape[2:]):
            pixels = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
        return scale_images(pixels, self.precision)


def seed_epoch(seed: int, epoch: int, rank: int = 0) -> None:
    """Begin an epoch with random states that depend on the seed, the epoch and the process alone."""
    state = int(np.random.SeedSequence((seed, epoch, rank) if rank else (seed, epoch)).generate_state(1)[0])
    random.seed(state)
    np.random.seed(state)
    torch.manual_seed(state)
