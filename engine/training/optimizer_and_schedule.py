"""Parameter groups, and the learning rate, momentum and accumulation of every training step, as YOLOv5 sets them.

The schedule is a pure function of the step and the epoch: there is no scheduler object whose state could drift, and a
resumed run needs only its step count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from engine.config.train_config import OPTIMIZERS

NOMINAL_BATCH = 64  # the batch for which the hyperparameters are meant; smaller batches are accumulated up to it
SHORTEST_WARMUP_STEPS = 100
MAX_GRADIENT_NORM = 10.0
NORMALISATION = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)

BIAS, DECAYED, NORM = 0, 1, 2  # positions of the groups, in the order of results.csv's x/lr0, x/lr1, x/lr2


class ParameterGroups(NamedTuple):
    """A model's parameters by how they are trained; each parameter in exactly one group."""

    bias: list[nn.Parameter]  # no decay; learning rate falls during warm-up
    decayed: list[nn.Parameter]  # weights with decay
    norm: list[nn.Parameter]  # weights of normalisation layers, no decay


def parameter_groups(model: nn.Module) -> ParameterGroups:
    """Sort parameters by name and layer: biases, weights of normalisation layers, everything else."""
    groups = ParameterGroups([], [], [])
    seen: set[int] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            if name == "bias":
                groups.bias.append(parameter)
            elif name == "weight" and isinstance(module, NORMALISATION):
                groups.norm.append(parameter)
            else:
                groups.decayed.append(parameter)
    return groups


def accumulation(batch_size: int) -> int:
    """How many batches make one optimiser step after warm-up."""
    return max(round(NOMINAL_BATCH / batch_size), 1)


def scaled_decay(weight_decay: float, batch_size: int) -> float:
    """Weight decay for the number of images that one optimiser step really sees."""
    return weight_decay * batch_size * accumulation(batch_size) / NOMINAL_BATCH


def create_optimizer(
    model: nn.Module, name: str, *, lr: float, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Build the optimiser over the three groups.

    Args:
        model: The model; frozen parameters are listed too and simply have no gradient.
        name: One of `OPTIMIZERS`.
        lr: First learning rate.
        momentum: SGD momentum (Nesterov) or Adam's beta1.
        weight_decay: Already scaled to the batch.

    Raises:
        ValueError: If the name is none of these.
    """
    groups = parameter_groups(model)
    rows = [
        {"params": groups.bias, "weight_decay": 0.0},
        {"params": groups.decayed, "weight_decay": weight_decay},
        {"params": groups.norm, "weight_decay": 0.0},
    ]
    if name == "SGD":
        return torch.optim.SGD(rows, lr=lr, momentum=momentum, nesterov=momentum > 0, foreach=True)
    if name == "Adam":
        return torch.optim.Adam(rows, lr=lr, betas=(momentum, 0.999), foreach=True)
    if name == "AdamW":
        return torch.optim.AdamW(rows, lr=lr, betas=(momentum, 0.999), foreach=True)
    raise ValueError(f"--optimizer {name}: expected one of {', '.join(OPTIMIZERS)}")


class StepSettings(NamedTuple):
    """What one training step uses."""

    lr_bias: float
    lr_weight: float
    momentum: float
    accumulate: int  # batches per optimiser step


@dataclass(frozen=True)
class Schedule:
    """YOLOv5's schedule: a linear warm-up by steps over a linear or cosine decay by epochs.

    Attributes:
        epochs: Length of the run.
        batches: Batches per epoch.
        batch_size: Images per batch.
        lr0: First learning rate after warm-up.
        lrf: Last learning rate as a fraction of `lr0`.
        momentum: After warm-up.
        warmup_epochs: Length of the warm-up; at least 100 steps are taken whatever it says.
        warmup_momentum: Momentum at step 0.
        warmup_bias_lr: Learning rate of biases at step 0; that of weights is 0.
        cosine: Cosine instead of linear decay.
    """

    epochs: int
    batches: int
    batch_size: int
    lr0: float
    lrf: float
    momentum: float
    warmup_epochs: float
    warmup_momentum: float
    warmup_bias_lr: float
    cosine: bool = False

    @property
    def warmup_steps(self) -> int:
        """The last step that still belongs to the warm-up; a step is one batch."""
        return max(round(self.warmup_epochs * self.batches), SHORTEST_WARMUP_STEPS)

    def decay(self, epoch: int) -> float:
        """Learning rate of an epoch as a fraction of `lr0`."""
        done = epoch / self.epochs
        share = (1 + math.cos(math.pi * done)) / 2 if self.cosine else 1 - done
        return self.lrf + (1 - self.lrf) * share

    def at(self, step: int, epoch: int) -> StepSettings:
        """Settings of a step.

        Args:
            step: Batches seen since the run began, this one not counted.
            epoch: From 0.
        """
        if step > self.warmup_steps:
            # YOLOv5's scheduler runs one epoch behind its loop; the epoch in which the warm-up ends keeps the rate
            # that the warm-up, which follows the loop, last set.
            behind = epoch != self.warmup_steps // self.batches
            rate = self.lr0 * self.decay(epoch - behind)
            return StepSettings(rate, rate, self.momentum, accumulation(self.batch_size))
        rate = self.lr0 * self.decay(epoch)
        done = step / self.warmup_steps
        return StepSettings(
            lr_bias=_between(self.warmup_bias_lr, rate, done),
            lr_weight=rate * done,
            momentum=_between(self.warmup_momentum, self.momentum, done),
            accumulate=max(1, round(_between(1.0, NOMINAL_BATCH / self.batch_size, done))),
        )


def apply_settings(optimizer: torch.optim.Optimizer, settings: StepSettings) -> None:
    """Write a step's settings into the optimiser; Adam keeps its beta1, as in YOLOv5."""
    for position, group in enumerate(optimizer.param_groups):
        group["lr"] = settings.lr_bias if position == BIAS else settings.lr_weight
        if "momentum" in group:
            group["momentum"] = settings.momentum


def _between(start: float, end: float, share: float) -> float:
    return start + (end - start) * share
