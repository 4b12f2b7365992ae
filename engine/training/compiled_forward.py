"""`--compile`: a training's forward and backward pass as code that `torch.compile` makes for one shape of batch."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from engine.runtime.console import say
from engine.training.loss_and_memory_recovery import is_out_of_memory


class CompiledForward:
    """Calls a network, compiled for the shape that nearly all batches of a training have.

    The last batch of an epoch may be smaller; to compile for it too takes longer than it saves, so it runs as without
    `--compile`. The network itself is not changed: its state dictionary, its average and what is saved stay as they
    are.

    Args:
        model: The network, on its device.
        shape: (B, 3, H, W) of the batches it is compiled for.
        backend: `torch.compile`'s; tests use another.
    """

    def __init__(self, model: nn.Module, shape: Sequence[int], *, backend: str = "inductor") -> None:
        self.model, self.shape = model, torch.Size(shape)
        self._compiled = torch.compile(model, backend=backend, dynamic=False)
        self._begun = False

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Raw maps of a batch.

        Raises:
            ValueError: If the network cannot be compiled on this machine.
        """
        if images.shape != self.shape:
            return self.model(images)
        if self._begun:
            return self._compiled(images)
        slower = "; on a CPU, steps have been slower with it" if images.device.type == "cpu" else ""
        say(f"--compile: the first batch takes a minute or more, as code is made for the network{slower}")
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # CUDA is missing; that is known
        try:
            raw = self._compiled(images)
        except Exception as error:
            if not _is_the_compilers(error) or is_out_of_memory(error):
                raise
            reason = str(getattr(error, "inner_exception", error)).strip() or type(error).__name__
            first_line = reason.splitlines()[0]
            raise ValueError(
                f"--compile: torch.compile cannot compile this network here: {first_line}; it needs a C++ compiler on "
                "a CPU and Triton on a GPU. Install what is missing, or leave --compile out"
            ) from error
        self._begun = True
        return raw


def _is_the_compilers(error: BaseException) -> bool:
    """Whether an error is one of torch's compilers' and not of the network."""
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))
