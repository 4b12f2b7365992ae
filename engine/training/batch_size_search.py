"""`--batch-size -1`: the batch size, from training steps that are measured on the device itself.

On a GPU, as YOLOv5's autobatch, by memory: steps of a few sizes, a line through their peaks, and the size at which the
line reaches 80 % of what is free. On a CPU memory is rarely the limit: there it is the size of the most images a second
among those that fit. Lightning's tuner raises the batch until memory runs out, which on a CPU ends the process instead
of raising an error; the ultralytics package measures GPUs only, and its own models.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import psutil
import torch

from engine.runtime.console import say
from engine.runtime.device import seconds_when_done
from engine.training.forward_and_loss import batch_losses, scale_images
from models.loss import DetectionLoss

if TYPE_CHECKING:
    from data.hyp import Hyperparameters
    from engine.runtime.device import Precision
    from models.yolo import DetectionModel

GPU_SIZES = (2, 4, 8, 16)
GPU_SHARE = 0.8  # of the free memory, YOLOv5's
CPU_SIZES = (8, 16, 32, 64)  # 64 is the nominal batch: beyond it the schedule changes
CPU_SHARE = 0.5  # of the free memory; the loaders and the validation need some too
EQUAL = 0.95  # of the fastest: sizes within this are as fast, the timing is no more exact
STEP_LIMIT_S = 15.0  # a size whose step would take longer is not tried
BOXES = 8  # labels per image of the measured batches


@dataclass(frozen=True)
class Trial:
    """A measured size: seconds of a step, and bytes in use at its peak (on a CPU, when the forward pass has ended)."""

    batch: int
    seconds: float
    bytes: int

    @property
    def speed(self) -> float:
        """Images a second."""
        return self.batch / self.seconds


class Meter:
    """Takes training steps with a copy of a model, on noise.

    Args:
        model: Of the run, on any device.
        hyp: Of the run.
        device: Of the run.
        precision: Of the run.
        image_px: Largest side that the run trains with.
    """

    def __init__(
        self, model: DetectionModel, hyp: Hyperparameters, device: torch.device, precision: Precision, image_px: int
    ) -> None:
        self.model = deepcopy(model).to(device).to(memory_format=precision.memory_format).train()
        self.loss = DetectionLoss(model.detect, hyp, image_px=image_px)
        self.device, self.precision, self.image_px = device, precision, image_px

    def __call__(self, batch: int, repetitions: int = 2) -> Trial:
        """Measure a size: the fastest of some steps.

        Raises:
            torch.OutOfMemoryError: If it does not fit on a GPU.
        """
        rng = torch.Generator().manual_seed(0)
        shape = (batch, self.model.spec.channels, self.image_px, self.image_px)
        images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=rng)
        targets = torch.rand(batch * BOXES, 6, generator=rng) * 0.5 + 0.2
        targets[:, 0], targets[:, 1] = torch.arange(batch).repeat_interleave(BOXES), 0
        seconds, used = zip(*(self._step(images, targets) for _ in range(repetitions)), strict=True)
        return Trial(batch, min(seconds), max(used))

    def _step(self, images: torch.Tensor, targets: torch.Tensor) -> tuple[float, int]:
        on_gpu = self.device.type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(self.device)
        began = time.perf_counter()
        scaled = scale_images(images.to(self.device), self.precision)
        total = batch_losses(self.model, self.loss, scaled, targets, self.precision.autocast(self.device)).total
        used = psutil.Process().memory_info().rss
        total.backward()
        self.model.zero_grad(set_to_none=True)
        seconds = seconds_when_done(self.device) - began
        return seconds, torch.cuda.max_memory_reserved(self.device) if on_gpu else used


def find_batch(meter: Meter, images: int, *, fp32_warmup: bool) -> int:
    """Measure sizes and choose one; says what was measured.

    Args:
        meter: Takes the steps.
        images: Number of training images; no batch is larger.
        fp32_warmup: The warm-up is in fp32 and needs up to twice the memory of what is measured.

    Raises:
        ValueError: If not even the smallest size fits.
    """
    kept = 3 * sum(p.numel() * p.element_size() for p in meter.model.parameters())  # the average, two of the optimiser
    if meter.device.type == "cuda":
        trials, free = _measure_gpu(meter)
        share, chosen = GPU_SHARE, largest_batch(trials, free * GPU_SHARE - kept, fp32_warmup)
    else:
        free = psutil.virtual_memory().available
        share, trials = CPU_SHARE, _measure_cpu(meter, free * CPU_SHARE - kept, fp32_warmup)
        chosen = fastest_batch(trials)
    chosen = min(chosen, images)
    figures = ", ".join(f"{trial.batch}: {trial.speed:.3g} images/s" for trial in trials)
    say(f"--batch-size -1: {figures}; {share:.0%} of {free / 2**30:.3g} GiB free may be used; chosen: {chosen}")
    return chosen


def largest_batch(trials: Sequence[Trial], limit_bytes: float, fp32_warmup: bool) -> int:
    """The size at which a line through the measured memory reaches a limit, in whole eights from 16 on.

    Raises:
        ValueError: If that is below 1, or nothing was measured.
    """
    if len(trials) < 2:
        raise ValueError(f"--batch-size -1: not even {GPU_SIZES[1]} images fit into the GPU's memory; lower --imgsz")
    slope, intercept = np.polyfit([trial.batch for trial in trials], [trial.bytes for trial in trials], 1)
    if slope < 2**20:  # a megabyte an image is less than the image: the figures say nothing about larger batches
        return trials[-1].batch
    batch = int((limit_bytes - intercept) / (slope * (2 if fp32_warmup else 1)))
    if trials[-1].batch < GPU_SIZES[-1]:  # the next one did not fit
        batch = min(batch, trials[-1].batch)
    if batch < 1:
        raise ValueError("--batch-size -1: not even one image fits into the memory that is free; lower --imgsz")
    return batch // 8 * 8 if batch >= 16 else batch


def fastest_batch(trials: Sequence[Trial]) -> int:
    """The smallest size that is as fast as the fastest, as far as timing can tell."""
    best = max(trial.speed for trial in trials)
    return next(trial.batch for trial in trials if trial.speed >= best * EQUAL)


def _measure_gpu(meter: Meter) -> tuple[list[Trial], int]:
    """Trials of growing sizes until one does not fit, and the bytes free for this process before them."""
    gc.collect()
    torch.cuda.empty_cache()
    free = torch.cuda.mem_get_info(meter.device)[0] + torch.cuda.memory_reserved(meter.device)
    trials: list[Trial] = []
    for batch in GPU_SIZES:
        try:
            trials.append(meter(batch))
        except torch.OutOfMemoryError:
            meter.model.zero_grad(set_to_none=True)
            break
        finally:
            torch.cuda.empty_cache()
    return trials, free


def _measure_cpu(meter: Meter, limit_bytes: float, fp32_warmup: bool) -> list[Trial]:
    """Trials of growing sizes while memory and patience allow and larger ones are not clearly slower."""
    start_bytes = psutil.Process().memory_info().rss
    last, trials = meter(2), list[Trial]()
    for batch in CPU_SIZES:
        times = batch / last.batch
        if (last.bytes - start_bytes) * times * (2 if fp32_warmup else 1) > limit_bytes:
            break
        slower = last.speed < EQUAL * max((trial.speed for trial in trials), default=0)
        if trials and (slower or last.seconds * times > STEP_LIMIT_S):
            break
        last = meter(batch)
        trials.append(last)
    return trials or [last]
