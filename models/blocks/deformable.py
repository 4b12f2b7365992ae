"""Modulated deformable convolution (DCNv2, Zhu et al. 2018, arXiv:1811.11168) and a C3 with it.

The operator is torchvision's. Exporters and compilers do not know it, so they are shown the same sum by `grid_sample`.
It runs in float32. Its backward on CUDA is not deterministic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

from models.blocks.convolutions import C3, Bottleneck, Conv
from models.blocks.tensor_traits import is_traced


class DCNv2(Conv):
    """Conv whose taps are displaced and weighted by a convolution of the same kernel; it begins as half a plain Conv.

    Args:
        c1: Input channels.
        c2: Output channels.
        k: Kernel size.
        s: Stride.
        p: Padding; None keeps the map's size at stride 1.
        g: Groups.
        act: True for the model's default activation, False for none, or a module.
    """

    def __init__(
        self,
        c1: int,
        c2: int,
        k: int = 3,
        s: int = 1,
        p: int | None = None,
        g: int = 1,
        act: bool | nn.Module = True,
    ) -> None:
        super().__init__(c1, c2, k, s, p, g, act=act)
        padding = cast("tuple[int, int]", self.conv.padding)
        self.conv_offset_mask = nn.Conv2d(c1, 3 * k * k, k, s, padding)  # rows and columns in turn; weights
        nn.init.zeros_(self.conv_offset_mask.weight)
        assert self.conv_offset_mask.bias is not None
        nn.init.zeros_(self.conv_offset_mask.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, H/s, W/s)."""
        row, column, mask = self.conv_offset_mask(x).float().chunk(3, 1)  # (B, k*k, H/s, W/s) each
        offset = torch.stack((row, column), 2).flatten(1, 2)  # torchvision's order: a tap's row, then its column
        convolve = self._sampled if is_traced() else self._operator
        with torch.autocast(x.device.type, enabled=False):
            y = convolve(x.float(), offset, mask.sigmoid())
        return self.act(self.bn(y.to(x.dtype)))

    def _operator(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        weight, bias = self._weights()
        stride, padding = _pair(self.conv.stride), _pair(self.conv.padding)
        return deform_conv2d(x, offset, weight, bias, stride, padding, mask=mask)

    def _sampled(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        """What `_operator` gives, by operations that exporters know."""
        (b, c, h, w), (high, wide) = x.shape, mask.shape[2:]
        k, stride, padding = self.conv.kernel_size[0], self.conv.stride[0], _pair(self.conv.padding)[0]
        displaced = offset.view(b, k * k, 2, high, wide)
        tap = torch.arange(k, device=x.device, dtype=x.dtype)
        rows = torch.arange(high, device=x.device, dtype=x.dtype) * stride - padding
        columns = torch.arange(wide, device=x.device, dtype=x.dtype) * stride - padding
        row = displaced[:, :, 0] + rows.view(-1, 1) + tap.repeat_interleave(k).view(-1, 1, 1)
        column = displaced[:, :, 1] + columns + tap.repeat(k).view(-1, 1, 1)
        grid = torch.stack(((2 * column + 1) / w - 1, (2 * row + 1) / h - 1), 4)  # (B, k*k, H/s, W/s, 2)
        taps = F.grid_sample(x, grid.reshape(b, k * k * high, wide, 2), padding_mode="zeros", align_corners=False)
        taps = taps.view(b, c, k * k, high, wide) * mask[:, None]
        weight, bias = self._weights()
        return F.conv2d(taps.flatten(1, 2), weight.flatten(1)[..., None, None], bias, groups=self.conv.groups)

    def _weights(self) -> tuple[Tensor, Tensor | None]:
        bias = self.conv.bias
        return self.conv.weight.float(), None if bias is None else bias.float()


class C3DCN(C3):
    """C3 whose 3x3 convolutions are deformable."""

    def inner(
        self, hidden: int, n: int, shortcut: bool, g: int, attention: Callable[[int], nn.Module] | None
    ) -> nn.Module:
        """`n` bottlenecks."""
        return nn.Sequential(*(self._bottleneck(hidden, shortcut, g, attention) for _ in range(n)))

    def _bottleneck(
        self, hidden: int, shortcut: bool, g: int, attention: Callable[[int], nn.Module] | None
    ) -> Bottleneck:
        bottleneck = Bottleneck(hidden, hidden, shortcut, g, self.bottleneck_e, attention)
        bottleneck.cv2 = DCNv2(int(hidden * self.bottleneck_e), hidden, 3, g=g)
        return bottleneck


def _pair(value: int | str | tuple[int, ...]) -> tuple[int, int]:
    """A convolution's stride or padding as torch keeps it, for torchvision."""
    assert isinstance(value, tuple)
    return value[0], value[1]
