"""Stages and convolutions of YOLOv5's relatives: C2f, poolings, mixed kernels, and attention behind C3 or Conv."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import gcd

import torch
from torch import Tensor, nn

from models.blocks.batch_norm import BatchNorm2d
from models.blocks.concatenation import concatenate
from models.blocks.convolutions import C3, Bottleneck, Conv, Kernel
from models.blocks.pooling import SPPF

Attention = Callable[[int], nn.Module]  # makes the module, given its channels


class AttentionC3(C3):
    """C3 with an attention module behind it; inside its bottlenecks it is C3 with `attention`."""

    def __init__(
        self,
        c1: int,
        c2: int,
        n: int = 1,
        shortcut: bool = True,
        g: int = 1,
        e: float = 0.5,
        attention: Attention | None = None,
    ) -> None:
        super().__init__(c1, c2, n, shortcut, g, e)
        self.attention = attention(c2) if attention else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, H, W)."""
        return self.attention(super().forward(x))


class AttentionConv(Conv):
    """Conv with an attention module behind it."""

    def __init__(
        self,
        c1: int,
        c2: int,
        k: Kernel = 1,
        s: Kernel = 1,
        p: Kernel | None = None,
        g: int = 1,
        d: int = 1,
        act: bool | nn.Module = True,
        attention: Attention | None = None,
    ) -> None:
        super().__init__(c1, c2, k, s, p, g, d, act)
        self.attention = attention(c2) if attention else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, H/s, W/s)."""
        return self.attention(super().forward(x))


class C2f(nn.Module):
    """YOLOv8's stage: the outputs of all its bottlenecks, of two 3x3 convolutions each, are joined."""

    def __init__(
        self,
        c1: int,
        c2: int,
        n: int = 1,
        shortcut: bool = False,
        g: int = 1,
        e: float = 0.5,
        attention: Attention | None = None,
    ) -> None:
        super().__init__()
        self.c = int(c2 * e)
        self.cv1 = Conv(c1, 2 * self.c, 1, 1)
        self.cv2 = Conv((2 + n) * self.c, c2, 1)
        self.m = nn.ModuleList(Bottleneck(self.c, self.c, shortcut, g, 1.0, attention) for _ in range(n))
        for bottleneck in self.m:
            bottleneck.cv1 = Conv(self.c, self.c, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, H, W)."""
        maps = list(self.cv1(x).chunk(2, 1))
        for bottleneck in self.m:
            maps.append(bottleneck(maps[-1]))
        return self.cv2(concatenate(maps))


class SimSPPF(SPPF):
    """SPPF with ReLU, as in YOLOv6."""

    def __init__(self, c1: int, c2: int, k: int = 5) -> None:
        super().__init__(c1, c2, k)
        self.cv1, self.cv2 = (
            Conv(x.conv.in_channels, x.conv.out_channels, act=nn.ReLU()) for x in (self.cv1, self.cv2)
        )


class SPPCSPC(nn.Module):
    """SPP inside a cross-stage partial stage, as in YOLOv7."""

    def __init__(self, c1: int, c2: int, e: float = 0.5, k: Sequence[int] = (5, 9, 13)) -> None:
        super().__init__()
        hidden = int(2 * c2 * e)
        self.cv1 = Conv(c1, hidden, 1, 1)
        self.cv2 = Conv(c1, hidden, 1, 1)
        self.cv3 = Conv(hidden, hidden, 3, 1)
        self.cv4 = Conv(hidden, hidden, 1, 1)
        self.m = nn.ModuleList(nn.MaxPool2d(size, stride=1, padding=size // 2) for size in k)
        self.cv5 = Conv((len(k) + 1) * hidden, hidden, 1, 1)
        self.cv6 = Conv(hidden, hidden, 3, 1)
        self.cv7 = Conv(2 * hidden, c2, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, H, W)."""
        y = self.cv4(self.cv3(self.cv1(x)))
        y = self.cv6(self.cv5(torch.cat([y, *(pool(y) for pool in self.m)], 1)))
        return self.cv7(torch.cat((y, self.cv2(x)), 1))


class MixConv2d(nn.Module):
    """YOLOv5's convolution of several kernel sizes side by side (Tan and Le 2019, arXiv:1907.09595).

    Args:
        c1: Input channels.
        c2: Output channels.
        k: Kernel sizes.
        s: Stride.
        equal_ch: Each size gets as many channels; else as many weights.
    """

    def __init__(self, c1: int, c2: int, k: Sequence[int] = (1, 3), s: int = 1, equal_ch: bool = True) -> None:
        super().__init__()
        widths = _equal_channels(c2, len(k)) if equal_ch else _equal_weights(c2, k)
        if min(widths) < 1:
            raise ValueError(
                f"Expected at least one channel for each of the kernels {list(k)} but got {widths} of {c2}"
            )
        self.m = nn.ModuleList(
            nn.Conv2d(c1, width, size, s, size // 2, groups=gcd(c1, width), bias=False)
            for size, width in zip(k, widths, strict=True)
        )
        self.bn = BatchNorm2d(c2)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, H/s, W/s)."""
        return self.act(self.bn(torch.cat([conv(x) for conv in self.m], 1)))


def _equal_channels(c2: int, count: int) -> list[int]:
    """As YOLOv5 splits them: channel i goes to kernel floor(i * (count - 1e-6) / (c2 - 1)), in whole numbers here."""
    owners = [i * (count * 10**6 - 1) // (max(c2 - 1, 1) * 10**6) for i in range(c2)]
    return [owners.count(i) for i in range(count)]


def _equal_weights(c2: int, k: Sequence[int]) -> list[int]:
    """Channels in proportion to 1 / k², rounded as in YOLOv5; what rounding leaves over goes to the widest."""
    total = sum(size**-2 for size in k)
    widths = [round(c2 * size**-2 / total) for size in k]
    widths[widths.index(max(widths))] += c2 - sum(widths)
    return widths
