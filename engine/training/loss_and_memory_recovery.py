"""What training does when it goes wrong: a loss that is not a number, and memory that runs out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from engine.runtime.console import say

if TYPE_CHECKING:
    from engine.training.weight_average import ModelEMA

ATTEMPTS = 3
EVERY_BATCHES = 32
SHOWN_IMAGES = 4


class OutOfMemory(Exception):  # noqa: N818  (an event, which the trainer answers)
    """A batch does not fit into memory."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is torch's, or Python's, way to say that memory ran out, on a GPU or on the CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error)
    return "DefaultCPUAllocator: can't allocate memory" in text or "backend out of memory" in text


class GoodState:
    """The last state of a training whose loss was a number, in memory.

    A state is taken every `EVERY_BATCHES` batches with the weights a batch was computed with, and counts as good when
    that batch's loss turns out to be a number. An epoch begins with its weights as the good state, so that a resumed
    run goes back to where an uninterrupted one would.

    Args:
        model: In training; its parameters and buffers are kept, among them the running statistics.
        optimizer: Over the model's parameters.
        ema: The model's average.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, ema: ModelEMA) -> None:
        self.model, self.optimizer, self.ema = model, optimizer, ema
        self._good: dict[str, Any] = {}
        self._candidate: dict[str, Any] | None = None
        self._failures = 0  # from the same state, or without one good batch between
        self._went_on = True  # whether a batch was good since the last failure

    def begin_epoch(self) -> None:
        """Take the present state as good."""
        self._good, self._candidate = self._copy(), None
        if self._went_on:
            self._failures = 0

    def offer(self, batch: int) -> None:
        """Take the state after the forward pass of a batch as the next candidate, if it is time."""
        if batch and batch % EVERY_BATCHES == 0:
            self._candidate = self._copy()

    def confirm(self) -> None:
        """Say that the loss of a batch is a number; one that follows the taking of a candidate makes it good."""
        self._went_on = True
        if self._candidate is not None:
            self._good, self._candidate, self._failures = self._candidate, None, 0

    def is_sound(self) -> bool:
        """Whether the average, and with it all that was trained so far, is made of numbers."""
        return all(bool(tensor.isfinite().all()) for tensor in self.ema.model.state_dict().values())

    def restore(self, what: str, where: str, paths: Sequence[str]) -> None:
        """Go back to the good state; the caller drops what it has of the batch, and of the one under way.

        Args:
            what: Is not a number.
            where: Epoch and batch.
            paths: The images of the batch.

        Raises:
            ValueError: If this is the third time from the same state; names the images of the batch.
        """
        self._failures += 1
        if self._failures == ATTEMPTS:
            raise ValueError(
                f"{what} is not a number in {where}, and going back and leaving the batch out did not help "
                f"{ATTEMPTS - 1} times before. The weights of the last full epoch are kept. Try a smaller lr0 or "
                f"--precision 32, and look at the images of the batch: {', '.join(paths)}"
            )
        names = ", ".join(paths[:SHOWN_IMAGES]) + (", …" if len(paths) > SHOWN_IMAGES else "")
        say(
            f"{what} is not a number in {where} ({names}): back to the last good weights, at most {EVERY_BATCHES} "
            f"batches old, without this batch ({self._failures} of {ATTEMPTS} times before the run stops)"
        )
        self._candidate, self._went_on = None, False
        self._put_back()

    def _copy(self) -> dict[str, Any]:
        return {
            "model": _clone(self.model.state_dict()),
            "average": _clone(self.ema.model.state_dict()),
            "updates": self.ema.updates,
            "optimizer": _clone(self.optimizer.state_dict()),
        }

    def _put_back(self) -> None:
        self.model.load_state_dict(self._good["model"])
        self.ema.model.load_state_dict(self._good["average"])
        self.ema.updates = self._good["updates"]
        self.optimizer.load_state_dict(_clone(self._good["optimizer"]))  # it would train on in the tensors it is given
        self.optimizer.zero_grad(set_to_none=True)


def _clone(value: Any) -> Any:  # noqa: ANN401  (nested state)
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _clone(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clone(item) for item in value]
    return value
