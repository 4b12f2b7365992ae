"""Convolution and SiLU as one operation on the CPU, for inference.

In eager mode a SiLU reads and writes its whole map once more; oneDNN applies it while the convolution's result is
still in registers. Torch reaches that only through its compilers, which take half a minute where this takes
milliseconds, so the operations that its inductor emits are called directly: one that brings the weights into oneDNN's
own order, which a convolution would do in every call, and the convolution. They are not public: where they are missing,
the model stays as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.blocks.convolutions import Conv

_NN = torch._C._nn  # pyright: ignore[reportAttributeAccessIssue]  (private: torch's stubs lack it)


class ConvSiLU(Conv):
    """A fused `Conv` that keeps its weights in the type it computes in.

    With gradients, off the CPU, where the model is traced or compiled, and outside of autocast where it computes in
    bfloat16, it is a plain one.

    Args:
        fused: The block to stand in for; its modules are kept.
        dtype: float32 or bfloat16.
    """

    def __init__(self, fused: Conv, dtype: torch.dtype) -> None:
        nn.Module.__init__(self)
        self.conv, self.bn, self.act = fused.conv, fused.bn, fused.act
        assert fused.conv.bias is not None  # that of the batch norm, which it is fused with
        self.dtype, self.bias = dtype, fused.conv.bias.detach().to(dtype)
        self.geometry = [*map(list, (fused.conv.padding, fused.conv.stride, fused.conv.dilation)), fused.conv.groups]
        weight = fused.conv.weight.detach().to(dtype, memory_format=torch.channels_last)
        self.weight = _NN.mkldnn_reorder_conv2d_weight(weight.to_mkldnn(), *self.geometry)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, H/s, W/s)."""
        traced = torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]  (public, but not in its `__all__`)
        recorded = traced or torch.is_grad_enabled() or torch.compiler.is_compiling()
        alone = self.dtype is torch.bfloat16 and not torch.is_autocast_enabled("cpu")  # among blocks in float32
        if recorded or alone or x.device.type != "cpu":
            return super().forward(x)
        x = x.to(self.dtype)
        return torch.ops.mkldnn._convolution_pointwise(x, self.weight, self.bias, *self.geometry, "swish", [], "")


def fuse_silu(model: nn.Module, dtype: torch.dtype) -> int:
    """Replace, in place, every fused convolution with a SiLU behind it.

    Args:
        model: On the CPU, in eval mode and fused; may have been through this before, with another type.
        dtype: The type that convolutions compute in.

    Returns:
        How many were replaced; 0 where torch has no such operation, or the CPU no such type.
    """
    if not _available(dtype):
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


def _available(dtype: torch.dtype) -> bool:
    """Whether torch has the operations and oneDNN computes in the type on this CPU."""
    if not (torch.backends.mkldnn.is_available() and hasattr(_NN, "mkldnn_reorder_conv2d_weight")):
        return False
    if not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return False
    return dtype is not torch.bfloat16 or torch.ops.mkldnn._is_mkldnn_bf16_supported()
