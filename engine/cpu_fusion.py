"""Convolution and SiLU as one operation on the CPU, for inference.

In eager mode a SiLU reads and writes its whole map once more; oneDNN applies it while the convolution's result is
still in registers. Torch reaches that only through its compilers, which take half a minute where this takes
milliseconds, so the operation that its inductor emits is called directly. It is not public: where it is missing, the
model stays as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.blocks import Conv


class ConvSiLU(Conv):
    """A fused `Conv` that keeps its weights in the type it computes in.

    With gradients, off the CPU and where the model is traced or compiled it is a plain one.

    Args:
        fused: The block to stand in for; its modules are kept.
        dtype: float32 or bfloat16.
    """

    def __init__(self, fused: Conv, dtype: torch.dtype) -> None:
        nn.Module.__init__(self)
        self.conv, self.bn, self.act = fused.conv, fused.bn, fused.act
        self.weight, self.bias = (tensor.detach().to(dtype) for tensor in (fused.conv.weight, fused.conv.bias))
        self.geometry = [list(fused.conv.padding), list(fused.conv.stride), list(fused.conv.dilation)]

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, H/s, W/s)."""
        recorded = torch.is_grad_enabled() or torch.jit.is_tracing() or torch.compiler.is_compiling()
        if recorded or x.device.type != "cpu":
            return super().forward(x)
        x = x.to(self.weight.dtype)
        shape = (*self.geometry, self.conv.groups)
        return torch.ops.mkldnn._convolution_pointwise(x, self.weight, self.bias, *shape, "swish", [], "")


def fuse_silu(model: nn.Module, dtype: torch.dtype) -> int:
    """Replace, in place, every fused convolution with a SiLU behind it.

    Args:
        model: On the CPU, in eval mode and fused; may have been through this before, with another type.
        dtype: The type that convolutions compute in.

    Returns:
        How many were replaced; 0 where torch has no such operation.
    """
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")):
        return 0
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, Conv) and isinstance(child.act, nn.SiLU) and isinstance(child.bn, nn.Identity)
    ]
    for parent, name, child in found:
        setattr(parent, name, ConvSiLU(child, dtype))
    return len(found)
