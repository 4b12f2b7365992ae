"""An exponential moving average of a model: the weights that are validated and saved.

Lightning's `WeightAveraging` is not used: it takes over the first update as it is where this average starts to ramp up
from the initial weights, and it counts updates in its own checkpoint.
"""

from __future__ import annotations

import copy
import itertools
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from models.yolo import DetectionModel

DECAY = 0.9999
RAMP_UPDATES = 2000.0


class ModelEMA:
    """Keeps `model`, a float32 copy in eval mode, as the running average of a model in training.

    The weight of the past rises with the number of updates, `decay * (1 - exp(-updates / 2000))`, so that early epochs
    follow quickly. Parameters and floating-point buffers are averaged; counters stay at their first value.

    Args:
        model: The model in training, on its device; its present weights are the average's start.
        updates: Updates made so far, for a resumed run.
    """

    def __init__(self, model: DetectionModel, *, updates: int = 0) -> None:
        self.model = copy.deepcopy(model).float().eval().requires_grad_(False)
        self.updates = updates
        # Walking the modules takes longer than the update, so it is done once.
        self._averages, self._sources = _tensors(self.model), _tensors(model)

    @staticmethod
    def decay(updates: int) -> float:
        """The weight of the past at an update, counted from 1."""
        return DECAY * (1 - math.exp(-updates / RAMP_UPDATES))

    @torch.no_grad()
    def update(self) -> None:
        """Take in the model's present weights; call after every optimiser step."""
        self.updates += 1
        weight = 1 - self.decay(self.updates)
        torch._foreach_lerp_(self._averages, self._sources, weight)  # pyright: ignore[reportPrivateImportUsage]  (private)


def _tensors(model: nn.Module) -> list[Tensor]:
    """Parameters and floating-point buffers, in the order of the modules."""
    tensors = itertools.chain(model.parameters(), model.buffers())
    return [tensor for tensor in tensors if tensor.is_floating_point()]
