"""How long runs will take, from a few timed steps of each configuration, and how many fit on this machine at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from analysis.compare.plan.expand_plan import RunPlan
from data.loading.decoded_image_cache import free_memory
from engine.config.train_config import TrainConfig
from engine.config.train_request import read_request
from engine.inference.image_size import training_px
from engine.runtime.device import choose_precision, seconds_when_done, select_device
from engine.training.build_run import create_loaders, create_model
from engine.training.forward_and_loss import batch_losses, scale_images
from files.cores import usable_cores
from models.graph.checked import analyse
from models.insertion.insert import insert
from models.loss import DetectionLoss
from models.model_yaml import load_spec
from models.weights.checkpoint import read_checkpoint

STEPS = 3
_START_UP_S = 15.0  # imports, reading labels, measuring; guessed
_PROGRAM_BYTES = 1.0e9  # torch, a loader process, the weights and their gradients
_BYTES_A_VALUE = 60  # four in fp32; a row keeps about a dozen maps as large as its output, and the worst is assumed


def estimate_seconds(plans: Sequence[RunPlan]) -> dict[str, float]:
    """Seconds of one run of each configuration: training and validation of every epoch.

    Args:
        plans: Runs; those of one configuration are timed once.

    Returns:
        From the configuration's digest to seconds.
    """
    return {config: _one(plan) for config, plan in {plan.config: plan for plan in plans}.items()}


def runs_at_once(plans: Sequence[RunPlan], device: torch.device) -> int:
    """How many runs of one thread this machine has cores and memory for; one on a GPU.

    Args:
        plans: The runs; the largest of them decides.
        device: Of the runs.
    """
    if device.type != "cpu":
        return 1
    largest = max(_run_bytes(plan) for plan in {plan.config: plan for plan in plans}.values())
    return max(min(usable_cores(), free_memory() // largest, len(plans)), 1)


def _run_bytes(plan: RunPlan) -> int:
    """About how much memory a run needs on a CPU: the program, and what a step keeps of every map."""
    train = plan.train
    spec = load_spec(train["cfg"]) if train["cfg"] else read_checkpoint(train["weights"]).spec
    if train["attention"]:
        spec = insert(spec, train["attention"], start=train["attention_start"])
    values = sum(float(row.channels / row.stride**2) for row in analyse(spec)[:-1])  # an image pixel
    return int(_PROGRAM_BYTES + _BYTES_A_VALUE * values * train["batch_size"] * train["imgsz"] ** 2)


def _one(plan: RunPlan) -> float:
    request = read_request(replace(TrainConfig.from_dict(plan.train), workers=0))
    config = request.config
    device = select_device(config.device)
    if device.type == "cpu":
        torch.set_num_threads(1)  # as the runs have
    precision = choose_precision(config.precision, device)
    model = create_model(request).model
    stride_px = max(int(model.stride.max()), 32)
    sizes = {"image_px": training_px(config.imgsz, stride_px), "stride_px": stride_px, "pin_memory": False}
    sizes["channels"] = model.channels
    train, val = create_loaders(request, **sizes)
    model.to(device).to(memory_format=precision.memory_format).train()
    loss = DetectionLoss(model.detect, request.hyp, image_px=sizes["image_px"], label_smoothing=config.label_smoothing)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)

    def step(training: bool) -> tuple[float, float]:
        """Seconds of loading and of computing, of the fastest of a few batches after the first."""
        times = []
        batches = iter(train if training else val)
        for _ in range(min(STEPS + 1, len(train if training else val))):
            began = time.perf_counter()
            batch = next(batches)
            loaded = time.perf_counter()
            images = scale_images(batch.images.to(device), precision)
            with torch.set_grad_enabled(training):
                parts = batch_losses(model.raw, loss, images, batch.targets, precision.autocast(device))
            if training:
                parts.total.backward()
                optimizer.step()
            times.append((loaded - began, seconds_when_done(device) - loaded))
        kept = times[1:] or times
        return min(t[0] for t in kept), min(t[1] for t in kept)

    workers = plan.train["workers"]
    seconds = 0.0
    for training, loader in ((True, train), (False, val)):
        loading, computing = step(training)
        one = max(loading / workers, computing) if workers else loading + computing
        seconds += one * len(loader)
    return seconds * config.epochs + _START_UP_S
