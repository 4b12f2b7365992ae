"""How a tensor is stored and who is looking at it: what decides between equal forms of a computation."""

import torch
from torch import Tensor


def is_traced() -> bool:
    """Whether a compiler or an exporter is looking."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]  (documented)


def records_graph() -> bool:
    """Whether eager autograd is at work, so that a hand-written backward is of use."""
    return torch.is_grad_enabled() and not is_traced()


def is_channels_last(x: Tensor) -> bool:
    """Whether x (B, C, H, W) is stored with the channels innermost, and not contiguous as well."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
